//! Rewrites one core module: its functions keep their indices, everything new is appended.

use std::collections::HashMap;

use wasm_encoder::{
    Encode, ExportKind, InstructionSink, RawSection, Section, SectionId, TableType,
};
use wasmparser::{BinaryReader, Parser, Payload};

use super::allocator::Allocator;
use super::calls::{Callee, Calls};
use super::component_tail::names;
use super::context::{Tracking, mix};
use super::error::Refusal;
use super::exports::{Roles, Specials, Wrapping};
use super::link_runtime::{Base, Import, Items, Linked, link_runtime};
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
struct Layout {
    stub_type: u32,
    table: u32,
    memory: u32,
    context_global: u32,
    stub: u32,
    /// The guest's own bodies of its allocator entry points, in their order.
    raws: u32,
    runtime: u32,
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
            let name = import.strip_prefix("raw_")?;
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
struct NewTypes(Vec<u32>);

impl NewTypes {
    fn next_function(&self, layout: &Layout) -> u32 {
        layout.stub + self.0.len() as u32
    }
}

/// The code section in the making.
struct Code {
    bytes: Vec<u8>,
    /// Offsets counted from the first function's.
    offsets: OffsetMap,
    count: u32,
    types: NewTypes,
    runtime: Linked,
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

/// Sections in the order in which they have to stand.
const ORDER: [SectionId; 13] = [
    SectionId::Type,
    SectionId::Import,
    SectionId::Function,
    SectionId::Table,
    SectionId::Memory,
    SectionId::Tag,
    SectionId::Global,
    SectionId::Export,
    SectionId::Start,
    SectionId::Element,
    SectionId::DataCount,
    SectionId::Code,
    SectionId::Data,
];

fn assemble(
    module: &CoreModule<'_>,
    code: Code,
    layout: &Layout,
    wrapped: &HashMap<&str, u32>,
    mut report: ModuleReport,
) -> Result<Rewritten, Refusal> {
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    let mut offsets = OffsetMap::default();
    let mut done = 0;
    let additions = additions(&code, layout);
    let mut emit = |id: u8, old: &[u8], out: &mut Vec<u8>| -> Result<(), Refusal> {
        let section = ORDER.into_iter().find(|section| *section as u8 == id);
        let new = match section {
            Some(SectionId::Export) => exports(module, old, layout, wrapped, &code.runtime)?,
            Some(SectionId::DataCount) => data_count(old, code.runtime.data.count)?,
            Some(SectionId::Code) => {
                let mut new = Vec::with_capacity(code.bytes.len() + 5);
                code.count.encode(&mut new);
                let header = new.len();
                new.extend_from_slice(&code.bytes);
                report.code_bytes_before = old.len();
                report.code_bytes_after = new.len();
                let start = out.len() + 1 + leb_length(new.len()) + header;
                offsets.append(&code.offsets, start, 0);
                new
            }
            Some(section) => match additions.iter().find(|(addition, _)| *addition == section) {
                Some((_, items)) => append(old, items)?,
                None => old.to_vec(),
            },
            None => old.to_vec(),
        };
        RawSection { id, data: &new }.append_to(out);
        Ok(())
    };
    for payload in Parser::new(0).parse_all(module.bytes) {
        let payload = payload?;
        let Some((id, place)) = payload.as_section() else {
            continue;
        };
        if let Payload::CustomSection(section) = &payload {
            if !is_dropped(section.name()) {
                emit(id, module.slice(range(place))?, &mut out)?;
            }
            continue;
        }
        let rank = ORDER.iter().position(|section| *section as u8 == id);
        let rank = rank.ok_or_else(|| Refusal::internal("an unknown section"))?;
        for missing in ORDER.get(done..rank).into_iter().flatten() {
            if additions.iter().any(|(section, _)| section == missing) {
                emit(*missing as u8, &[0], &mut out)?;
            }
        }
        done = rank + 1;
        emit(id, module.slice(range(place))?, &mut out)?;
    }
    for missing in ORDER.get(done..).into_iter().flatten() {
        if additions.iter().any(|(section, _)| section == missing) {
            emit(*missing as u8, &[0], &mut out)?;
        }
    }
    Ok(Rewritten {
        bytes: out,
        offsets,
        report,
    })
}

/// Line tables are read from the original; branch hints refer to offsets that have moved.
fn is_dropped(custom_section: &str) -> bool {
    custom_section.starts_with(".debug_") || custom_section.starts_with("metadata.code.")
}

fn additions(code: &Code, layout: &Layout) -> Vec<(SectionId, Items)> {
    let runtime = &code.runtime;
    let mut types = Items {
        count: 1 + runtime.types.count,
        // (i32, i32) → ()
        bytes: vec![0x60, 2, 0x7F, 0x7F, 0],
    };
    types.bytes.extend_from_slice(&runtime.types.bytes);
    let mut functions = Items {
        count: code.types.0.len() as u32,
        bytes: Vec::new(),
    };
    code.types
        .0
        .iter()
        .for_each(|ty| ty.encode(&mut functions.bytes));
    let mut table = Items {
        count: 1,
        bytes: Vec::new(),
    };
    host_table().encode(&mut table.bytes);
    let mut globals = Items {
        count: 1 + runtime.globals.count,
        // mut i64 = 0
        bytes: vec![0x7E, 1, 0x42, 0, 0x0B],
    };
    globals.bytes.extend_from_slice(&runtime.globals.bytes);
    debug_assert_eq!(
        layout.stub_type + 1 + runtime.types.count,
        layout.stub_type + types.count
    );
    vec![
        (SectionId::Type, types),
        (SectionId::Function, functions),
        (SectionId::Table, table),
        (SectionId::Memory, runtime.memory.clone()),
        (SectionId::Global, globals),
        (SectionId::Export, Items::default()),
        (SectionId::Data, runtime.data.clone()),
    ]
}

/// The table through which the host is called, which it enters when the module is instantiated.
pub(super) fn host_table() -> TableType {
    TableType {
        element_type: wasm_encoder::RefType::FUNCREF,
        table64: false,
        minimum: 1,
        maximum: Some(1),
        shared: false,
    }
}

/// The body of a section with more items.
fn append(old: &[u8], items: &Items) -> Result<Vec<u8>, Refusal> {
    let mut reader = BinaryReader::new(old, 0);
    let count = reader.read_var_u32()?;
    let mut new = Vec::with_capacity(old.len() + items.bytes.len() + 5);
    (count + items.count).encode(&mut new);
    new.extend_from_slice(reader.read_bytes(reader.bytes_remaining())?);
    new.extend_from_slice(&items.bytes);
    Ok(new)
}

fn data_count(old: &[u8], more: u32) -> Result<Vec<u8>, Refusal> {
    let mut new = Vec::new();
    (BinaryReader::new(old, 0).read_var_u32()? + more).encode(&mut new);
    Ok(new)
}

/// The exports with their wrappers, and those that the component's tail needs.
fn exports(
    module: &CoreModule<'_>,
    old: &[u8],
    layout: &Layout,
    wrapped: &HashMap<&str, u32>,
    runtime: &Linked,
) -> Result<Vec<u8>, Refusal> {
    let mut section = wasm_encoder::ExportSection::new();
    let reader = wasmparser::ExportSectionReader::new(BinaryReader::new(old, 0))?;
    for export in reader {
        let export = export?;
        let index = wrapped.get(export.name).copied().unwrap_or(export.index);
        section.export(export.name, export_kind(export.kind), index);
    }
    debug_assert!(section.len() as usize >= module.exports.len());
    section.export(names::TABLE, ExportKind::Table, layout.table);
    section.export(names::MEMORY, ExportKind::Memory, layout.memory);
    for (name, function) in names::FUNCTIONS {
        section.export(name, ExportKind::Func, runtime.export(function)?);
    }
    let mut encoded = Vec::new();
    section.encode(&mut encoded);
    let mut reader = BinaryReader::new(&encoded, 0);
    reader.read_var_u32()?;
    Ok(reader.read_bytes(reader.bytes_remaining())?.to_vec())
}

fn export_kind(kind: wasmparser::ExternalKind) -> ExportKind {
    match kind {
        wasmparser::ExternalKind::Func | wasmparser::ExternalKind::FuncExact => ExportKind::Func,
        wasmparser::ExternalKind::Table => ExportKind::Table,
        wasmparser::ExternalKind::Memory => ExportKind::Memory,
        wasmparser::ExternalKind::Global => ExportKind::Global,
        wasmparser::ExternalKind::Tag => ExportKind::Tag,
    }
}

fn leb_length(value: usize) -> usize {
    let mut bytes = Vec::new();
    (value as u32).encode(&mut bytes);
    bytes.len()
}
