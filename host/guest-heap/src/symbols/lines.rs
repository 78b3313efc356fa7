//! Line lookups in the DWARF of one module.

use std::collections::HashMap;

use addr2line::Context;
use gimli::{EndianArcSlice, LittleEndian, Reader as _};

use super::SymbolOptions;
use super::dwarf_limits::{self, TEXT_MAX};
use super::module::Module;
use super::packed::Packed;
use super::source_path::{self, Roots, SourcePath};

type Reader = EndianArcSlice<LittleEndian>;

/// The parsed DWARF of one module. Units are parsed on their first lookup, so it grows with use.
pub(super) struct Lines {
    context: Context<Reader>,
    pub(super) roots: Roots,
    /// The shortened form of every path met.
    paths: HashMap<String, SourcePath>,
}

/// A frame as DWARF has it: names mangled, paths the compiling machine's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RawFrame {
    pub(super) function: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) column: Option<u32>,
}

impl Lines {
    /// Reads the list of compilation units; the costly part of a first lookup.
    ///
    /// None when it is damaged, or when reading it would take too much.
    pub(super) fn open(module: &Module) -> Option<Self> {
        let mut dwarf = gimli::Dwarf::load(|id| {
            let section = module
                .sections
                .get(id.name())
                .map(Packed::unpack)
                .unwrap_or_default();
            Ok::<_, gimli::Error>(Reader::new(section, LittleEndian))
        })
        .ok()?;
        dwarf_limits::check_tables(&dwarf).ok()?;
        // Units of one table share it.
        dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
        dwarf_limits::check_units(&dwarf).ok()?;
        let roots = Roots::new(compilation_units(&dwarf).ok()?);
        Some(Self {
            context: Context::from_dwarf(dwarf).ok()?,
            roots,
            paths: HashMap::new(),
        })
    }

    /// A path as it is shown. The same few paths come again in every chain.
    pub(super) fn source(&mut self, path: &str, options: &SymbolOptions) -> SourcePath {
        if let Some(known) = self.paths.get(path) {
            return known.clone();
        }
        let source = source_path::shorten(path, &self.roots, options);
        self.paths.insert(path.to_owned(), source.clone());
        source
    }

    /// Bytes held beside the parsed DWARF.
    pub(super) fn memory_bytes(&self) -> usize {
        let of_path = |(path, source): (&String, &SourcePath)| {
            size_of::<(String, SourcePath)>() + path.len() + source.shown.len()
        };
        self.roots.memory_bytes() + self.paths.iter().map(of_path).sum::<usize>()
    }

    /// The inline chain at an address, innermost first; empty when no unit covers it or its entry is broken.
    pub(super) fn frames(&self, address: u64) -> Vec<RawFrame> {
        let mut frames = Vec::new();
        // Split DWARF, the only thing that could be loaded here, does not exist for wasm.
        let Ok(mut chain) = self.context.find_frames(address).skip_all_loads() else {
            return frames;
        };
        while let Ok(Some(frame)) = chain.next() {
            let function = frame.function.and_then(|name| {
                let name = name.raw_name().ok()?;
                (name.len() <= TEXT_MAX).then(|| name.into_owned())
            });
            let location = frame.location;
            frames.push(RawFrame {
                function,
                file: location
                    .as_ref()
                    .and_then(|at| at.file)
                    .filter(|file| file.len() <= TEXT_MAX)
                    .map(str::to_owned),
                line: location
                    .as_ref()
                    .and_then(|at| at.line)
                    .filter(|line| *line > 0),
                column: location
                    .as_ref()
                    .and_then(|at| at.column)
                    .filter(|column| *column > 0),
            });
        }
        frames
    }
}

/// The folder that the compiler ran in and the file that it was given, of every unit.
fn compilation_units(dwarf: &gimli::Dwarf<Reader>) -> Result<Vec<(String, String)>, gimli::Error> {
    let text = |text: Option<Reader>| match text {
        Some(text) if text.len() <= TEXT_MAX => {
            text.to_string_lossy().map(|text| text.into_owned())
        }
        _ => Ok(String::new()),
    };
    let mut found = Vec::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        if dwarf_limits::is_of_types(&header) {
            continue;
        }
        let unit = dwarf.unit(header)?;
        found.push((text(unit.comp_dir)?, text(unit.name)?));
    }
    Ok(found)
}
