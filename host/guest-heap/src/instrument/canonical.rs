//! Finds the function of the canonical ABI that a core module imports.
//!
//! A function that needs the memory of a module can be made only after the module is instantiated.
//! So tools that make components let the module import a function of a *shim*, which only calls the
//! function at one position of its table. A module without code puts the function of the canonical
//! ABI there later. This stage follows both.

use wasmparser::Operator;

use super::core_instances::CoreInstances;
use super::scan::CoreModule;
use super::scope::{CoreInstance, InstanceExport};

/// Instances and shims that lie between an import and the function at most.
const MAX_STEPS: usize = 64;

impl CoreInstances<'_> {
    /// The core function of the canonical ABI that an instance imports, by its index in the
    /// component. `None` if the import leads to something else, or if that is not known.
    pub(super) fn canonical_import(&self, instance: u32, import: u32) -> Option<u32> {
        let mut at = self.import(instance, import)?;
        for _ in 0..MAX_STEPS {
            at = match self.scope.instances.get(at.instance as usize)? {
                CoreInstance::Exports { functions, .. } => {
                    let function = *functions.get(&at.name)?;
                    if self.scope.canonicals.contains_key(&function) {
                        return Some(function);
                    }
                    self.scope.functions.get(function as usize)?.clone()?
                }
                CoreInstance::Module { .. } => {
                    let (_, module) = self.module(at.instance)?;
                    let function = *module.export_indices.get(at.name.as_str())?;
                    if module.is_defined(function) {
                        let (table, position) = forwarded(module, function)?;
                        self.in_table(at.instance, table, position)?
                    } else {
                        self.import(at.instance, function)?
                    }
                }
            };
        }
        None
    }

    fn import(&self, instance: u32, import: u32) -> Option<InstanceExport> {
        let (_, module) = self.module(instance)?;
        let (from, name) = module.imported_names.get(import as usize)?;
        self.argument(instance, from, name)
    }

    /// The function that another instance puts at a position of a table which `instance` defines.
    /// `None` if several do.
    fn in_table(&self, instance: u32, table: u32, position: u32) -> Option<InstanceExport> {
        let mut found = None;
        for (other, _) in self.all() {
            let Some((_, module)) = self.module(other) else {
                continue;
            };
            for filled in &module.filled {
                let at = position.checked_sub(filled.offset);
                let function = at.and_then(|at| filled.functions.get(at as usize));
                let (Some(function), Some((from, name))) =
                    (function, module.imported_tables.get(filled.table as usize))
                else {
                    continue;
                };
                let defined = self
                    .argument(other, from, name)
                    .and_then(|it| self.table(&it));
                if defined == Some((instance, table))
                    && found.replace(self.import(other, *function)?).is_some()
                {
                    return None;
                }
            }
        }
        found
    }
}

/// The table and the position that a function forwards to: it passes its own parameters on, in
/// their order, and does nothing else.
fn forwarded(module: &CoreModule<'_>, function: u32) -> Option<(u32, u32)> {
    let defined = function.checked_sub(module.first_defined())?;
    let body = module.bodies.get(defined as usize)?;
    let operators = body.get_operators_reader().ok()?.into_iter();
    let operators: Vec<Operator<'_>> = operators.collect::<Result<_, _>>().ok()?;
    let [
        parameters @ ..,
        Operator::I32Const { value },
        Operator::CallIndirect {
            table_index,
            type_index,
        },
        Operator::End,
    ] = operators.as_slice()
    else {
        return None;
    };
    let ty = module.signature(function)?;
    let is_same_type = module.types.get(*type_index as usize)?.as_ref() == Some(ty);
    let in_order = (0..).zip(parameters).all(|(at, operator)| {
        matches!(operator, Operator::LocalGet { local_index } if *local_index == at)
    });
    (is_same_type && in_order && parameters.len() == ty.params().len())
        .then_some((*table_index, *value as u32))
}
