//! Finds the handles of all core modules of a component, and what cannot be counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wasmparser::types::Types;

use super::super::core_instances::CoreInstances;
use super::super::scope::Scope;
use super::counted::ModuleHandles;
use super::definition::Definition;
use super::resource_names::resources;
use super::shape::{HandleTypes, Shapes};

/// One set of heap tables, with the core instances that use it.
#[derive(Clone, Debug)]
pub(in super::super) struct Ledger {
    pub(in super::super) scope: usize,
    /// Core instances and the positions of their modules.
    pub(in super::super) instances: Vec<(u32, usize)>,
}

/// The handles of a component.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct HandleSurvey {
    /// By the position of a module.
    pub(in super::super) modules: HashMap<usize, ModuleHandles>,
    pub(in super::super) types: HandleTypes,
    /// What is not counted.
    pub(in super::super) gaps: BTreeSet<String>,
}

impl HandleSurvey {
    /// Surveys a component. `types` are those of each component definition.
    pub(in super::super) fn of<'a>(
        scopes: &'a [Scope],
        types: &[Types],
        ledgers: &[Ledger],
        core: impl Fn(usize) -> Option<CoreInstances<'a>>,
    ) -> Self {
        let mut survey = Self::default();
        let mut found: BTreeMap<usize, Vec<ModuleHandles>> = BTreeMap::new();
        let mut refused = BTreeSet::new();
        for (position, (scope, types)) in scopes.iter().zip(types).enumerate() {
            let Some(core) = core(position) else { continue };
            let mut definition = Definition {
                scope,
                core,
                shapes: Shapes::new(types.as_ref(), resources(scope, types.as_ref())),
                types: &mut survey.types,
                gaps: &mut survey.gaps,
                seen: BTreeSet::new(),
            };
            let handles = definition.instances();
            let with_handles = |ledger: &&Ledger| {
                let mut instances = ledger.instances.iter();
                ledger.scope == position && instances.any(|(it, _)| handles.contains_key(it))
            };
            let several = ledgers.iter().filter(with_handles).count() > 1;
            for (instance, (module, handles)) in handles {
                let is_instrumented = ledgers.iter().any(|ledger| {
                    ledger.scope == position && ledger.instances.contains(&(instance, module))
                });
                if !is_instrumented {
                    survey.gaps.insert(not_instrumented(module));
                } else if several {
                    survey.gaps.insert(format!(
                        "handles of core module {module}, which shares them with another heap"
                    ));
                    refused.insert(module);
                } else {
                    found.entry(module).or_default().push(handles);
                }
            }
        }
        for (module, handles) in found {
            let mut handles = handles.into_iter();
            let Some(first) = handles.next().filter(|_| !refused.contains(&module)) else {
                continue;
            };
            if handles.all(|other| other == first) {
                survey.modules.insert(module, first);
            } else {
                survey.gaps.insert(format!(
                    "handles of core module {module}, whose instances have different ones"
                ));
            }
        }
        survey
    }

    /// Notes that a module is not instrumented.
    pub(in super::super) fn remove(&mut self, module: usize) {
        if self.modules.remove(&module).is_some() {
            self.gaps.insert(not_instrumented(module));
        }
    }
}

fn not_instrumented(module: usize) -> String {
    format!("handles of core module {module}, which is not instrumented")
}
