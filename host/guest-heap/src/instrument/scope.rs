//! A component definition: its core instances, and how it uses their exports.

use std::collections::HashMap;
use std::ops::Range;

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentExternalKind, ComponentInstance, ExternalKind,
    Instance,
};

/// A component definition: the component itself, or one inside it.
#[derive(Default)]
pub(super) struct Scope {
    /// The component around it.
    pub(super) parent: Option<usize>,
    /// Byte range of the definition, with its header.
    pub(super) bytes: Range<usize>,
    pub(super) sections: Vec<SectionSpan>,
    pub(super) instances: Vec<CoreInstance>,
    /// By core function: the instance and its export that the function is, if it is one.
    pub(super) functions: Vec<Option<InstanceExport>>,
    /// The same for core memories.
    pub(super) memories: Vec<Option<InstanceExport>>,
    /// The same for core tables.
    pub(super) tables: Vec<Option<InstanceExport>>,
    pub(super) used: UsedFunctions,
    /// The functions of the canonical ABI, by core function.
    pub(super) canonicals: HashMap<u32, CanonicalFunction>,
    /// The functions of the component that are core functions.
    pub(super) lifts: Vec<Lift>,
    /// Names of the exports.
    pub(super) exports: Vec<String>,
    /// Names of the imports, and of the interfaces that they implement.
    pub(super) imports: Vec<String>,
    /// Indices of the components that it instantiates.
    pub(super) instantiated: Vec<u32>,
    /// Whether the definition is exported, imported by another one, or used by an inner component.
    /// Then its type must not change.
    pub(super) is_passed_on: bool,
    /// By module index: the position in the list of all modules, unless it is imported.
    pub(super) modules: Vec<Option<usize>>,
    /// By component index: the scope, unless it is imported.
    pub(super) components: Vec<Option<usize>>,
}

/// A section of a component.
pub(super) struct SectionSpan {
    pub(super) id: u8,
    /// Byte range without the section's header.
    pub(super) contents: Range<usize>,
    pub(super) kind: SectionKind,
}

/// The kind of a component's section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionKind {
    /// The core module with this position in the list of all modules.
    Module(usize),
    /// The component definition with this position in the list of all scopes.
    Component(usize),
    CoreInstances,
    /// A section that may refer to component types or component instances.
    Indexed,
    /// Names of component items.
    Names,
    Other,
}

/// A core instance, and one of its exports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct InstanceExport {
    pub(super) instance: u32,
    pub(super) name: String,
}

/// A core function that is a function of the component.
pub(super) struct Lift {
    pub(super) function: u32,
    /// Its type, by component type.
    pub(super) ty: u32,
    pub(super) options: Box<[CanonicalOption]>,
}

/// A core instance.
pub(super) enum CoreInstance {
    /// An instance of a core module.
    Module {
        /// The module's position in the list of all modules; `None` for an imported module.
        module: Option<usize>,
        /// The instances that it imports from, by the module name of the import.
        arguments: HashMap<String, u32>,
    },
    /// A bundle of core items.
    Exports {
        functions: HashMap<String, u32>,
        memories: HashMap<String, u32>,
        tables: HashMap<String, u32>,
    },
}

/// Indices of the core functions that the canonical ABI uses, by purpose.
#[derive(Default)]
pub(super) struct UsedFunctions {
    pub(super) lifted: Vec<u32>,
    pub(super) reallocs: Vec<u32>,
    pub(super) post_returns: Vec<u32>,
    pub(super) callbacks: Vec<u32>,
    pub(super) destructors: Vec<u32>,
    /// Whether a call may be suspended on a stack of its own while others run.
    pub(super) suspends_calls: bool,
}

impl Scope {
    /// Adds a core instance.
    pub(super) fn core_instance(&mut self, instance: Instance<'_>) {
        self.instances.push(match instance {
            Instance::Instantiate { module_index, args } => CoreInstance::Module {
                module: self.modules.get(module_index as usize).copied().flatten(),
                arguments: args
                    .iter()
                    .map(|argument| (argument.name.to_owned(), argument.index))
                    .collect(),
            },
            Instance::FromExports(exports) => {
                let of = |kinds: &[ExternalKind]| {
                    let chosen = exports.iter().filter(|export| kinds.contains(&export.kind));
                    chosen
                        .map(|export| (export.name.to_owned(), export.index))
                        .collect()
                };
                CoreInstance::Exports {
                    functions: of(&[ExternalKind::Func, ExternalKind::FuncExact]),
                    memories: of(&[ExternalKind::Memory]),
                    tables: of(&[ExternalKind::Table]),
                }
            }
        });
    }

    /// Adds a component instance. `passed_on` gets the components that it passes on.
    pub(super) fn component_instance(
        &mut self,
        instance: ComponentInstance<'_>,
        passed_on: &mut Vec<u32>,
    ) {
        match instance {
            ComponentInstance::Instantiate {
                component_index,
                args,
            } => {
                self.instantiated.push(component_index);
                let components = args
                    .iter()
                    .filter(|argument| argument.kind == ComponentExternalKind::Component);
                passed_on.extend(components.map(|argument| argument.index));
            }
            ComponentInstance::FromExports(exports) => {
                let components = exports
                    .iter()
                    .filter(|export| export.kind == ComponentExternalKind::Component);
                passed_on.extend(components.map(|export| export.index));
            }
        }
    }

    /// Adds a function of the canonical ABI.
    pub(super) fn canonical(&mut self, function: CanonicalFunction) {
        let options: &[CanonicalOption] = match &function {
            CanonicalFunction::Lift { options, .. }
            | CanonicalFunction::Lower { options, .. }
            | CanonicalFunction::StreamRead { options, .. }
            | CanonicalFunction::FutureRead { options, .. }
            | CanonicalFunction::ErrorContextDebugMessage { options } => options,
            _ => &[],
        };
        let mut has_callback = false;
        for option in options {
            match option {
                CanonicalOption::Realloc(function) => self.used.reallocs.push(*function),
                CanonicalOption::PostReturn(function) => self.used.post_returns.push(*function),
                CanonicalOption::Callback(function) => {
                    has_callback = true;
                    self.used.callbacks.push(*function);
                }
                _ => {}
            }
        }
        self.used.suspends_calls |= match &function {
            CanonicalFunction::Lift { options, .. } => {
                options.contains(&CanonicalOption::Async) && !has_callback
            }
            CanonicalFunction::ThreadNewIndirect { .. } => true,
            _ => false,
        };
        match function {
            CanonicalFunction::Lift {
                core_func_index,
                type_index,
                options,
            } => {
                self.used.lifted.push(core_func_index);
                self.lifts.push(Lift {
                    function: core_func_index,
                    ty: type_index,
                    options,
                });
            }
            function => {
                self.canonicals
                    .insert(self.functions.len() as u32, function);
                self.functions.push(None);
            }
        }
    }

    /// The scope with this component index, unless it is imported.
    pub(super) fn component(&self, index: u32) -> Option<usize> {
        self.components.get(index as usize).copied().flatten()
    }
}
