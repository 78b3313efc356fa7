//! Decides which core modules of a component to instrument, and instruments them.

use std::collections::{HashMap, HashSet};

use wasmparser::types::Types;

use super::assemble::RewrittenModule;
use super::attribution::{Gaps, Missing};
use super::code_section::Tables;
use super::component::ComponentStructure;
use super::connector::InstrumentedInstance;
use super::error::Refusal;
use super::exports::SyntheticNames;
use super::handles::{HandleSurvey, Ledger};
use super::interpreted::{self, InterpretedGroup};
use super::meta::{HandleMeta, ModuleSpan};
use super::module::{RewriteSettings, refusal, rewrite};
use super::options::Options;
use super::report::ModuleReport;
use super::scan::CoreModule;
use super::sharing::{Group, groups, reachable_scopes};
use super::survey::{Survey, segments_end};
use super::write_component::ScopeChanges;
use crate::collected_heap;
use crate::interpreter::Interpreter;

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
    /// The interpreters whose frames are known, by the module that holds the heap tables.
    pub(super) interpreters: Vec<(u32, Interpreter)>,
    /// Why the program of an interpreter has no source lines.
    pub(super) without_lines: Option<String>,
    pub(super) handles: HandleMeta,
}

impl Plan {
    /// Makes the plan of a component. An error is the reason why nothing is instrumented.
    pub(super) fn make(
        bytes: &[u8],
        structure: &ComponentStructure,
        types: &[Types],
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
            handles: HandleSurvey::default(),
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
        survey.handles = HandleSurvey::of(&structure.scopes, types, &ledgers(&groups), |scope| {
            survey.core(scope)
        });

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
            interpreters: Vec::new(),
            without_lines: None,
            handles: HandleMeta::default(),
        };
        for group in &groups {
            let modules = survey.in_memory_of(group);
            let interpreted = interpreted::find(&modules, group, options.interpreted_frames);
            let settings = RewriteSettings {
                maximum_pages,
                report_every_event: options.check_contexts,
                segments_end: segments_end(&modules),
                interpreter: None,
            };
            let done = plan.instrument(&survey, group, settings, interpreted);
            if let Err((module, Refusal(why))) = done {
                let why = format!("core module {module} {why}");
                plan.gaps.push(why, Missing::MEMORIES);
            }
        }
        if plan.modules.is_empty() {
            return Err(Refusal(plan.gaps.reasons.join("; ")));
        }
        let mut handles = survey.handles;
        let counted: Vec<usize> = handles.modules.keys().copied().collect();
        for module in counted {
            if !plan.modules.contains_key(&module) {
                handles.remove(module);
            }
        }
        plan.handles = HandleMeta {
            are_counted: !handles.modules.is_empty(),
            types: handles.types.0,
            gaps: handles.gaps.into_iter().map(Into::into).collect(),
        };
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
        settings: RewriteSettings<'_>,
        interpreted: InterpretedGroup,
    ) -> Result<(), (usize, Refusal)> {
        let mut members = survey.analyse(group)?;
        let prepared = interpreted.prepare(&mut members);
        if let Some(gap) = prepared.gap {
            self.gaps.push(gap, Missing::default());
        }
        if self.without_lines.is_none() {
            self.without_lines = prepared.without_lines;
        }
        let interpreter = prepared.interpreter;
        let settings = RewriteSettings {
            interpreter: interpreter.as_ref(),
            ..settings
        };
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
            // In a module without a memory, nothing can be read.
            let settings = RewriteSettings {
                interpreter: settings
                    .interpreter
                    .filter(|_| member.analysis.has_memory()),
                ..settings
            };
            let module = rewrite(
                &member.analysis,
                (&member.roles, survey.handles.modules.get(&member.position)),
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
                    interprets: interpreter.is_some() && member.analysis.has_memory(),
                });
                if number > 0 {
                    changes.tables_of.insert(id.instance, owner_instance);
                }
            }
        }
        self.interpreters
            .extend(interpreter.map(|interpreter| (owner_module, interpreter)));
        for (member, module) in members.into_iter().zip(rewritten) {
            if member.analysis.module().has_collected_heap {
                let why = format!("core module {} {}", member.position, collected_heap::GAP);
                self.gaps.push(why, Missing::default());
            }
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
                tracks_calls: member.analysis.tracks_calls,
                pass_through: module.pass_through.as_slice().into(),
            });
            self.reports.push(module.report.clone());
            self.modules.insert(member.position, module);
        }
        Ok(())
    }
}

/// The sets of heap tables of these groups.
fn ledgers(groups: &[Group]) -> Vec<Ledger> {
    let mut ledgers = Vec::new();
    for group in groups {
        let mut members = group
            .members
            .iter()
            .flat_map(|member| member.instances.iter().map(|id| (*id, member.module)));
        if group.members.len() > 1 {
            let instances: Vec<_> = members.collect();
            let Some((id, _)) = instances.first() else {
                continue;
            };
            ledgers.push(Ledger {
                scope: id.scope,
                instances: instances
                    .iter()
                    .map(|(id, it)| (id.instance, *it))
                    .collect(),
            });
        } else {
            ledgers.extend(members.by_ref().map(|(id, module)| Ledger {
                scope: id.scope,
                instances: vec![(id.instance, module)],
            }));
        }
    }
    ledgers
}
