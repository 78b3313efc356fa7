//! Line lookups in the DWARF of one core module.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use addr2line::Context;
use gimli::{EndianArcSlice, LittleEndian};

use super::compressed_section::CompressedSection;
use super::dwarf_limits::{self, MAX_DWARF_TEXT_BYTES};
use super::function_ranges;
use super::module::ModuleSymbols;
use super::options::SymbolOptions;
use super::packages::Packages;
use super::source_path::{self, SourcePath};
use super::units;

type Reader = EndianArcSlice<LittleEndian>;

/// The parsed DWARF of one core module. It parses a unit on the first lookup there, so it grows
/// with use.
pub(super) struct ParsedDwarf {
    context: Context<Reader>,
    /// Whether the line tables belong to the code.
    pub(super) fits: bool,
    pub(super) packages: Packages,
    /// Files and lines of generated bindings, once they are known. Without a line it is the whole
    /// file.
    pub(super) generated: Option<HashSet<(String, Option<u32>)>>,
    /// The shortened form of every path that a lookup has returned.
    paths: HashMap<String, SourcePath>,
}

/// A frame as in DWARF: its name may be mangled, and its path is that of the machine that compiled
/// it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DwarfFrame {
    pub(super) function: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) column: Option<u32>,
}

impl ParsedDwarf {
    /// Reads the list of compilation units, which is the expensive part of a first lookup.
    ///
    /// `None` when the DWARF is damaged or exceeds the limits of [`dwarf_limits`].
    pub(super) fn open(module: &ModuleSymbols) -> Option<Self> {
        let mut dwarf = gimli::Dwarf::load(|id| {
            let section = module
                .sections
                .get(id.name())
                .map(CompressedSection::decompress)
                .unwrap_or_default();
            Ok::<_, gimli::Error>(Reader::new(section, LittleEndian))
        })
        .ok()?;
        dwarf_limits::check_tables(&dwarf).ok()?;
        // Units with the same abbreviation table share its parsed form.
        dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
        dwarf_limits::check_units(&dwarf).ok()?;
        let fits = function_ranges::fit(&dwarf, &module.bodies());
        let dwarf = Arc::new(dwarf);
        let context = Context::from_arc_dwarf(Arc::clone(&dwarf)).ok()?;
        let entries: HashSet<usize> = module
            .entry_points
            .iter()
            .filter_map(|address| unit_at(&context, u64::from(*address)))
            .collect();
        let units = units::read(&dwarf, &entries).ok()?;
        let packages = Packages::new(&units);
        Some(Self {
            context,
            fits,
            packages,
            generated: None,
            paths: HashMap::new(),
        })
    }

    /// The shortened form of a path. It is cached, because nearly all frames have one of a few
    /// paths.
    pub(super) fn source(&mut self, path: &str, options: &SymbolOptions) -> SourcePath {
        if let Some(source) = self.paths.get(path) {
            return source.clone();
        }
        let source = source_path::shorten(path, &self.packages, &options.kept_folders);
        self.paths.insert(path.to_owned(), source.clone());
        source
    }

    /// Whether a frame is in a known place of generated bindings.
    pub(super) fn is_generated(&self, frame: &DwarfFrame) -> bool {
        let places = self.generated.iter().filter(|places| !places.is_empty());
        places.zip(&frame.file).any(|(places, file)| {
            places.contains(&(file.clone(), frame.line)) || places.contains(&(file.clone(), None))
        })
    }

    /// Bytes of memory that the packages and the paths take, without the parsed DWARF.
    pub(super) fn memory_bytes(&self) -> usize {
        let of_path = |(path, source): (&String, &SourcePath)| {
            size_of::<(String, SourcePath)>() + path.len() + source.shown.len()
        };
        self.packages.memory_bytes() + self.paths.iter().map(of_path).sum::<usize>()
    }

    /// The frames at an address, innermost first. Empty when no unit covers the address, or when
    /// its entry is damaged.
    pub(super) fn frames(&self, address: u64) -> Vec<DwarfFrame> {
        let mut frames = Vec::new();
        // There is nothing to load: only split DWARF needs loads, and wasm has no split DWARF.
        let Ok(mut chain) = self.context.find_frames(address).skip_all_loads() else {
            return frames;
        };
        while let Ok(Some(frame)) = chain.next() {
            let function = frame.function.and_then(|name| {
                let name = name.raw_name().ok()?;
                (name.len() <= MAX_DWARF_TEXT_BYTES).then(|| name.into_owned())
            });
            let location = frame.location;
            frames.push(DwarfFrame {
                function,
                file: location
                    .as_ref()
                    .and_then(|at| at.file)
                    .filter(|file| file.len() <= MAX_DWARF_TEXT_BYTES)
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

/// The position in `.debug_info` of the unit with the code at an address.
fn unit_at(context: &Context<Reader>, address: u64) -> Option<usize> {
    let unit = context.find_dwarf_and_unit(address).skip_all_loads()?;
    Some(unit.header.debug_info_offset()?.0)
}
