//! Instruments one core module. Its functions keep their indices; new items are appended.

use std::collections::HashMap;

use super::allocator::Allocator;
use super::assemble::{RewrittenModule, assemble};
use super::audit::Audit;
use super::calls::Calls;
use super::code_section::{AppendedIndices, CodeSectionBuilder};
use super::context::{ContextTracking, GrowthTracking, mix};
use super::error::Refusal;
use super::exports::{ExportRoles, ExportWrapping, SyntheticNames};
use super::interface;
use super::link_runtime::{LinkedRuntime, RuntimeBase, link_runtime};
use super::reach::{Diverging, Reach, ReferencedImports};
use super::repair::repair;
use super::report::ModuleReport;
use super::runtime_imports::RuntimeImports;
use super::scan::CoreModule;
use super::static_data::StaticData;

/// Settings that are the same for all modules of a component.
#[derive(Clone, Copy)]
pub(super) struct RewriteSettings {
    /// Declared maximum of the profiler's memories, in wasm pages.
    pub(super) maximum_pages: u64,
    /// Has the host capture the call stack at every allocation.
    pub(super) report_every_event: bool,
}

/// Instruments `module`, the core module with this index in the component.
pub(super) fn rewrite(
    module: &CoreModule<'_>,
    index: u32,
    allocator: &mut Allocator,
    roles: &ExportRoles,
    settings: RewriteSettings,
    synthetic_names: &mut SyntheticNames,
) -> Result<RewrittenModule, Refusal> {
    check(module)?;
    let mut calls = Vec::with_capacity(module.bodies.len());
    for (body, function) in module.bodies.iter().zip(module.first_defined()..) {
        let params = module
            .signature(function)
            .map_or(0, |ty| ty.params().len() as u32);
        calls.push(Calls::read(module, body, params)?);
    }
    allocator.select(module, &calls);
    repair(module, &calls, allocator);
    let allocator = &*allocator;
    let audit = Audit::of(module, &calls, allocator);

    let functions = module.function_count();
    let indices = AppendedIndices {
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
        globals: indices.context_global + 1,
        memory: indices.memory,
        guest_memories: &module.memories,
        maximum_pages: settings.maximum_pages,
    };
    let imports = RuntimeImports {
        module,
        calls: &calls,
        allocator,
        audit: &audit,
        static_data: StaticData::of(module),
        indices: &indices,
        report_every_event: settings.report_every_event,
    };
    let runtime = link_runtime(base, |import| imports.resolve(import))?;
    let tracking = tracking(&imports, index, roles, &runtime)?;
    let mut code = CodeSectionBuilder::new(module, allocator, runtime, &indices)?;

    let mut report = ModuleReport::new(index, allocator);
    for (function, calls) in (module.first_defined()..).zip(&calls) {
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
    let mut originals = Vec::new();
    for (_, function) in &allocator.entries {
        let defined = function.saturating_sub(module.first_defined()) as usize;
        let calls = calls.get(defined);
        let calls = calls.ok_or_else(|| Refusal::internal("a hook without a body"))?;
        originals.push(tracking.rewrite_original(*function, calls)?);
    }
    code.append_runtime(&originals);

    let wrapping = ExportWrapping {
        module,
        runtime: &code.runtime,
        roles,
        context_global: indices.context_global,
    };
    let mut wrapped = HashMap::new();
    let mut wrappers = Vec::new();
    for &(name, function) in &module.exports {
        let may_allocate = tracking.may_change_heap(function);
        if let Some(wrapper) = wrapping.wrap(name, function, may_allocate, synthetic_names)? {
            let index = indices.stub + code.appended_types.len() as u32;
            wrapped.insert(name, index);
            code.appended_types.push(wrapper.ty);
            wrappers.push(wrapper.body);
        }
    }
    for body in wrappers {
        code.push_profiler(&body);
    }
    let mut rewritten = assemble(module, code, &indices, &wrapped, report)?;
    rewritten.gaps.extend(allocator.caveat.map(str::to_owned));
    rewritten.gaps.extend(audit.findings);
    Ok(rewritten)
}

/// Refuses modules that cannot be instrumented.
fn check(module: &CoreModule<'_>) -> Result<(), Refusal> {
    let reason = if module
        .exports
        .iter()
        .any(|(name, _)| *name == interface::HEAP_TABLES)
    {
        "is instrumented already"
    } else if module.memories.iter().any(|memory| memory.memory64) {
        "has a 64-bit memory"
    } else if module.memories.iter().any(|memory| memory.shared) {
        "shares its memory between threads"
    } else {
        return Ok(());
    };
    Err(Refusal(reason.to_owned()))
}

fn tracking<'m>(
    imports: &RuntimeImports<'m>,
    index: u32,
    roles: &ExportRoles,
    runtime: &LinkedRuntime,
) -> Result<ContextTracking<'m>, Refusal> {
    let RuntimeImports {
        module,
        calls,
        allocator,
        audit,
        indices,
        ..
    } = *imports;
    let hooks: Vec<u32> = allocator
        .entries
        .iter()
        .map(|(_, function)| *function)
        .collect();
    let allocating = allocator.entries.iter().filter(|(entry, _)| !entry.frees());
    let seeds: Vec<u32> = allocating.map(|(_, function)| *function).collect();
    // The host lowers the results of imports through the allocator.
    let lowers = !hooks.is_empty();
    let reach = |diverging| Reach::compute(module, calls, &seeds, &hooks, lowers, diverging);
    let ignores_diverging = !module.has_exceptions;
    let growth = || {
        let diverging = if ignores_diverging {
            Diverging::Ignored
        } else {
            Diverging::Counts
        };
        let reach = |imports, diverging| Reach::growth(module, calls, &hooks, imports, diverging);
        let direct = reach(false, diverging);
        let mut reallocs = module.exports.iter();
        let lowering_grows = reallocs
            .any(|(name, function)| roles.reallocs.contains(*name) && direct.function(*function));
        GrowthTracking {
            reach: if lowering_grows {
                reach(true, diverging)
            } else {
                direct
            },
            full_reach: reach(lowering_grows, Diverging::Counts),
            outside: audit.outside.clone(),
        }
    };
    Ok(ContextTracking {
        module,
        reach: reach(if ignores_diverging {
            Diverging::Ignored
        } else {
            Diverging::Counts
        }),
        full_reach: reach(Diverging::Counts),
        growth: audit.may_grow_outside.then(growth),
        ignores_diverging,
        imports: ReferencedImports::of(module, calls),
        context_global: indices.context_global,
        import_begins: runtime.export("import_begins")?,
        import_ends: runtime.export("import_ends")?,
        growth_begins: runtime.export("growth_begins")?,
        growth_ends: runtime.export("growth_ends")?,
        salt: mix(u64::from(index) + 1),
    })
}
