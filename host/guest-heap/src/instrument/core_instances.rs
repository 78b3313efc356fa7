//! Finds out which core items of a component are the same: it follows imports and exports of core
//! instances to the instance that defines an item.

use super::export_roles::ExportRoles;
use super::scan::CoreModule;
use super::scope::{CoreInstance, InstanceExport, Scope};

/// The core instances of one component definition, with the modules that they instantiate.
#[derive(Clone, Copy)]
pub(super) struct CoreInstances<'a> {
    pub(super) scope: &'a Scope,
    /// All modules of the file.
    pub(super) modules: &'a [CoreModule<'a>],
}

/// A function that a core instance defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DefinedFunction {
    pub(super) instance: u32,
    /// Position in the list of all modules.
    pub(super) module: usize,
    pub(super) function: u32,
}

/// A memory that a core instance defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DefinedMemory {
    pub(super) instance: u32,
    pub(super) memory: u32,
}

/// Where the search for the definition of an item has arrived.
enum Step<T> {
    Found(T),
    Next(InstanceExport),
}

impl<'a> CoreInstances<'a> {
    /// The module of an instance, with its position; `None` for bundles and imported modules.
    pub(super) fn module(&self, instance: u32) -> Option<(usize, &'a CoreModule<'a>)> {
        let CoreInstance::Module { module, .. } = self.scope.instances.get(instance as usize)?
        else {
            return None;
        };
        let module = (*module)?;
        Some((module, self.modules.get(module)?))
    }

    /// All instances of modules that the file defines, in the order of instantiation.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, usize)> + use<'a> {
        let this = *self;
        (0..this.scope.instances.len() as u32)
            .filter_map(move |instance| Some((instance, this.module(instance)?.0)))
    }

    /// The definition behind an exported function. `None` if the host provides it, or an imported
    /// module.
    pub(super) fn function(&self, export: &InstanceExport) -> Option<DefinedFunction> {
        self.named_function(export).map(|(function, _)| function)
    }

    /// The definition behind an exported function, and its name as an export of its module.
    fn named_function(&self, export: &InstanceExport) -> Option<(DefinedFunction, String)> {
        self.definition(export, |instance, name| {
            let (position, module) = self.module(instance)?;
            let function = module.export_indices.get(name)?;
            match module.imported_names.get(*function as usize) {
                Some((from, name)) => self.argument(instance, from, name).map(Step::Next),
                None => Some(Step::Found(DefinedFunction {
                    instance,
                    module: position,
                    function: *function,
                })),
            }
        })
    }

    /// The definition behind an imported function of an instance.
    pub(super) fn imported_function(&self, instance: u32, import: u32) -> Option<DefinedFunction> {
        let (_, module) = self.module(instance)?;
        let (from, name) = module.imported_names.get(import as usize)?;
        self.function(&self.argument(instance, from, name)?)
    }

    /// The definition behind a core function of the component, and its name as an export of its
    /// module.
    pub(super) fn core_function(&self, function: u32) -> Option<(DefinedFunction, String)> {
        self.named_function(self.scope.functions.get(function as usize)?.as_ref()?)
    }

    /// The functions by which the host allocates.
    pub(super) fn reallocs(&self) -> impl Iterator<Item = DefinedFunction> + use<'a> {
        let this = *self;
        let reallocs = this.scope.used.reallocs.iter();
        reallocs.filter_map(move |function| Some(this.core_function(*function)?.0))
    }

    /// How the component uses the exports of a module.
    pub(super) fn roles(&self, module: usize) -> ExportRoles {
        let pick = |functions: &[u32]| {
            let exports = functions.iter().filter_map(|function| {
                let (defined, name) = self.core_function(*function)?;
                (defined.module == module).then_some(name)
            });
            exports.collect()
        };
        let used = &self.scope.used;
        ExportRoles {
            lifted: pick(&used.lifted),
            reallocs: pick(&used.reallocs),
            post_returns: pick(&used.post_returns),
            callbacks: pick(&used.callbacks),
            destructors: pick(&used.destructors),
            suspends_calls: used.suspends_calls,
        }
    }

    /// The definition of an instance's first memory.
    pub(super) fn first_memory(&self, instance: u32) -> Option<DefinedMemory> {
        let (_, module) = self.module(instance)?;
        match module.imported_memories.first() {
            Some((from, name)) => self.memory(&self.argument(instance, from, name)?),
            None => (!module.memories.is_empty()).then_some(DefinedMemory {
                instance,
                memory: 0,
            }),
        }
    }

    pub(super) fn memory(&self, export: &InstanceExport) -> Option<DefinedMemory> {
        let found = self.definition(export, |instance, name| {
            let (_, module) = self.module(instance)?;
            let (_, memory) = module
                .exported_memories
                .iter()
                .find(|(it, _)| *it == name)?;
            match module.imported_memories.get(*memory as usize) {
                Some((from, name)) => self.argument(instance, from, name).map(Step::Next),
                None => Some(Step::Found(DefinedMemory {
                    instance,
                    memory: *memory,
                })),
            }
        });
        found.map(|(memory, _)| memory)
    }

    /// The instance that defines an exported table, and the table's index in it.
    pub(super) fn table(&self, export: &InstanceExport) -> Option<(u32, u32)> {
        let found = self.definition(export, |instance, name| {
            let (_, module) = self.module(instance)?;
            let mut tables = module.exported_tables.iter();
            let (_, table) = tables.find(|(it, _)| *it == name)?;
            match module.imported_tables.get(*table as usize) {
                Some((from, name)) => self.argument(instance, from, name).map(Step::Next),
                None => Some(Step::Found((instance, *table))),
            }
        });
        found.map(|(table, _)| table)
    }

    /// Follows an export until `step` finds the definition. Also returns the item's name as an
    /// export of its module. Each step leads to an instance that was created before, or from a
    /// bundle to the item in it, so the search ends.
    fn definition<T>(
        &self,
        export: &InstanceExport,
        step: impl Fn(u32, &str) -> Option<Step<T>>,
    ) -> Option<(T, String)> {
        let mut at = export.clone();
        for _ in 0..=2 * self.scope.instances.len() {
            let instance = self.scope.instances.get(at.instance as usize)?;
            at = match instance {
                CoreInstance::Exports {
                    functions,
                    memories,
                    tables,
                } => {
                    let function = functions.get(&at.name);
                    let function = function.and_then(|it| self.scope.functions.get(*it as usize));
                    let memory = memories.get(&at.name);
                    let memory = memory.and_then(|it| self.scope.memories.get(*it as usize));
                    let table = tables.get(&at.name);
                    let table = table.and_then(|it| self.scope.tables.get(*it as usize));
                    function.or(memory).or(table)?.clone()?
                }
                CoreInstance::Module { .. } => match step(at.instance, &at.name)? {
                    Step::Found(definition) => return Some((definition, at.name)),
                    Step::Next(next) => next,
                },
            };
        }
        None
    }

    /// The export that satisfies an import of an instance.
    pub(super) fn argument(&self, instance: u32, from: &str, name: &str) -> Option<InstanceExport> {
        let CoreInstance::Module { arguments, .. } = self.scope.instances.get(instance as usize)?
        else {
            return None;
        };
        Some(InstanceExport {
            instance: *arguments.get(from)?,
            name: name.to_owned(),
        })
    }
}
