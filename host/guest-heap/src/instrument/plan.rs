//! Decides which core modules of a component to instrument, and instruments them.

use std::collections::{HashMap, HashSet};

use super::allocator::Allocator;
use super::assemble::RewrittenModule;
use super::attribution::{Gaps, Missing};
use super::code_section::Tables;
use super::component::ComponentStructure;
use super::connector::InstrumentedInstance;
use super::core_instances::{CoreInstances, DefinedFunction};
use super::declared::DeclaredEntries;
use super::error::Refusal;
use super::exports::{ExportRoles, SyntheticNames};
use super::meta::ModuleSpan;
use super::module::{ModuleAnalysis, RewriteSettings, forwards_through_table, refusal, rewrite};
use super::options::Options;
use super::report::ModuleReport;
use super::scan::CoreModule;
use super::sharing::{
    Connections, Group, KnownMembers, called_from_outside, connections, groups, reachable_scopes,
};
use super::write_component::ScopeChanges;

/// Declared maximum of the profiler's memories, in wasm pages: room for 94 million live blocks. The
/// number marks the memory as the profiler's, because a guest is unlikely to declare the same one.
/// If a guest does, the next free number is used.
const MAXIMUM_PAGES: u64 = 17_011;

/// The instrumented modules of a component, and what changes around them.
pub(super) struct Plan {
    /// By position in the list of all scopes.
    pub(super) changes: Vec<ScopeChanges>,
    /// By position in the list of all modules.
    pub(super) modules: HashMap<usize, RewrittenModule>,
    pub(super) reports: Vec<ModuleReport>,
    pub(super) spans: Vec<ModuleSpan>,
    pub(super) names: SyntheticNames,
    /// Why the attribution is only partial.
    pub(super) gaps: Gaps,
    /// Declared maximum of the profiler's memories, in wasm pages.
    pub(super) maximum_pages: u64,
}

/// Modules of the component and their allocators.
struct Survey<'a> {
    structure: &'a ComponentStructure,
    declared: &'a DeclaredEntries,
    modules: Vec<CoreModule<'a>>,
    /// The modules that have an allocator, or a memory that they grow, by position.
    allocators: HashMap<usize, Allocator>,
    /// Whether an exception may pass through a module that throws none itself.
    catches: bool,
}

/// A member of a group that has been analysed.
struct AnalysedMember<'a> {
    position: usize,
    instances: Vec<super::sharing::InstanceId>,
    analysis: ModuleAnalysis<'a>,
    roles: ExportRoles,
}

impl Plan {
    /// Makes the plan of a component. An error is the reason why nothing is instrumented.
    pub(super) fn make(
        bytes: &[u8],
        structure: &ComponentStructure,
        options: &Options,
    ) -> Result<Self, Refusal> {
        let mut modules = Vec::with_capacity(structure.modules.len());
        for inline in &structure.modules {
            let module = bytes.get(inline.bytes.clone());
            modules.push(CoreModule::scan(module.ok_or_else(|| {
                Refusal::internal("a module extends beyond the component's end")
            })?)?);
        }
        let mut survey = Survey {
            structure,
            declared: &options.entry_points,
            catches: modules.iter().any(|module| module.has_exceptions),
            modules,
            allocators: HashMap::new(),
        };
        let mut gaps = survey.find_allocators();
        let scopes = reachable_scopes(&structure.scopes);
        let allocates = |module| survey.allocators.contains_key(&module);
        let may_join = |module| {
            survey
                .modules
                .get(module)
                .is_some_and(|it| refusal(it).is_none())
        };
        let groups = groups(structure, &survey.modules, &scopes, allocates, may_join);
        survey.uninstrumented(&groups, &scopes, &mut gaps);

        let maxima: HashSet<u64> = survey
            .modules
            .iter()
            .flat_map(|module| &module.memories)
            .filter_map(|memory| memory.maximum)
            .collect();
        let mut maximum_pages = MAXIMUM_PAGES;
        while maxima.contains(&maximum_pages) {
            maximum_pages += 1;
        }
        let mut plan = Self {
            changes: vec![ScopeChanges::default(); structure.scopes.len()],
            modules: HashMap::new(),
            reports: Vec::new(),
            spans: Vec::new(),
            names: SyntheticNames::default(),
            gaps,
            maximum_pages,
        };
        let settings = RewriteSettings {
            maximum_pages,
            report_every_event: options.check_contexts,
        };
        for group in &groups {
            if let Err((module, Refusal(why))) = plan.instrument(&survey, group, settings) {
                let why = format!("core module {module} {why}");
                plan.gaps.push(why, Missing::MEMORIES);
            }
        }
        if plan.modules.is_empty() {
            return Err(Refusal(plan.gaps.reasons.join("; ")));
        }
        plan.spans.sort_by_key(|span| span.index);
        plan.reports.sort_by_key(|report| report.index);
        Ok(plan)
    }

    /// Instruments the modules of a group. The error names the module that cannot be instrumented;
    /// then none of the group is.
    fn instrument(
        &mut self,
        survey: &Survey<'_>,
        group: &Group,
        settings: RewriteSettings,
    ) -> Result<(), (usize, Refusal)> {
        let members = survey.analyse(group)?;
        let Some(owner) = members.first() else {
            return Ok(());
        };
        let owner_module = owner.position as u32;
        let owner_instance = owner.instances.first().map_or(0, |it| it.instance);
        let mut rewritten = Vec::new();
        let mut names = self.names.clone();
        for (number, member) in (0..).zip(&members) {
            let tables = match number {
                0 if members.len() == 1 => Tables::Own,
                0 => Tables::Shared,
                number => Tables::Imported(number),
            };
            let module = rewrite(
                &member.analysis,
                &member.roles,
                settings,
                tables,
                &mut names,
            );
            rewritten.push(module.map_err(|why| (member.position, why))?);
        }
        self.names = names;
        // The module that holds the tables is connected last: then all members can report.
        for (number, member) in members.iter().enumerate().rev() {
            for id in &member.instances {
                let Some(changes) = self.changes.get_mut(id.scope) else {
                    continue;
                };
                changes.instances.push(InstrumentedInstance {
                    instance: id.instance,
                    module: member.position as u32,
                    imports_tables: number > 0,
                });
                if number > 0 {
                    changes.tables_of.insert(id.instance, owner_instance);
                }
            }
        }
        for (member, module) in members.into_iter().zip(rewritten) {
            for gap in &module.gaps.reasons {
                let why = format!("core module {} {gap}", member.position);
                self.gaps.push(why, module.gaps.missing);
            }
            let range = survey
                .structure
                .modules
                .get(member.position)
                .map(|inline| inline.bytes.clone())
                .unwrap_or_default();
            self.spans.push(ModuleSpan {
                index: member.position as u32,
                tables: owner_module,
                original: range.start as u32..range.end as u32,
                entry_points: module
                    .report
                    .entry_points
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect(),
            });
            self.reports.push(module.report.clone());
            self.modules.insert(member.position, module);
        }
        Ok(())
    }
}

impl<'a> Survey<'a> {
    /// Finds the modules that have an allocator. Returns why others are not instrumented.
    fn find_allocators(&mut self) -> Gaps {
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
    fn uninstrumented(&self, groups: &[Group], scopes: &[bool], gaps: &mut Gaps) {
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
    fn uninstrumented_instances(&self, position: usize, scopes: &[bool]) -> Option<String> {
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
    fn counts_blocks(&self, position: usize) -> bool {
        let allocator = self.allocators.get(&position);
        allocator.is_some_and(|allocator| !allocator.entries.is_empty())
    }

    fn core(&self, scope: usize) -> Option<CoreInstances<'_>> {
        Some(CoreInstances {
            scope: self.structure.scopes.get(scope)?,
            modules: &self.modules,
        })
    }

    /// Analyses the members of a group in the order of instantiation. Returns those that have to be
    /// instrumented.
    fn analyse(&self, group: &Group) -> Result<Vec<AnalysedMember<'_>>, (usize, Refusal)> {
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
            let connections = match self.core(id.scope) {
                Some(core) if !is_separate => connections(core, id.instance, &known, &outside),
                // Without an allocator, the host lowers nothing into blocks.
                _ => Connections::separate(module, self.counts_blocks(position)),
            };
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
