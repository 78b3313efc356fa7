//! Reads the symbols of a component's core modules: function names, debug sections, and the offsets
//! of the code in the component.

use std::collections::HashMap;
use std::ops::Range;

use wasmparser::{ExternalKind, KnownCustom, Name, Parser, Payload, TypeRef};

use super::compressed_section::CompressedSection;
use super::entry_points;
use super::error::SymbolsError;

/// The debug sections that line lookups read. Other sections are not kept.
const LINE_SECTIONS: &[&str] = &[
    ".debug_abbrev",
    ".debug_addr",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
];

/// Exported functions that are looked up. More of them would name no other code.
const MAX_ENTRY_POINTS: usize = 256;

/// The symbols of a core module with code.
#[derive(Debug, Default)]
pub(super) struct ModuleSymbols {
    /// Offsets of the code section's contents in the component. DWARF addresses count from its
    /// start.
    pub(super) code: Range<u32>,
    /// In the order of their offsets.
    functions: Vec<FunctionSpan>,
    /// All function names, concatenated.
    names: Box<str>,
    /// Debug sections by name.
    pub(super) sections: HashMap<&'static str, CompressedSection>,
    /// Names of exported functions that are not the runtime's, sorted.
    exports: Box<[Box<str>]>,
    /// DWARF addresses of the functions that the outside world calls.
    pub(super) entry_points: Box<[u32]>,
}

/// The offsets of a function body in the component, and the position of its name.
#[derive(Debug, Clone, Copy)]
struct FunctionSpan {
    start: u32,
    end: u32,
    /// Byte range in `names`; empty if the function has no name.
    name_start: u32,
    name_end: u32,
}

impl ModuleSymbols {
    /// Whether the module has line tables.
    pub(super) fn has_lines(&self) -> bool {
        self.sections.contains_key(".debug_line") && self.sections.contains_key(".debug_info")
    }

    /// Whether any function has a name.
    pub(super) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// The name of the function at an offset of the component, as in the name section: it may be
    /// mangled.
    pub(super) fn function_name(&self, offset: u32) -> Option<&str> {
        let after = self
            .functions
            .partition_point(|function| function.start <= offset);
        let function = self.functions.get(after.checked_sub(1)?)?;
        let name = self
            .names
            .get(function.name_start as usize..function.name_end as usize)?;
        (offset < function.end && !name.is_empty()).then_some(name)
    }

    /// The bodies of the functions, as DWARF addresses.
    pub(super) fn bodies(&self) -> Vec<Range<u32>> {
        let address = |offset: u32| offset.saturating_sub(self.code.start);
        self.functions
            .iter()
            .map(|function| address(function.start)..address(function.end))
            .collect()
    }

    /// Whether a name is that of an exported function.
    pub(super) fn is_export(&self, name: &str) -> bool {
        self.exports
            .binary_search_by(|export| (**export).cmp(name))
            .is_ok()
    }

    /// Uncompressed bytes of all debug sections, and of those that lookups parse into tables.
    pub(super) fn section_bytes(&self) -> (usize, usize) {
        let parsed = [".debug_info", ".debug_line"];
        let of_name = |name: &str| self.sections.get(name).map_or(0, CompressedSection::len);
        (
            self.sections.values().map(CompressedSection::len).sum(),
            parsed.into_iter().map(of_name).sum(),
        )
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let sections: usize = self
            .sections
            .values()
            .map(CompressedSection::memory_bytes)
            .sum();
        sections + self.names.len() + self.functions.capacity() * size_of::<FunctionSpan>()
    }
}

/// The symbols of all core modules of a component.
#[derive(Debug, Default)]
pub(super) struct ComponentSymbols {
    /// The core modules with code, including those of nested components, in the order of their
    /// code.
    pub(super) modules: Vec<ModuleSymbols>,
    /// The names of the component's imports and exports, such as `wasi:cli/run@0.2.0`.
    pub(super) interfaces: Vec<String>,
}

/// Reads a component or a single core module.
pub(super) fn read_component(component: &[u8]) -> Result<ComponentSymbols, SymbolsError> {
    let mut found = ComponentSymbols::default();
    // The enclosing components (`None`) and the module that is being read.
    let mut open: Vec<Option<ModuleBuilder<'_>>> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        match &payload {
            Payload::Version { encoding, .. } => {
                open.push((*encoding == wasmparser::Encoding::Module).then(ModuleBuilder::default));
            }
            Payload::End(_) => found
                .modules
                .extend(open.pop().flatten().and_then(ModuleBuilder::finish)),
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    found.interfaces.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    found.interfaces.push(export?.name.name.to_owned());
                }
            }
            payload => {
                if let Some(Some(module)) = open.last_mut() {
                    module.add(payload)?;
                }
            }
        }
    }
    found.modules.sort_by_key(|module| module.code.start);
    Ok(found)
}

/// Collects the sections of a module. The name section may come after the code section.
#[derive(Default)]
struct ModuleBuilder<'a> {
    code: Range<u32>,
    imported: u32,
    bodies: Vec<Range<u32>>,
    names: HashMap<u32, &'a str>,
    /// Exported functions that are not the runtime's.
    exported: Vec<(u32, &'a str)>,
    sections: HashMap<&'static str, CompressedSection>,
}

impl<'a> ModuleBuilder<'a> {
    fn add(&mut self, payload: &Payload<'a>) -> Result<(), SymbolsError> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    if matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                        self.imported += 1;
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    if export.kind == ExternalKind::Func
                        && entry_points::is_own_export(export.name)
                        && self.exported.len() < MAX_ENTRY_POINTS
                    {
                        self.exported.push((export.index, export.name));
                    }
                }
            }
            Payload::CodeSectionStart {
                unchecked_range, ..
            } => self.code = offsets(unchecked_range)?,
            Payload::CodeSectionEntry(body) => self.bodies.push(offsets(&body.range())?),
            Payload::CustomSection(section) => {
                if let Some(name) = LINE_SECTIONS.iter().find(|name| **name == section.name()) {
                    self.sections
                        .insert(name, CompressedSection::compress(section.data()));
                } else if let KnownCustom::Name(subsections) = section.as_known() {
                    self.add_names(subsections);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads names up to the first damaged one: by the specification, the name section is optional.
    fn add_names(&mut self, subsections: wasmparser::NameSectionReader<'a>) {
        for subsection in subsections.into_iter().map_while(Result::ok) {
            if let Name::Function(names) = subsection {
                self.names.extend(
                    names
                        .into_iter()
                        .map_while(Result::ok)
                        .map(|naming| (naming.index, naming.name)),
                );
            }
        }
    }

    fn finish(self) -> Option<ModuleSymbols> {
        if self.bodies.is_empty() {
            return None;
        }
        let entry_points = self.entry_points();
        let mut exports: Vec<Box<str>> = self
            .exported
            .iter()
            .map(|(_, name)| Box::from(*name))
            .collect();
        exports.sort_unstable();
        let exports = exports.into_boxed_slice();
        let mut names = String::with_capacity(self.names.values().map(|name| name.len()).sum());
        let mut functions = Vec::with_capacity(self.bodies.len());
        for (index, body) in (self.imported..).zip(&self.bodies) {
            let name_start = names.len() as u32;
            names.push_str(self.names.get(&index).copied().unwrap_or_default());
            functions.push(FunctionSpan {
                start: body.start,
                end: body.end,
                name_start,
                name_end: names.len() as u32,
            });
        }
        Some(ModuleSymbols {
            code: self.code,
            functions,
            names: names.into_boxed_str(),
            sections: self.sections,
            exports,
            entry_points,
        })
    }

    /// The last byte of each entry point, counted from the start of the code. DWARF has no function
    /// that begins with the size of a body, but each one ends with the body.
    fn entry_points(&self) -> Box<[u32]> {
        let named = self
            .names
            .iter()
            .filter(|(_, name)| entry_points::is_main(name));
        let mut functions: Vec<u32> = named.map(|(index, _)| *index).collect();
        functions.truncate(MAX_ENTRY_POINTS);
        functions.extend(self.exported.iter().map(|(index, _)| *index));
        functions.sort_unstable();
        functions.dedup();
        let address = |index: u32| {
            let body = self
                .bodies
                .get(index.checked_sub(self.imported)? as usize)?;
            body.end.checked_sub(1)?.checked_sub(self.code.start)
        };
        functions.into_iter().filter_map(address).collect()
    }
}

fn offsets(range: &Range<u64>) -> Result<Range<u32>, SymbolsError> {
    let offset = |at: u64| u32::try_from(at).map_err(|_| SymbolsError::TooLarge);
    Ok(offset(range.start)?..offset(range.end)?)
}

/// The bytes of the core modules in a component.
pub(super) fn core_modules(component: &[u8]) -> Vec<&[u8]> {
    let payloads = Parser::new(0).parse_all(component).map_while(Result::ok);
    let modules = payloads.filter_map(|payload| match payload {
        Payload::ModuleSection {
            unchecked_range, ..
        } => component.get(unchecked_range.start as usize..unchecked_range.end as usize),
        _ => None,
    });
    modules.collect()
}
