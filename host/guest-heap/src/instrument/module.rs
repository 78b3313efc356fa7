//! Instruments one core module. Its functions keep their indices; new items are appended.

use std::collections::HashMap;

use wasm_encoder::InstructionSink;
use wasmparser::Operator;

use super::allocator::Allocator;
use super::assemble::{RewrittenModule, assemble};
use super::calls::{Callee, Calls};
use super::code_section::{AppendedIndices, CodeSectionBuilder, Originals, Tables};
use super::context::{ContextPlace, ContextTracking, module_salt};
use super::error::Refusal;
use super::exports::{ExportRoles, ExportWrapping, SyntheticNames};
use super::interface;
use super::link_runtime::{LinkedRuntime, ResolvedImport, RuntimeBase, link_runtime};
use super::reach::{Diverging, HostImports, Reach};
use super::report::ModuleReport;
use super::scan::{CoreModule, usize_range};
use super::sharing::Connections;

const END: u8 = 0x0B;

/// Settings that are the same for all modules of a component.
#[derive(Clone, Copy)]
pub(super) struct RewriteSettings {
    /// Declared maximum of the profiler's memories, in wasm pages.
    pub(super) maximum_pages: u64,
    /// Has the host capture the call stack at every allocation.
    pub(super) report_every_event: bool,
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
}

impl<'m> ModuleAnalysis<'m> {
    /// Analyses a module. `catches` says whether another module may catch an exception that passes
    /// through this one.
    pub(super) fn new(
        module: &'m CoreModule<'m>,
        index: usize,
        mut allocator: Allocator,
        connections: Connections,
        catches: bool,
    ) -> Result<Self, Refusal> {
        let calls = read_calls(module)?;
        allocator.select(module, &calls);
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
        Ok(Self {
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
        })
    }

    /// The functions that may allocate.
    pub(super) fn allocating(&self) -> impl Iterator<Item = u32> {
        let functions = 0..self.module.function_count();
        functions.filter(|function| self.reach.function(*function))
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
            || self
                .module
                .exports
                .iter()
                .any(|(name, _)| roles.contains(name))
            || allocates()
    }
}

/// Instruments a module.
pub(super) fn rewrite(
    analysis: &ModuleAnalysis<'_>,
    roles: &ExportRoles,
    settings: RewriteSettings,
    tables: Tables,
    synthetic_names: &mut SyntheticNames,
) -> Result<RewrittenModule, Refusal> {
    let ModuleAnalysis {
        module, allocator, ..
    } = analysis;
    let functions = module.function_count();
    let indices = AppendedIndices {
        tables,
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
        maximum_pages: settings.maximum_pages,
        imports_memory: matches!(tables, Tables::Imported(_)),
        copy: match tables {
            Tables::Imported(number) => number,
            Tables::Own | Tables::Shared => 0,
        },
    };
    let constants = RuntimeConstants {
        // An allocator may call one of another module that shares the heap tables.
        hooks_nest: tables != Tables::Own || may_nest(module, &analysis.calls, allocator),
        report_every_event: settings.report_every_event,
        suspends_calls: roles.suspends_calls,
        shared_context: tables != Tables::Own,
    };
    let runtime = link_runtime(base, |import| {
        resolve(
            import,
            module,
            &analysis.calls,
            allocator,
            &indices,
            constants,
        )
    })?;
    let place = match tables {
        Tables::Own => ContextPlace::Global(indices.context_global),
        Tables::Shared | Tables::Imported(_) => runtime.shared_context(indices.memory)?,
    };
    let tracking = tracking(analysis, place, roles.suspends_calls, &runtime)?;
    let originals: Vec<u32> = (indices.original_bodies..)
        .zip(&allocator.entries)
        .map(|(body, (_, function))| {
            forwards_to(module, &analysis.calls, *function).unwrap_or(body)
        })
        .collect();
    let originals = Originals {
        functions: &originals,
        place,
        hooks_nest: constants.hooks_nest,
    };
    let mut code = CodeSectionBuilder::new(module, allocator, runtime, &indices, originals)?;

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
    code.append_runtime(module, allocator)?;

    let wrapping = ExportWrapping {
        module,
        runtime: &code.runtime,
        roles,
        place,
        called_from_outside: analysis.connections.called_from_outside.as_ref(),
    };
    let mut wrapped = HashMap::new();
    let mut wrappers = Vec::new();
    for &(name, function) in &module.exports {
        let may_allocate = analysis.reach.function(function);
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
    assemble(module, code, &indices, &wrapped, report)
}

fn read_calls(module: &CoreModule<'_>) -> Result<Vec<Calls>, Refusal> {
    let mut calls = Vec::with_capacity(module.bodies.len());
    for (body, function) in module.bodies.iter().zip(module.first_defined()..) {
        let params = module
            .signature(function)
            .map_or(0, |ty| ty.params().len() as u32);
        calls.push(Calls::read(body, params)?);
    }
    Ok(calls)
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

/// Whether a function does nothing but call a function in a table with its own arguments. The module
/// with the memory of dynamically linked components exports such functions for functions of modules
/// that are instantiated later, under the same names.
pub(super) fn forwards_through_table(module: &CoreModule<'_>, function: u32) -> bool {
    let body = function
        .checked_sub(module.first_defined())
        .and_then(|defined| module.bodies.get(defined as usize));
    let Some(Ok(operators)) = body.map(|body| body.get_operators_reader()) else {
        return false;
    };
    let mut calls = 0;
    for operator in operators {
        match operator {
            Ok(Operator::CallIndirect { .. } | Operator::ReturnCallIndirect { .. }) => calls += 1,
            Ok(
                Operator::LocalGet { .. }
                | Operator::I32Const { .. }
                | Operator::GlobalGet { .. }
                | Operator::I32Add
                | Operator::Return
                | Operator::End,
            ) => {}
            _ => return false,
        }
    }
    calls == 1
}

/// Whether the original body of an entry point may call another entry point.
fn may_nest(module: &CoreModule<'_>, calls: &[Calls], allocator: &Allocator) -> bool {
    let hooks = hooks(allocator);
    let reach = Reach::compute(module, calls, &hooks, &hooks, false, Diverging::Ignored);
    let of = |function: &u32| calls.get(function.saturating_sub(module.first_defined()) as usize);
    let sites = hooks.iter().filter_map(of).flat_map(|calls| &calls.sites);
    sites
        .filter(|site| !site.diverges)
        .any(|site| reach.site(site))
}

/// What decides the runtime's constants.
#[derive(Clone, Copy)]
struct RuntimeConstants {
    hooks_nest: bool,
    report_every_event: bool,
    suspends_calls: bool,
    shared_context: bool,
}

/// What an import of the runtime becomes in this module.
fn resolve(
    import: &str,
    module: &CoreModule<'_>,
    calls: &[Calls],
    allocator: &Allocator,
    indices: &AppendedIndices,
    constants: RuntimeConstants,
) -> Option<ResolvedImport> {
    let constant = |value: bool| ResolvedImport::Constant(i32::from(value));
    Some(match import {
        "context" if constants.shared_context => ResolvedImport::GetSharedContext,
        "set_context" if constants.shared_context => ResolvedImport::SetSharedContext,
        "context" => ResolvedImport::GetContext(indices.context_global),
        "set_context" => ResolvedImport::SetContext(indices.context_global),
        "load" => ResolvedImport::Load,
        "hooks_nest" => constant(constants.hooks_nest),
        "report_every_event" => constant(constants.report_every_event),
        "suspends_calls" => constant(constants.suspends_calls),
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
    Ok(ContextTracking {
        module: analysis.module,
        reach: &analysis.reach,
        full_reach: &analysis.full_reach,
        ignores_diverging: analysis.ignores_diverging,
        imports: &analysis.host_imports,
        place,
        import_begins: runtime.export("import_begins")?,
        import_ends: runtime.export("import_ends")?,
        suspending: suspending.transpose()?,
        salt: module_salt(analysis.index),
    })
}
