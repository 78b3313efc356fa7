//! Writes an instrumented core module: the original sections with the new items appended.

use std::collections::HashMap;

use wasm_encoder::{Encode, EntityType, ExportKind, RawSection, Section, SectionId};
use wasmparser::{BinaryReader, Parser, Payload};

use super::attribution::Gaps;
use super::code_section::{AppendedIndices, CodeSectionBuilder, Tables};
use super::error::Refusal;
use super::interface;
use super::link_runtime::LinkedRuntime;
use super::offset_map::OffsetMap;
use super::report::ModuleReport;
use super::scan::{CoreModule, usize_range};
use super::section_items::SectionItems;

/// The sections in the order that the specification requires.
const SECTION_ORDER: [SectionId; 13] = [
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

/// An instrumented module. Offsets count from its start and from the start of the original module.
pub(super) struct RewrittenModule {
    pub(super) bytes: Vec<u8>,
    pub(super) offsets: OffsetMap,
    pub(super) report: ModuleReport,
    /// Why the heap is attributed only partially, as clauses whose subject is the module.
    pub(super) gaps: Gaps,
    /// Offsets in the original module of the calls that leave the calling context as it is.
    pub(super) pass_through: Vec<u32>,
}

/// Writes the module with a new code section. `wrapped` maps the names of wrapped exports to the
/// function indices of their wrappers.
pub(super) fn assemble(
    module: &CoreModule<'_>,
    code: CodeSectionBuilder,
    indices: &AppendedIndices,
    wrapped: &HashMap<&str, u32>,
    mut report: ModuleReport,
) -> Result<RewrittenModule, Refusal> {
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    let mut offsets = OffsetMap::default();
    let mut done = 0;
    let additions = additions(&code, indices);
    let mut emit = |id: u8, old: &[u8], out: &mut Vec<u8>| -> Result<(), Refusal> {
        let section = SECTION_ORDER
            .into_iter()
            .find(|section| *section as u8 == id);
        let new = match section {
            Some(SectionId::Export) => exports(module, old, indices, wrapped, &code.runtime)?,
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
        let Some((id, range)) = payload.as_section() else {
            continue;
        };
        if let Payload::CustomSection(section) = &payload {
            if !is_dropped(section.name()) {
                emit(id, module.slice(usize_range(range))?, &mut out)?;
            }
            continue;
        }
        let rank = SECTION_ORDER
            .iter()
            .position(|section| *section as u8 == id);
        let rank = rank.ok_or_else(|| Refusal::internal("an unknown section"))?;
        for missing in SECTION_ORDER.get(done..rank).into_iter().flatten() {
            if additions.iter().any(|(section, _)| section == missing) {
                emit(*missing as u8, &[0], &mut out)?;
            }
        }
        done = rank + 1;
        emit(id, module.slice(usize_range(range))?, &mut out)?;
    }
    for missing in SECTION_ORDER.get(done..).into_iter().flatten() {
        if additions.iter().any(|(section, _)| section == missing) {
            emit(*missing as u8, &[0], &mut out)?;
        }
    }
    Ok(RewrittenModule {
        bytes: out,
        offsets,
        report,
        gaps: Gaps::default(),
        pass_through: Vec::new(),
    })
}

/// Whether the instrumented module omits a custom section. Symbols come from the original's line
/// tables, and branch hints refer to offsets that have changed.
fn is_dropped(custom_section: &str) -> bool {
    custom_section.starts_with(".debug_") || custom_section.starts_with("metadata.code.")
}

/// The items to append to each section.
fn additions(
    code: &CodeSectionBuilder,
    indices: &AppendedIndices,
) -> Vec<(SectionId, SectionItems)> {
    let runtime = &code.runtime;
    let mut types = SectionItems {
        count: 1 + runtime.types.count,
        bytes: vec![0x60],
    };
    let parameters = interface::stub_parameters(indices.interprets);
    parameters.encode(&mut types.bytes);
    [interface::stub_result(indices.interprets)].encode(&mut types.bytes);
    types.bytes.extend_from_slice(&runtime.types.bytes);
    let mut functions = SectionItems {
        count: code.appended_types.len() as u32,
        bytes: Vec::new(),
    };
    code.appended_types
        .iter()
        .for_each(|ty| ty.encode(&mut functions.bytes));
    let mut table = SectionItems {
        count: 1,
        bytes: Vec::new(),
    };
    interface::host_table().encode(&mut table.bytes);
    let mut globals = SectionItems::default();
    if indices.tables == Tables::Own {
        globals.count = 1;
        // mut i64 = 1, until the host has registered the instance
        globals.bytes.extend([0x7E, 1, 0x42, 1, 0x0B]);
    }
    globals.count += runtime.globals.count;
    globals.bytes.extend_from_slice(&runtime.globals.bytes);
    let mut imports = SectionItems::default();
    if let (Tables::Imported(_), Some(memory)) = (indices.tables, runtime.memory_type) {
        imports.count = 1;
        interface::SHARED.encode(&mut imports.bytes);
        interface::MEMORY.encode(&mut imports.bytes);
        EntityType::Memory(memory).encode(&mut imports.bytes);
    }
    debug_assert_eq!(
        indices.stub_type + 1 + runtime.types.count,
        indices.stub_type + types.count
    );
    let mut additions = vec![
        (SectionId::Type, types),
        (SectionId::Import, imports),
        (SectionId::Function, functions),
        (SectionId::Table, table),
        (SectionId::Memory, runtime.memory.clone()),
        (SectionId::Global, globals),
        (SectionId::Export, SectionItems::default()),
        (SectionId::Data, runtime.data.clone()),
    ];
    // A module may have no such section.
    additions.retain(|(section, items)| *section == SectionId::Export || items.count > 0);
    additions
}

/// The body of a section with the items appended.
fn append(old: &[u8], items: &SectionItems) -> Result<Vec<u8>, Refusal> {
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

/// The export section: the original exports, which lead to their wrappers, and the exports for the
/// connector.
fn exports(
    module: &CoreModule<'_>,
    old: &[u8],
    indices: &AppendedIndices,
    wrapped: &HashMap<&str, u32>,
    runtime: &LinkedRuntime,
) -> Result<Vec<u8>, Refusal> {
    let mut section = wasm_encoder::ExportSection::new();
    let reader = wasmparser::ExportSectionReader::new(BinaryReader::new(old, 0))?;
    for export in reader {
        let export = export?;
        let index = wrapped.get(export.name).copied().unwrap_or(export.index);
        section.export(export.name, export_kind(export.kind), index);
    }
    debug_assert!(section.len() as usize >= module.exports.len());
    section.export(interface::TABLE, ExportKind::Table, indices.table);
    if !matches!(indices.tables, Tables::Imported(_)) {
        section.export(interface::MEMORY, ExportKind::Memory, indices.memory);
    }
    if indices.interprets {
        section.export(interface::GUEST_MEMORY, ExportKind::Memory, 0);
    }
    if !matches!(indices.tables, Tables::Imported(_)) {
        for (name, function) in interface::FUNCTIONS {
            section.export(name, ExportKind::Func, runtime.export(function)?);
        }
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
