//! Surveys the core modules of a component: which have an allocator, and what is known of those to
//! instrument.

use std::collections::{HashMap, HashSet};

use super::allocator::Allocator;
use super::attribution::{Gaps, Missing};
use super::component::ComponentStructure;
use super::core_instances::{CoreInstances, DefinedFunction};
use super::declared::DeclaredEntries;
use super::error::Refusal;
use super::export_roles::ExportRoles;
use super::forwarding::forwards_through_table;
use super::handles::HandleSurvey;
use super::module::{ModuleAnalysis, refusal};
use super::scan::CoreModule;
use super::sharing::{
    Connections, Group, InstanceId, KnownMembers, called_from_outside, connections,
};

/// Modules of the component and their allocators.
pub(super) struct Survey<'a> {
    pub(super) structure: &'a ComponentStructure,
    pub(super) declared: &'a DeclaredEntries,
    pub(super) modules: Vec<CoreModule<'a>>,
    /// The modules that have an allocator, or a memory that they grow, by position.
    pub(super) allocators: HashMap<usize, Allocator>,
    /// Whether an exception may pass through a module that throws none itself.
    pub(super) catches: bool,
    pub(super) handles: HandleSurvey,
}

/// A member of a group that has been analysed.
pub(super) struct AnalysedMember<'a> {
    pub(super) position: usize,
    pub(super) instances: Vec<InstanceId>,
    pub(super) analysis: ModuleAnalysis<'a>,
    pub(super) roles: ExportRoles,
}

impl<'a> Survey<'a> {
    /// Finds the modules that have an allocator. Returns why others are not instrumented.
    pub(super) fn find_allocators(&mut self) -> Gaps {
        let mut gaps = Gaps::default();
        for (position, module) in self.modules.iter().enumerate() {
            // Its entry points end in those of another module.
            if module.imports_allocator {
                continue;
            }
            if let Some(why) = refusal(module) {
                if !module.entry_points.is_empty() {
                    let why = format!("core module {position} {why}");
                    gaps.push(why, Missing::MEMORIES);
                }
                continue;
            }
            match Allocator::find(module, self.declared) {
                Ok(mut allocator) => {
                    let entries = &mut allocator.entries;
                    entries.retain(|(_, function)| !forwards_through_table(module, *function));
                    if !entries.is_empty() {
                        self.allocators.insert(position, allocator);
                    }
                }
                // Pages can be counted in every language.
                Err(why) if !module.imports_memory && module.grows() => {
                    let allocator = Allocator::by_structure(module);
                    if allocator.is_none() {
                        let why = format!(
                            "core module {position}: {why}, so only the growth of its memory is \
                             counted, in pages of 64 KiB by call stack"
                        );
                        gaps.push(why, Missing::ALLOCATIONS);
                    }
                    self.allocators
                        .insert(position, allocator.unwrap_or_default());
                }
                Err(_) => {}
            }
        }
        gaps
    }

    /// Why the attribution is partial, or why nothing is instrumented, in spite of these groups.
    pub(super) fn uninstrumented(&self, groups: &[Group], scopes: &[bool], gaps: &mut Gaps) {
        let grouped: HashSet<usize> = groups
            .iter()
            .flat_map(|group| group.members.iter().map(|member| member.module))
            .collect();
        let known = gaps.reasons.len();
        let mut without_allocator = Vec::new();
        for (position, module) in self.modules.iter().enumerate() {
            if self.allocators.contains_key(&position) {
                if let Some(why) = self.uninstrumented_instances(position, scopes) {
                    gaps.push(why, Missing::MEMORIES);
                }
            } else if grouped.contains(&position) {
            } else if module.imports_allocator {
                let why = format!(
                    "core module {position} uses the allocator of another core module: its blocks \
                     are named after the function that it calls there"
                );
                gaps.push(why, Missing::default());
            } else if !module.defined.is_empty() {
                let why = match (refusal(module), Allocator::find(module, self.declared)) {
                    (Some(why), _) => format!("it {why}"),
                    (None, Err(why)) => why.to_owned(),
                    (None, Ok(_)) => "its allocator only forwards through a table".to_owned(),
                };
                without_allocator.push(format!("core module {position}: {why}"));
            }
        }
        let refused =
            |module: &CoreModule<'_>| refusal(module).is_some() && !module.entry_points.is_empty();
        let has_reason = gaps.reasons.len() > known;
        if groups.is_empty() && !has_reason && !self.modules.iter().any(refused) {
            // Adapters have no heap of their own, so this is a reason only if no module allocates.
            let why = if without_allocator.is_empty() {
                "it has no code".to_owned()
            } else {
                format!("no allocator found ({})", without_allocator.join("; "))
            };
            gaps.push(why, Missing::MEMORIES);
        }
    }

    /// Why instances of a module with an allocator are not instrumented.
    pub(super) fn uninstrumented_instances(
        &self,
        position: usize,
        scopes: &[bool],
    ) -> Option<String> {
        let mut instances = 0;
        for (scope, definition) in self.structure.scopes.iter().enumerate() {
            let core = self.core(scope)?;
            let of_module = core.all().filter(|(_, module)| *module == position).count();
            instances += of_module;
            if of_module > 0 && scopes.get(scope) != Some(&true) && definition.is_passed_on {
                return Some(
                    "a nested component allocates, and it is exported or passed to another \
                     component, so the profiler cannot change its imports"
                        .to_owned(),
                );
            }
            if of_module > 0 && scopes.get(scope) != Some(&true) {
                return Some(
                    "a nested component allocates, and nothing instantiates it".to_owned(),
                );
            }
        }
        (instances == 0).then(|| {
            format!("core module {position} allocates, but the component does not instantiate it")
        })
    }

    /// Whether a module has an allocator whose entry points are known.
    pub(super) fn counts_blocks(&self, position: usize) -> bool {
        let allocator = self.allocators.get(&position);
        allocator.is_some_and(|allocator| !allocator.entries.is_empty())
    }

    /// The modules that work in the memory of a group, also those without code: one of them may
    /// only have its data.
    pub(super) fn in_memory_of(&self, group: &Group) -> Vec<&CoreModule<'a>> {
        let mut positions: Vec<usize> = group.members.iter().map(|member| member.module).collect();
        let first = group.members.first();
        if let Some(id) = first.and_then(|member| member.instances.first())
            && let Some(core) = self.core(id.scope)
            && let Some(memory) = core.first_memory(id.instance)
        {
            let same = |(instance, _): &(u32, usize)| core.first_memory(*instance) == Some(memory);
            positions.extend(core.all().filter(same).map(|(_, module)| module));
        }
        positions.sort_unstable();
        positions.dedup();
        let modules = positions.into_iter();
        modules.filter_map(|it| self.modules.get(it)).collect()
    }

    pub(super) fn core(&self, scope: usize) -> Option<CoreInstances<'_>> {
        Some(CoreInstances {
            scope: self.structure.scopes.get(scope)?,
            modules: &self.modules,
        })
    }

    /// Analyses the members of a group in the order of instantiation. Returns those that have to be
    /// instrumented.
    pub(super) fn analyse(
        &self,
        group: &Group,
    ) -> Result<Vec<AnalysedMember<'_>>, (usize, Refusal)> {
        let mut known = KnownMembers::default();
        let mut outside = HashSet::new();
        let is_separate = group.members.len() == 1;
        if let [first, _, ..] = group.members.as_slice()
            && let Some(core) = first.instances.first().and_then(|it| self.core(it.scope))
        {
            let instances = group.members.iter().flat_map(|member| &member.instances);
            known.instances = instances.map(|it| it.instance).collect();
            known.reallocs = core.reallocs().collect();
            outside = called_from_outside(core, &known.instances);
        }
        let mut analysed = Vec::new();
        for member in &group.members {
            let position = member.module;
            let fail = |why: &str| (position, Refusal::internal(why));
            let module = self.modules.get(position);
            let module = module.ok_or_else(|| fail("an unknown module"))?;
            let mut roles = ExportRoles::default();
            let scopes: HashSet<usize> = member.instances.iter().map(|it| it.scope).collect();
            for scope in scopes {
                roles.merge(
                    self.core(scope)
                        .map(|it| it.roles(position))
                        .unwrap_or_default(),
                );
            }
            let id = member.instances.first();
            let id = *id.ok_or_else(|| fail("a module without an instance"))?;
            let mut connections = match self.core(id.scope) {
                Some(core) if !is_separate => connections(core, id.instance, &known, &outside),
                // Without an allocator, the host lowers nothing into blocks.
                _ => Connections::separate(module, self.counts_blocks(position)),
            };
            // The calling context identifies the call of an import that gives handles, too.
            let handles = self.handles.modules.get(&position);
            for (import, counted) in handles.iter().flat_map(|it| &it.imports) {
                let allocates = connections.allocates.get_mut(*import as usize);
                allocates.into_iter().for_each(|it| *it |= counted.gives());
            }
            let allocator = self.allocators.get(&position).cloned().unwrap_or_default();
            let analysis = ModuleAnalysis::new(
                module,
                position,
                allocator,
                connections,
                &roles,
                self.catches,
            )
            .map_err(|why| (position, why))?;
            let defined = |function| DefinedFunction {
                instance: id.instance,
                module: position,
                function,
            };
            known.allocating.extend(analysis.allocating().map(defined));
            known.forwarding.extend(analysis.forwarding().map(defined));
            if is_separate || analysis.is_needed(&roles) {
                analysed.push(AnalysedMember {
                    position,
                    instances: member.instances.clone(),
                    analysis,
                    roles,
                });
            }
        }
        Ok(analysed)
    }
}

/// End of the data segments of modules that work in the same memory.
pub(super) fn segments_end(modules: &[&CoreModule<'_>]) -> u32 {
    let ends = modules.iter().map(|module| module.data_end);
    u32::try_from(ends.max().unwrap_or(0)).unwrap_or(u32::MAX)
}
