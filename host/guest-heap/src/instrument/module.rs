//! Instruments one core module. Its functions keep their indices; new items are appended.

use std::collections::HashMap;

use super::allocator::{Allocator, Caveat};
use super::assemble::{RewrittenModule, assemble};
use super::attribution::Gaps;
use super::audit::Audit;
use super::call_site_id::module_salt;
use super::calls::Calls;
use super::code_section::{AppendedIndices, CodeSectionBuilder, Originals, Tables};
use super::context::ContextTracking;
use super::context_place::ContextPlace;
use super::entry_point::{EntryPoint, Family};
use super::error::Refusal;
use super::export_roles::ExportRoles;
use super::exports::{ExportWrapping, SyntheticNames};
use super::forwarding::forwards_through_table;
use super::growth::{GrowthTracking, counts_growth};
use super::handles::{ImportWrappers, ModuleHandles};
use super::interface;
use super::link_runtime::{LinkedRuntime, RuntimeBase, link_runtime};
use super::reach::{Diverging, HostImports, Reach};
use super::repair::repair;
use super::report::ModuleReport;
use super::runtime_imports::RuntimeImports;
use super::scan::CoreModule;
use super::sharing::Connections;
use super::static_data::StaticData;
use crate::interpreter::Interpreter;

/// Settings that are the same for all modules of a component.
#[derive(Clone, Copy)]
pub(super) struct RewriteSettings<'a> {
    /// Declared maximum of the profiler's memories, in wasm pages.
    pub(super) maximum_pages: u64,
    /// Has the host capture the call stack at every allocation.
    pub(super) report_every_event: bool,
    /// End of the data segments of all modules with the same heap tables. The heap of a snapshot
    /// lies below it, in the segments of any of them.
    pub(super) segments_end: u32,
    /// The interpreter whose program makes the keys of allocations.
    pub(super) interpreter: Option<&'a Interpreter>,
}

/// What is known of a module before it is instrumented.
pub(super) struct ModuleAnalysis<'m> {
    module: &'m CoreModule<'m>,
    /// Position in the list of all modules of the file.
    index: u32,
    calls: Vec<Calls>,
    pub(super) allocator: Allocator,
    reach: Reach,
    full_reach: Reach,
    host_imports: HostImports,
    ignores_diverging: bool,
    connections: Connections,
    audit: Audit,
    growth: Option<GrowthTracking>,
    /// Whether its functions are in call stacks.
    pub(super) tracks_calls: bool,
}

impl<'m> ModuleAnalysis<'m> {
    /// Analyses a module. `catches` says whether another module may catch an exception that passes
    /// through this one.
    pub(super) fn new(
        module: &'m CoreModule<'m>,
        index: usize,
        mut allocator: Allocator,
        connections: Connections,
        roles: &ExportRoles,
        catches: bool,
    ) -> Result<Self, Refusal> {
        let calls = Calls::read_all(module)?;
        allocator.select(module, &calls);
        repair(module, &calls, &mut allocator);
        let audit = Audit::of(module, &calls, &allocator);
        let hooks = hooks(&allocator);
        let allocating = allocator.entries.iter().filter(|(entry, _)| !entry.frees());
        let imports = (0..).zip(&connections.allocates);
        let seeds: Vec<u32> = allocating
            .map(|(_, function)| *function)
            .chain(imports.filter_map(|(import, allocates)| allocates.then_some(import)))
            .collect();
        let open_table = connections.open_table;
        let reach =
            |diverging| Reach::compute(module, &calls, &seeds, &hooks, open_table, diverging);
        let ignores_diverging = !module.has_exceptions && !catches;
        let host_imports = HostImports::of(module, &calls, |import| {
            connections.leaves.get(import) == Some(&true)
        });
        let counts_growth = counts_growth(module, &allocator) && audit.may_grow_outside;
        let growth = counts_growth.then(|| {
            let diverging = if ignores_diverging {
                Diverging::Ignored
            } else {
                Diverging::Counts
            };
            let is_realloc = |name: &str| roles.reallocs.contains(name);
            GrowthTracking::of(module, &calls, &hooks, &audit, is_realloc, diverging)
        });
        Ok(Self {
            audit,
            growth,
            module,
            index: index as u32,
            reach: reach(if ignores_diverging {
                Diverging::Ignored
            } else {
                Diverging::Counts
            }),
            full_reach: reach(Diverging::Counts),
            calls,
            allocator,
            host_imports,
            ignores_diverging,
            connections,
            tracks_calls: true,
        })
    }

    pub(super) fn has_memory(&self) -> bool {
        !self.module.memories.is_empty()
    }

    /// Whether the module has an allocator that is not CPython's own.
    pub(super) fn has_allocator(&self) -> bool {
        let mut entries = self.allocator.entries.iter();
        entries.any(|(entry, _)| entry.family() != Family::Python)
    }

    pub(super) fn module(&self) -> &'m CoreModule<'m> {
        self.module
    }

    /// Adds entry points that are none of the module's allocator, which the audit is about.
    pub(super) fn hook(&mut self, entries: impl IntoIterator<Item = (EntryPoint, u32)>) {
        self.allocator.entries.extend(entries);
    }

    /// The functions that may allocate.
    pub(super) fn allocating(&self) -> impl Iterator<Item = u32> {
        let functions = 0..self.module.function_count();
        functions.filter(|function| self.reach.function(*function))
    }

    /// Whether a function may allocate, or grow memory without an entry point.
    fn may_change_heap(&self, function: u32) -> bool {
        let growth = self.growth.as_ref();
        self.reach.function(function)
            || growth.is_some_and(|growth| growth.reach.function(function))
    }

    /// Why the heap is attributed only partially: clauses whose subject is the module.
    fn gaps(&self) -> Gaps {
        let mut gaps = Gaps::default();
        if let Some(Caveat { why, missing }) = self.allocator.caveat {
            gaps.push(why.to_owned(), missing);
        }
        gaps.reasons.extend_from_slice(&self.audit.findings.reasons);
        gaps.missing.add(self.audit.findings.missing);
        gaps
    }

    /// The functions that only forward to a function in a table: see [`forwards_through_table`].
    pub(super) fn forwarding(&self) -> impl Iterator<Item = u32> {
        let functions = self.module.first_defined()..self.module.function_count();
        functions.filter(|function| forwards_through_table(self.module, *function))
    }

    /// Whether the module has to be instrumented: it has an allocator, the host calls it, or it has
    /// calls that set the calling context. A function that only forwards through a table leaves the
    /// context of its caller.
    pub(super) fn is_needed(&self, roles: &ExportRoles) -> bool {
        let allocates = || {
            let mut functions = self.module.first_defined()..self.module.function_count();
            functions.any(|function| {
                self.reach.function(function) && !forwards_through_table(self.module, function)
            })
        };
        !self.allocator.entries.is_empty()
            || self.growth.is_some()
            || self
                .module
                .exports
                .iter()
                .any(|(name, _)| roles.contains(name))
            || allocates()
    }
}

/// Instruments a module. `handles` are those that it gets and ends, if they are counted.
pub(super) fn rewrite(
    analysis: &ModuleAnalysis<'_>,
    (roles, handles): (&ExportRoles, Option<&ModuleHandles>),
    settings: RewriteSettings<'_>,
    tables: Tables,
    synthetic_names: &mut SyntheticNames,
) -> Result<RewrittenModule, Refusal> {
    let ModuleAnalysis {
        module, allocator, ..
    } = analysis;
    let functions = module.function_count();
    let interprets = settings.interpreter.is_some();
    let indices = AppendedIndices {
        tables,
        interprets,
        stub_type: module.types.len() as u32,
        table: module.tables,
        memory: module.memories.len() as u32,
        context_global: module.globals,
        stub: functions,
        original_bodies: functions + 1,
        runtime: functions + 1 + allocator.entries.len() as u32,
    };
    let base = RuntimeBase {
        types: indices.stub_type + 1,
        functions: indices.runtime,
        globals: indices.context_global + u32::from(tables == Tables::Own),
        memory: indices.memory,
        guest_memories: &module.memories,
        maximum_pages: settings.maximum_pages,
        imports_memory: matches!(tables, Tables::Imported(_)),
        copy: match tables {
            Tables::Imported(number) => number,
            Tables::Own | Tables::Shared => 0,
        },
        interprets,
        counts_handles: handles.is_some(),
    };
    let imports = RuntimeImports {
        module,
        calls: &analysis.calls,
        allocator,
        audit: &analysis.audit,
        static_data: StaticData {
            segments_end: settings.segments_end,
            ..StaticData::of(module)
        },
        indices: &indices,
        report_every_event: settings.report_every_event,
        misses_frees: analysis.gaps().missing.frees,
        suspends_calls: roles.suspends_calls,
        interpreter: settings.interpreter,
    };
    let runtime = link_runtime(base, |import| imports.resolve(import))?;
    let place = match tables {
        Tables::Own => ContextPlace::Global(indices.context_global),
        Tables::Shared | Tables::Imported(_) => runtime.shared_context(indices.memory)?,
    };
    let mut tracking = tracking(analysis, place, roles.suspends_calls, &runtime)?;
    tracking.find_pass_through(&analysis.calls, &hooks(allocator));
    let originals: Vec<u32> = imports.originals().collect();
    let originals = Originals {
        functions: &originals,
        place,
        hooks_nest: imports.hooks_note_activity(),
    };
    let mut code = CodeSectionBuilder::new(module, allocator, runtime, &indices, originals)?;

    let first = indices.stub + code.appended_types.len() as u32;
    let calls = (place, roles.suspends_calls);
    tracking.wrappers = ImportWrappers::write(handles, module, &code.runtime, calls, first)?;
    let types = tracking.wrappers.bodies.iter().map(|(ty, _)| *ty);
    code.appended_types.extend(types);

    let mut report = ModuleReport::new(analysis.index, allocator);
    for (function, calls) in (module.first_defined()..).zip(&analysis.calls) {
        if allocator
            .entries
            .iter()
            .any(|(_, hooked)| *hooked == function)
        {
            code.push_hook(function)?;
            continue;
        }
        let body = tracking.rewrite(function, calls)?;
        report.functions += 1;
        report.tracked_functions += usize::from(body.sites > 0);
        report.call_sites += body.sites;
        code.push(&body.bytes, &body.offsets);
    }
    let mut original_bodies = Vec::new();
    for (_, function) in &allocator.entries {
        let defined = function.saturating_sub(module.first_defined()) as usize;
        let calls = analysis.calls.get(defined);
        let calls = calls.ok_or_else(|| Refusal::internal("a hook without a body"))?;
        original_bodies.push(tracking.rewrite_original(*function, calls)?);
    }
    code.append_runtime(&original_bodies);
    for (_, body) in &tracking.wrappers.bodies {
        code.push_profiler(body);
    }

    let wrapping = ExportWrapping {
        module,
        runtime: &code.runtime,
        roles,
        place,
        called_from_outside: analysis.connections.called_from_outside.as_ref(),
        handles,
        arrival: tracking.wrappers.arrival,
    };
    let mut wrapped = HashMap::new();
    let mut wrappers = Vec::new();
    for &(name, function) in &module.exports {
        let may_allocate = analysis.may_change_heap(function);
        if let Some(wrapper) = wrapping.wrap(name, function, may_allocate, synthetic_names)? {
            let index = indices.stub + code.appended_types.len() as u32;
            wrapped.insert(name, index);
            code.appended_types.push(wrapper.ty);
            wrappers.push(wrapper);
        }
    }
    for wrapper in wrappers {
        code.push_wrapper(&wrapper.body, wrapper.begins_stack);
    }
    let mut rewritten = assemble(module, code, &indices, &wrapped, report)?;
    rewritten.gaps = analysis.gaps();
    rewritten.pass_through = tracking.pass_through;
    Ok(rewritten)
}

/// The functions that hooks replace.
fn hooks(allocator: &Allocator) -> Vec<u32> {
    let entries = allocator.entries.iter();
    entries.map(|(_, function)| *function).collect()
}

/// Why a module cannot be instrumented, as a clause whose subject is the module.
pub(super) fn refusal(module: &CoreModule<'_>) -> Option<&'static str> {
    if module.export_indices.contains_key(interface::HEAP_TABLES) {
        Some("is instrumented already")
    } else if module.memories.iter().any(|memory| memory.memory64) {
        Some("has a 64-bit memory")
    } else if module.memories.iter().any(|memory| memory.shared) {
        Some("shares its memory between threads")
    } else {
        None
    }
}

fn tracking<'a>(
    analysis: &'a ModuleAnalysis<'a>,
    place: ContextPlace,
    suspends_calls: bool,
    runtime: &LinkedRuntime,
) -> Result<ContextTracking<'a>, Refusal> {
    let suspending = suspends_calls.then(|| {
        let suspends = runtime.export("import_suspends")?;
        Ok::<_, Refusal>((suspends, runtime.export("import_resumes")?))
    });
    let growth_calls = counts_growth(analysis.module, &analysis.allocator).then(|| {
        let begins = runtime.export("growth_begins")?;
        Ok::<_, Refusal>((begins, runtime.export("growth_ends")?))
    });
    Ok(ContextTracking {
        module: analysis.module,
        reach: &analysis.reach,
        full_reach: &analysis.full_reach,
        growth: analysis.growth.as_ref(),
        growth_calls: growth_calls.transpose()?,
        tracks_calls: analysis.tracks_calls,
        ignores_diverging: analysis.ignores_diverging,
        imports: &analysis.host_imports,
        place,
        import_begins: runtime.export("import_begins")?,
        import_ends: runtime.export("import_ends")?,
        suspending: suspending.transpose()?,
        wrappers: ImportWrappers::default(),
        salt: module_salt(analysis.index),
        pass_through: Vec::new(),
    })
}
