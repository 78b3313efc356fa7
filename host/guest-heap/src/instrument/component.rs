//! Reads the structure of a component: its core modules, their instances, and how the component
//! uses their exports.

use std::collections::HashMap;
use std::ops::Range;

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind,
    ComponentOuterAliasKind, ComponentTypeRef, ExternalKind, Instance, Parser, Payload,
};

use super::error::Refusal;
use super::exports::ExportRoles;
use super::scan::usize_range;

/// The structure of a component.
#[derive(Default)]
pub(super) struct ComponentStructure {
    /// The core modules that the component itself defines, in order.
    pub(super) modules: Vec<InlineModule>,
    /// Byte ranges of the core modules of nested components.
    pub(super) nested: Vec<Range<usize>>,
    instances: Vec<CoreInstance>,
    /// By core function: the module instance and the export that the function is, if it is one.
    functions: Vec<Option<(u32, String)>>,
    used: UsedFunctions,
    /// Names of the imports.
    pub(super) imports: Vec<String>,
    module_count: u32,
}

/// A core module that the component defines.
pub(super) struct InlineModule {
    /// Index in the component.
    pub(super) index: u32,
    pub(super) bytes: Range<usize>,
}

enum CoreInstance {
    /// An instance of the core module with this index.
    Module(u32),
    /// A bundle of core functions, by name.
    Exports(HashMap<String, u32>),
}

/// Indices of the core functions that the canonical ABI uses, by purpose.
#[derive(Default)]
struct UsedFunctions {
    lifted: Vec<u32>,
    reallocs: Vec<u32>,
    post_returns: Vec<u32>,
}

impl ComponentStructure {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut component = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match &payload {
                Payload::ModuleSection {
                    unchecked_range, ..
                } => {
                    let bytes = usize_range(unchecked_range.clone());
                    if depth == 0 {
                        let index = component.module_count;
                        component.modules.push(InlineModule { index, bytes });
                        component.module_count += 1;
                    } else {
                        component.nested.push(bytes);
                    }
                    depth += 1;
                }
                Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth == 0 => component.item(payload)?,
                _ => {}
            }
        }
        Ok(component)
    }

    fn item(&mut self, payload: Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    self.instances.push(match instance? {
                        Instance::Instantiate { module_index, .. } => {
                            CoreInstance::Module(module_index)
                        }
                        Instance::FromExports(exports) => {
                            let functions = exports.iter().filter(|export| {
                                matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact)
                            });
                            let functions =
                                functions.map(|export| (export.name.to_owned(), export.index));
                            CoreInstance::Exports(functions.collect())
                        }
                    });
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    let import = import?;
                    self.imports.push(import.name.name.to_owned());
                    if matches!(import.ty, ComponentTypeRef::Module(_)) {
                        self.module_count += 1;
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases {
                    self.alias(&alias?);
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions {
                    self.canonical(function?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        match alias {
            ComponentAlias::CoreInstanceExport {
                kind: ExternalKind::Func | ExternalKind::FuncExact,
                instance_index,
                name,
            } => {
                let function = self.resolve(*instance_index, name);
                self.functions.push(function);
            }
            ComponentAlias::InstanceExport {
                kind: ComponentExternalKind::Module,
                ..
            }
            | ComponentAlias::Outer {
                kind: ComponentOuterAliasKind::CoreModule,
                ..
            } => self.module_count += 1,
            _ => {}
        }
    }

    /// Finds the module instance and the export behind an export of a core instance.
    fn resolve(&self, instance: u32, name: &str) -> Option<(u32, String)> {
        match self.instances.get(instance as usize)? {
            CoreInstance::Module(_) => Some((instance, name.to_owned())),
            CoreInstance::Exports(functions) => {
                self.functions.get(*functions.get(name)? as usize)?.clone()
            }
        }
    }

    fn canonical(&mut self, function: CanonicalFunction) {
        let options: &[CanonicalOption] = match &function {
            CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
                options
            }
            _ => &[],
        };
        for option in options {
            match option {
                CanonicalOption::Realloc(function) => self.used.reallocs.push(*function),
                CanonicalOption::PostReturn(function) => self.used.post_returns.push(*function),
                _ => {}
            }
        }
        match function {
            CanonicalFunction::Lift {
                core_func_index, ..
            } => self.used.lifted.push(core_func_index),
            _ => self.functions.push(None),
        }
    }

    /// Indices of the core instances of a core module.
    pub(super) fn instances_of(&self, module: u32) -> Vec<u32> {
        let is =
            |instance: &CoreInstance| matches!(instance, CoreInstance::Module(of) if *of == module);
        (0..)
            .zip(&self.instances)
            .filter(|(_, it)| is(it))
            .map(|(index, _)| index)
            .collect()
    }

    /// How the component uses the exports of a core module.
    pub(super) fn roles(&self, module: u32) -> ExportRoles {
        let pick = |functions: &[u32]| {
            let exports = functions.iter().filter_map(|function| {
                let (instance, name) = self.functions.get(*function as usize)?.as_ref()?;
                let instance = self.instances.get(*instance as usize);
                matches!(instance, Some(CoreInstance::Module(of)) if *of == module)
                    .then(|| name.clone())
            });
            exports.collect()
        };
        ExportRoles {
            lifted: pick(&self.used.lifted),
            reallocs: pick(&self.used.reallocs),
            post_returns: pick(&self.used.post_returns),
        }
    }
}
