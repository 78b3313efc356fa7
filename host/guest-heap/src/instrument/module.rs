//! Instruments one core module. Its functions keep their indices; new items are appended.

use std::collections::HashMap;

use wasm_encoder::InstructionSink;

use super::allocator::Allocator;
use super::assemble::{RewrittenModule, assemble};
use super::calls::{Callee, Calls};
use super::code_section::{AppendedIndices, CodeSectionBuilder};
use super::context::{ContextTracking, mix};
use super::error::Refusal;
use super::exports::{ExportRoles, ExportWrapping, SyntheticNames};
use super::interface;
use super::link_runtime::{LinkedRuntime, ResolvedImport, RuntimeBase, link_runtime};
use super::reach::{Diverging, Reach, ReferencedImports};
use super::report::ModuleReport;
use super::scan::{CoreModule, usize_range};

const END: u8 = 0x0B;

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
        calls.push(Calls::read(body, params)?);
    }
    allocator.select(module, &calls);
    let allocator = &*allocator;

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
        maximum_pages: settings.maximum_pages,
    };
    let hooks_nest = may_nest(module, &calls, allocator);
    let runtime = link_runtime(base, |import| {
        resolve(
            import,
            module,
            &calls,
            allocator,
            &indices,
            hooks_nest,
            settings.report_every_event,
        )
    })?;
    let tracking = tracking(module, index, allocator, &calls, &indices, &runtime)?;
    let originals: Vec<u32> = (indices.original_bodies..)
        .zip(&allocator.entries)
        .map(|(body, (_, function))| forwards_to(module, &calls, *function).unwrap_or(body))
        .collect();
    let mut code =
        CodeSectionBuilder::new(module, allocator, runtime, &indices, &originals, hooks_nest)?;

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
    code.append_runtime(module, allocator)?;

    let wrapping = ExportWrapping {
        module,
        runtime: &code.runtime,
        roles,
        context_global: indices.context_global,
    };
    let mut wrapped = HashMap::new();
    let mut wrappers = Vec::new();
    for &(name, function) in &module.exports {
        let may_allocate = tracking.reach.function(function);
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
    assemble(module, code, &indices, &wrapped, report)
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

/// Whether the original body of an entry point may call another entry point.
fn may_nest(module: &CoreModule<'_>, calls: &[Calls], allocator: &Allocator) -> bool {
    let hooks: Vec<u32> = allocator
        .entries
        .iter()
        .map(|(_, function)| *function)
        .collect();
    let reach = Reach::compute(module, calls, &hooks, &hooks, false, Diverging::Ignored);
    let of = |function: &u32| calls.get(function.saturating_sub(module.first_defined()) as usize);
    let sites = hooks.iter().filter_map(of).flat_map(|calls| &calls.sites);
    sites
        .filter(|site| !site.diverges)
        .any(|site| reach.site(site))
}

/// What an import of the runtime becomes in this module.
fn resolve(
    import: &str,
    module: &CoreModule<'_>,
    calls: &[Calls],
    allocator: &Allocator,
    indices: &AppendedIndices,
    hooks_nest: bool,
    report_every_event: bool,
) -> Option<ResolvedImport> {
    Some(match import {
        "context" => ResolvedImport::GetGlobal(indices.context_global),
        "set_context" => ResolvedImport::SetGlobal(indices.context_global),
        "load" => ResolvedImport::Load,
        "hooks_nest" => ResolvedImport::Constant(i32::from(hooks_nest)),
        "report_every_event" => ResolvedImport::Constant(i32::from(report_every_event)),
        "report_context" => ResolvedImport::Function(indices.stub),
        _ => {
            let name = import.strip_prefix("original_")?;
            let mut bodies = (indices.original_bodies..).zip(&allocator.entries);
            let (body, (_, function)) =
                bodies.find(|(_, (entry, _))| entry.has_runtime_hook() && entry.name() == name)?;
            ResolvedImport::Function(forwards_to(module, calls, *function).unwrap_or(body))
        }
    })
}

/// The function that an entry point forwards to: its body only calls that function with its own
/// arguments. The hook can call that function directly.
fn forwards_to(module: &CoreModule<'_>, calls: &[Calls], function: u32) -> Option<u32> {
    let defined = function.checked_sub(module.first_defined())? as usize;
    let [site] = calls.get(defined)?.sites.as_slice() else {
        return None;
    };
    let Callee::Function(callee) = site.callee else {
        return None;
    };
    let params = module.signature(function)?.params().len() as u32;
    let mut expected = Vec::new();
    let mut code = InstructionSink::new(&mut expected);
    for param in 0..params {
        code.local_get(param);
    }
    let body = usize_range(module.bodies.get(defined)?.range());
    let before = module.bytes.get(calls.get(defined)?.code..site.start)?;
    let after = module.bytes.get(site.end..body.end)?;
    (before == expected && after == [END] && module.is_defined(callee)).then_some(callee)
}

fn tracking<'m>(
    module: &'m CoreModule<'m>,
    index: u32,
    allocator: &Allocator,
    calls: &[Calls],
    indices: &AppendedIndices,
    runtime: &LinkedRuntime,
) -> Result<ContextTracking<'m>, Refusal> {
    let hooks: Vec<u32> = allocator
        .entries
        .iter()
        .map(|(_, function)| *function)
        .collect();
    let allocating = allocator.entries.iter().filter(|(entry, _)| !entry.frees());
    let seeds: Vec<u32> = allocating.map(|(_, function)| *function).collect();
    let reach = |diverging| Reach::compute(module, calls, &seeds, &hooks, true, diverging);
    let ignores_diverging = !module.has_exceptions;
    Ok(ContextTracking {
        module,
        reach: reach(if ignores_diverging {
            Diverging::Ignored
        } else {
            Diverging::Counts
        }),
        full_reach: reach(Diverging::Counts),
        ignores_diverging,
        imports: ReferencedImports::of(module, calls),
        context_global: indices.context_global,
        import_begins: runtime.export("import_begins")?,
        import_ends: runtime.export("import_ends")?,
        salt: mix(u64::from(index) + 1),
    })
}
