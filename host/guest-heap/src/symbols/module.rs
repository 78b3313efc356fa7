//! What is kept of one core module: its function names, its line tables, and where its code lies in the component.

use std::collections::HashMap;
use std::ops::Range;

use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

use super::SymbolsError;
use super::packed::Packed;

/// The sections that line lookups read; everything else of the debug information stays behind.
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

/// One core module that has code.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Where the code lies in the component; DWARF addresses count from its start.
    pub(super) code: Range<u32>,
    functions: Vec<Function>,
    /// The texts of the function names, one after the other.
    names: Box<str>,
    /// The debug sections by name, at rest.
    pub(super) sections: HashMap<&'static str, Packed>,
}

#[derive(Debug, Clone, Copy)]
struct Function {
    start: u32,
    end: u32,
    /// Where its name lies in `names`; empty when it has none.
    name_start: u32,
    name_end: u32,
}

impl Module {
    /// Whether there is anything from which to tell lines.
    pub(super) fn has_lines(&self) -> bool {
        self.sections.contains_key(".debug_line") && self.sections.contains_key(".debug_info")
    }

    /// Whether any function is named.
    pub(super) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// The name of the function that holds this offset of the component, as the binary spells it.
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

    /// Bytes of all sections as lookups read them, and of those among them that a lookup turns into tables.
    pub(super) fn section_bytes(&self) -> (usize, usize) {
        let parsed = [".debug_info", ".debug_line"];
        let of_name = |name: &str| self.sections.get(name).map_or(0, Packed::len);
        (
            self.sections.values().map(Packed::len).sum(),
            parsed.into_iter().map(of_name).sum(),
        )
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let sections: usize = self.sections.values().map(Packed::memory_bytes).sum();
        sections + self.names.len() + self.functions.capacity() * size_of::<Function>()
    }
}

/// What a component tells about its code.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Every core module with code, however deeply components nest, in the order of their code.
    pub(super) modules: Vec<Module>,
    /// The names that the component imports and exports, such as `wasi:cli/run@0.2.0`.
    pub(super) interfaces: Vec<String>,
}

/// Reads through a component, or through a core module alone.
pub(super) fn scan(component: &[u8]) -> Result<Scan, SymbolsError> {
    let mut found = Scan::default();
    let mut open: Vec<Option<Draft<'_>>> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        match &payload {
            Payload::Version { encoding, .. } => {
                open.push((*encoding == wasmparser::Encoding::Module).then(Draft::default));
            }
            Payload::End(_) => found
                .modules
                .extend(open.pop().flatten().and_then(Draft::finish)),
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
                if let Some(Some(draft)) = open.last_mut() {
                    draft.take(payload)?;
                }
            }
        }
    }
    found.modules.sort_by_key(|module| module.code.start);
    Ok(found)
}

/// A module while its sections pass by; the name section may come after the code.
#[derive(Default)]
struct Draft<'a> {
    code: Range<u32>,
    imported: u32,
    bodies: Vec<Range<u32>>,
    names: HashMap<u32, &'a str>,
    sections: HashMap<&'static str, Packed>,
}

impl<'a> Draft<'a> {
    fn take(&mut self, payload: &Payload<'a>) -> Result<(), SymbolsError> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    if matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                        self.imported += 1;
                    }
                }
            }
            Payload::CodeSectionStart {
                unchecked_range, ..
            } => self.code = offsets(unchecked_range)?,
            Payload::CodeSectionEntry(body) => self.bodies.push(offsets(&body.range())?),
            Payload::CustomSection(section) => {
                if let Some(name) = LINE_SECTIONS.iter().find(|name| **name == section.name()) {
                    self.sections.insert(name, Packed::new(section.data()));
                } else if let KnownCustom::Name(subsections) = section.as_known() {
                    self.take_names(subsections);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A name section is optional by the specification, so a broken one only ends the reading of names.
    fn take_names(&mut self, subsections: wasmparser::NameSectionReader<'a>) {
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

    fn finish(self) -> Option<Module> {
        if self.bodies.is_empty() {
            return None;
        }
        let mut names = String::with_capacity(self.names.values().map(|name| name.len()).sum());
        let mut functions = Vec::with_capacity(self.bodies.len());
        for (index, body) in (self.imported..).zip(&self.bodies) {
            let name_start = names.len() as u32;
            names.push_str(self.names.get(&index).copied().unwrap_or_default());
            functions.push(Function {
                start: body.start,
                end: body.end,
                name_start,
                name_end: names.len() as u32,
            });
        }
        Some(Module {
            code: self.code,
            functions,
            names: names.into_boxed_str(),
            sections: self.sections,
        })
    }
}

fn offsets(range: &Range<u64>) -> Result<Range<u32>, SymbolsError> {
    let offset = |at: u64| u32::try_from(at).map_err(|_| SymbolsError::TooLarge);
    Ok(offset(range.start)?..offset(range.end)?)
}
