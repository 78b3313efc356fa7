//! Rewrites one core module: its functions keep their indices, everything new is appended.

use std::collections::HashMap;

use wasm_encoder::{Encode, InstructionSink};

use super::allocator::Allocator;
use super::assemble::assemble;
use super::calls::{Callee, Calls};
use super::component_tail::names;
use super::context::{Tracking, mix};
use super::error::Refusal;
use super::exports::{Roles, Specials, Wrapping};
use super::link_runtime::{Base, Import, Linked, link_runtime};
use super::offset_map::OffsetMap;
use super::reach::{Diverging, Reach, ReferencedImports};
use super::report::ModuleReport;
use super::scan::{CoreModule, range};

/// An instrumented module. Offsets are counted from its start and the original module's.
pub(super) struct Rewritten {
    pub(super) bytes: Vec<u8>,
    pub(super) offsets: OffsetMap,
    pub(super) report: ModuleReport,
}

/// What is the same for all modules of a component.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    /// The maximum of the profiler's memories.
    pub(super) maximum_pages: u64,
    pub(super) report_every_event: bool,
}

/// Indices of what is appended.
pub(super) struct Layout {
    pub(super) stub_type: u32,
    pub(super) table: u32,
    pub(super) memory: u32,
    pub(super) context_global: u32,
    pub(super) stub: u32,
    /// The guest's own bodies of its allocator entry points, in their order.
    pub(super) raws: u32,
    pub(super) runtime: u32,
}

/// Instruments `module`, which is core module number `index` of the component.
pub(super) fn rewrite(
    module: &CoreModule<'_>,
    index: u32,
    allocator: &mut Allocator,
    roles: &Roles,
    settings: Settings,
    specials: &mut Specials,
) -> Result<Rewritten, Refusal> {
    check(module)?;
    let mut calls = Vec::with_capacity(module.bodies.len());
    for (body, function) in module.bodies.iter().zip(module.first_defined()..) {
        let params = module
            .signature(function)
            .map_or(0, |ty| ty.params().len() as u32);
        calls.push(Calls::read(body, params)?);
    }
    allocator.choose(module, &calls);
    let allocator = &*allocator;

    let functions = module.functions();
    let layout = Layout {
        stub_type: module.types.len() as u32,
        table: module.tables,
        memory: module.memories.len() as u32,
        context_global: module.globals,
        stub: functions,
        raws: functions + 1,
        runtime: functions + 1 + allocator.entries.len() as u32,
    };
    let base = Base {
        types: layout.stub_type + 1,
        functions: layout.runtime,
        globals: layout.context_global + 1,
        memory: layout.memory,
        maximum_pages: settings.maximum_pages,
    };
    let nest = hooks_nest(module, &calls, allocator);
    let runtime = link_runtime(base, |import| {
        resolve(
            import,
            module,
            &calls,
            allocator,
            &layout,
            nest,
            settings.report_every_event,
        )
    })?;
    let tracking = tracking(module, index, allocator, &calls, &layout, &runtime)?;
    let mut code = Code::new(module, allocator, runtime, &layout)?;

    let mut report = ModuleReport::new(index, allocator);
    for (function, calls) in (module.first_defined()..).zip(&calls) {
        if allocator
            .entries
            .iter()
            .any(|(_, hooked)| *hooked == function)
        {
            code.hook(function)?;
            continue;
        }
        let body = tracking.rewrite(function, calls)?;
        report.functions += 1;
        report.tracked_functions += usize::from(body.sites > 0);
        report.call_sites += body.sites;
        code.push(&body.bytes, &body.offsets);
    }
    code.append_runtime(module, allocator)?;

    let wrapping = Wrapping {
        module,
        runtime: &code.runtime,
        roles,
        context_global: layout.context_global,
    };
    let mut wrapped = HashMap::new();
    let mut wrappers = Vec::new();
    for &(name, function) in &module.exports {
        let may_allocate = tracking.reach.function(function);
        if let Some(wrapper) = wrapping.wrap(name, function, may_allocate, specials)? {
            wrapped.insert(name, code.types.next_function(&layout));
            code.types.0.push(wrapper.ty);
            wrappers.push(wrapper.body);
        }
    }
    for body in wrappers {
        code.push_own(&body);
    }
    assemble(module, code, &layout, &wrapped, report)
}

/// What is refused, each with its reason.
fn check(module: &CoreModule<'_>) -> Result<(), Refusal> {
    let reason = if module.exports.iter().any(|(name, _)| *name == names::BOOKS) {
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

/// Whether an allocator entry point's own body may call another one.
fn hooks_nest(module: &CoreModule<'_>, calls: &[Calls], allocator: &Allocator) -> bool {
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

fn resolve(
    import: &str,
    module: &CoreModule<'_>,
    calls: &[Calls],
    allocator: &Allocator,
    layout: &Layout,
    nest: bool,
    report_every_event: bool,
) -> Option<Import> {
    Some(match import {
        "context" => Import::GetGlobal(layout.context_global),
        "set_context" => Import::SetGlobal(layout.context_global),
        "load" => Import::Load,
        "hooks_nest" => Import::Constant(i32::from(nest)),
        "report_every_event" => Import::Constant(i32::from(report_every_event)),
        "report_context" => Import::Function(layout.stub),
        _ => {
            let name = import.strip_prefix("original_")?;
            let raw = (layout.raws..).zip(&allocator.entries);
            let (raw, (_, function)) = raw
                .into_iter()
                .find(|(_, (entry, _))| entry.name() == name)?;
            Import::Function(forwards_to(module, calls, *function).unwrap_or(raw))
        }
    })
}

/// The function that an entry point does nothing but call, with its own arguments: then the hook may
/// call that one as well.
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
    let body = range(module.bodies.get(defined)?.range());
    let before = module.bytes.get(calls.get(defined)?.code..site.start)?;
    let after = module.bytes.get(site.end..body.end)?;
    (before == expected && after == [END] && module.is_defined(callee)).then_some(callee)
}

const END: u8 = 0x0B;

fn tracking<'m>(
    module: &'m CoreModule<'m>,
    index: u32,
    allocator: &Allocator,
    calls: &[Calls],
    layout: &Layout,
    runtime: &Linked,
) -> Result<Tracking<'m>, Refusal> {
    let hooks: Vec<u32> = allocator
        .entries
        .iter()
        .map(|(_, function)| *function)
        .collect();
    let allocating = allocator.entries.iter().filter(|(entry, _)| !entry.frees());
    let seeds: Vec<u32> = allocating.map(|(_, function)| *function).collect();
    let reach = |diverging| Reach::compute(module, calls, &seeds, &hooks, true, diverging);
    let ignores_diverging = !module.has_exceptions;
    Ok(Tracking {
        module,
        reach: reach(if ignores_diverging {
            Diverging::Ignored
        } else {
            Diverging::Counts
        }),
        full_reach: reach(Diverging::Counts),
        ignores_diverging,
        imports: ReferencedImports::of(module, calls),
        context_global: layout.context_global,
        import_begins: runtime.export("import_begins")?,
        import_ends: runtime.export("import_ends")?,
        salt: mix(u64::from(index) + 1),
    })
}

/// Types of the appended functions.
pub(super) struct NewTypes(pub(super) Vec<u32>);

impl NewTypes {
    fn next_function(&self, layout: &Layout) -> u32 {
        layout.stub + self.0.len() as u32
    }
}

/// The code section in the making.
pub(super) struct Code {
    pub(super) bytes: Vec<u8>,
    /// Offsets counted from the first function's.
    pub(super) offsets: OffsetMap,
    pub(super) count: u32,
    pub(super) types: NewTypes,
    pub(super) runtime: Linked,
    /// Index of each hook's body among the runtime's.
    hooks: HashMap<u32, usize>,
    stub: Vec<u8>,
}

impl Code {
    fn new(
        module: &CoreModule<'_>,
        allocator: &Allocator,
        runtime: Linked,
        layout: &Layout,
    ) -> Result<Self, Refusal> {
        let mut hooks = HashMap::new();
        let mut types = vec![layout.stub_type];
        for (entry, function) in &allocator.entries {
            let hook = runtime.export(&format!("hook_{}", entry.name()))?;
            hooks.insert(*function, (hook - layout.runtime) as usize);
            types.extend(module.type_of(*function));
        }
        types.extend(&runtime.functions);
        let mut stub = vec![0];
        InstructionSink::new(&mut stub)
            .local_get(0)
            .local_get(1)
            .i32_const(0)
            .call_indirect(layout.table, layout.stub_type)
            .end();
        Ok(Self {
            bytes: Vec::new(),
            offsets: OffsetMap::default(),
            count: 0,
            types: NewTypes(types),
            runtime,
            hooks,
            stub,
        })
    }

    fn push(&mut self, body: &[u8], offsets: &OffsetMap) {
        (body.len() as u32).encode(&mut self.bytes);
        self.offsets.append(offsets, self.bytes.len(), 0);
        self.bytes.extend_from_slice(body);
        self.count += 1;
    }

    fn push_own(&mut self, body: &[u8]) {
        let mut offsets = OffsetMap::default();
        offsets.profiler(0);
        self.push(body, &offsets);
    }

    /// In the place of an allocator entry point: the runtime's hook.
    fn hook(&mut self, function: u32) -> Result<(), Refusal> {
        let at = self.hooks.get(&function).copied();
        let body = at.and_then(|at| self.runtime.bodies.get_mut(at));
        let body = body.ok_or_else(|| Refusal::internal("the runtime lacks a hook"))?;
        let body = std::mem::replace(body, trap());
        self.push_own(&body);
        Ok(())
    }

    /// The call of the host, the entry points' own bodies, the runtime.
    fn append_runtime(
        &mut self,
        module: &CoreModule<'_>,
        allocator: &Allocator,
    ) -> Result<(), Refusal> {
        let stub = std::mem::take(&mut self.stub);
        self.push_own(&stub);
        for (_, function) in &allocator.entries {
            let defined = function.saturating_sub(module.first_defined());
            let body = module.bodies.get(defined as usize);
            let body = range(
                body.ok_or_else(|| Refusal::internal("a hook without a body"))?
                    .range(),
            );
            let mut offsets = OffsetMap::default();
            offsets.copy(0, body.start);
            self.push(module.slice(body)?, &offsets);
        }
        for body in std::mem::take(&mut self.runtime.bodies) {
            self.push_own(&body);
        }
        Ok(())
    }
}

/// The body of a function that is never called.
fn trap() -> Vec<u8> {
    let mut body = vec![0];
    InstructionSink::new(&mut body).unreachable().end();
    body
}
