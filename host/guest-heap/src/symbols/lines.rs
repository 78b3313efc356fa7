//! Line lookups in the DWARF of one module.

use std::sync::Arc;

use addr2line::Context;
use gimli::{EndianArcSlice, LittleEndian, Reader as _};

use super::module::Module;
use super::source_path::Roots;

type Reader = EndianArcSlice<LittleEndian>;

/// The parsed DWARF of one module. Units are parsed on their first lookup, so it grows with use.
pub(super) struct Lines {
    context: Context<Reader>,
    pub(super) roots: Roots,
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
    pub(super) fn open(module: &Module) -> Result<Self, gimli::Error> {
        let empty: Arc<[u8]> = Arc::from([]);
        let dwarf = gimli::Dwarf::load(|id| {
            let section = module.sections.get(id.name()).unwrap_or(&empty);
            Ok::<_, gimli::Error>(Reader::new(Arc::clone(section), LittleEndian))
        })?;
        let roots = Roots::new(compilation_folders(&dwarf)?);
        Ok(Self { context: Context::from_dwarf(dwarf)?, roots })
    }

    /// The inline chain at an address, innermost first; empty when no unit covers it or its entry is broken.
    pub(super) fn frames(&self, address: u64) -> Vec<RawFrame> {
        let mut frames = Vec::new();
        // Split DWARF, the only thing that could be loaded here, does not exist for wasm.
        let Ok(mut chain) = self.context.find_frames(address).skip_all_loads() else {
            return frames;
        };
        while let Ok(Some(frame)) = chain.next() {
            let function = frame.function.and_then(|name| name.raw_name().map(|name| name.into_owned()).ok());
            let location = frame.location;
            frames.push(RawFrame {
                function,
                file: location.as_ref().and_then(|at| at.file).map(str::to_owned),
                line: location.as_ref().and_then(|at| at.line).filter(|line| *line > 0),
                column: location.as_ref().and_then(|at| at.column).filter(|column| *column > 0),
            });
        }
        frames
    }
}

fn compilation_folders(dwarf: &gimli::Dwarf<Reader>) -> Result<Vec<String>, gimli::Error> {
    let mut folders = Vec::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        if let Some(folder) = unit.comp_dir {
            folders.push(folder.to_string_lossy()?.into_owned());
        }
    }
    folders.sort_unstable();
    folders.dedup();
    Ok(folders)
}
