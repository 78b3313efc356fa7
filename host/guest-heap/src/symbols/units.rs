//! The compilation units of a core module: what each run of a compiler has compiled, and where.

use std::collections::HashSet;

use gimli::{EndianArcSlice, LittleEndian, Reader as _};

use super::dwarf_limits;

/// Bytes of a unit's folder and file name. Longer ones are ignored; systems allow 4,096.
const MAX_UNIT_PATH_BYTES: usize = 4096;
/// Bytes of the paths of all units. Units can refer to the same text again and again, so a small
/// section can stand for very many bytes.
const MAX_PATHS_BYTES: usize = 16 << 20;

/// A compilation unit: a crate, a part of a crate, or a source file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CompilationUnit {
    /// The working directory of the compiler. It is relative if a prefix map has made it so.
    pub(super) folder: String,
    /// The source file of the unit, below `folder` if it is relative.
    pub(super) file: String,
    /// Whether the compiler was given the whole path of the file.
    pub(super) has_full_path: bool,
    /// The crate, for a unit in Rust.
    pub(super) crate_name: Option<String>,
    /// Whether it defines a function that the outside world calls.
    pub(super) is_entry: bool,
}

impl CompilationUnit {
    /// Takes apart the name of a unit, which is a file, or `FILE/@/CRATE.HASH-cgu.N` for rustc.
    pub(super) fn new(folder: &str, name: &str) -> Self {
        let (file, part) = name.split_once("/@/").unwrap_or((name, ""));
        let crate_name = part
            .contains("-cgu.")
            .then(|| part.split('.').next().unwrap_or_default().to_owned());
        let folder = normalise(folder);
        let file = normalise(file);
        let has_full_path = is_absolute(&file);
        let file = if has_full_path || folder.is_empty() {
            file
        } else {
            format!("{folder}/{file}")
        };
        Self {
            folder,
            file,
            has_full_path,
            crate_name,
            is_entry: false,
        }
    }

    /// Whether it is written in Rust.
    pub(super) fn is_rust(&self) -> bool {
        self.file.ends_with(".rs")
    }
}

/// The units of a module without those that only have types. `entries` has the positions in
/// `.debug_info` of the units with entry points.
pub(super) fn read(
    dwarf: &gimli::Dwarf<EndianArcSlice<LittleEndian>>,
    entries: &HashSet<usize>,
) -> Result<Vec<CompilationUnit>, gimli::Error> {
    let mut room = MAX_PATHS_BYTES;
    let mut text = |text: Option<EndianArcSlice<LittleEndian>>| match text {
        Some(text) if text.len() <= MAX_UNIT_PATH_BYTES.min(room) => {
            room -= text.len();
            text.to_string_lossy().map(|text| text.into_owned())
        }
        _ => Ok(String::new()),
    };
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        if dwarf_limits::is_type_unit(&header) {
            continue;
        }
        let is_entry = header
            .debug_info_offset()
            .is_some_and(|offset| entries.contains(&offset.0));
        let unit = dwarf.unit(header)?;
        let (folder, name) = (text(unit.comp_dir)?, text(unit.name)?);
        // The parts of a crate differ only in their number.
        let crate_part = name.split("-cgu.").next().unwrap_or_default();
        if seen.insert((folder.clone(), crate_part.to_owned(), is_entry)) {
            let unit = CompilationUnit::new(&folder, &name);
            found.push(CompilationUnit { is_entry, ..unit });
        }
    }
    Ok(found)
}

/// Whether a path with slashes begins at the root of a file system.
pub(super) fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || path.get(1..3) == Some(":/")
}

/// Converts backslashes to slashes and resolves `.` and `..` where possible.
pub(super) fn normalise(path: &str) -> String {
    let path = path.replace('\\', "/");
    let mut parts: Vec<&str> = Vec::new();
    for (position, part) in path.split('/').enumerate() {
        match part {
            "" if position > 0 => {}
            "." => {}
            ".." if parts.last().is_some_and(|last| !matches!(*last, "" | "..")) => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
