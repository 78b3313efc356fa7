//! Whose code a source file is, by what the component's compilation units say.
//!
//! The code that defines the component's exports is the user's own. Cargo compiles all path
//! packages of a workspace in the workspace's folder, and every other package in its own folder. So
//! a unit in Rust with the working directory of the entry unit is own code, and a unit from
//! elsewhere below that directory is a library that was copied there.
//!
//! For all other files their folders decide (see [`layout`](super::layout)), but only the folders
//! that they do not share with own code. So the name of the folder in which a workspace lies means
//! nothing.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::layout::{self, Origin};
use super::units::{CompilationUnit, is_absolute};

/// Folders between a path and its package that are looked up.
const MAX_DEPTH: usize = 64;

/// Crates of Rust's standard library. Their units say where its sources are.
const STANDARD_CRATES: &[&str] = &["alloc", "core", "std"];

/// A folder with sources that belong together: a crate's, or that of a file in another language.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Package {
    origin: Origin,
    crate_name: Option<String>,
    /// Whether it has the layout of a Cargo package, with its sources in `src/`.
    has_sources: bool,
}

/// The packages of a module.
#[derive(Debug, Default)]
pub(super) struct Packages {
    by_folder: HashMap<String, Package>,
    /// Folders of libraries that were copied into a workspace.
    copies: HashSet<String>,
    /// Folders of own code, sorted, to compare paths with.
    own_folders: Vec<String>,
    /// Working directories of the compiler for own code that are not inside another one.
    roots: Vec<String>,
    has_own: bool,
}

/// Where a file belongs.
pub(super) struct Found<'a> {
    pub(super) origin: Origin,
    /// The part of the path to show. `None` for own code.
    pub(super) shown: Option<Cow<'a, str>>,
    pub(super) crate_name: Option<String>,
}

impl Packages {
    pub(super) fn new(units: &[CompilationUnit]) -> Self {
        let mut packages = Self::default();
        let entries = entry_units(units);
        // The folders of Cargo workspaces. An empty name is a folder that a prefix map removed.
        let mut workspaces = HashSet::new();
        for unit in &entries {
            packages.own_folders.push(package_folder(&unit.file).0);
            packages.own_folders.push(unit.folder.clone());
            if unit.is_rust() {
                workspaces.insert(unit.folder.as_str());
            }
        }
        packages.sort_own_folders();
        // Own units first: other files are compared with their folders.
        let (own, others): (Vec<&CompilationUnit>, Vec<&CompilationUnit>) =
            units.iter().partition(|unit| {
                entries.contains(unit)
                    || (unit.is_rust()
                        && workspaces.contains(unit.folder.as_str())
                        && !is_fetched(unit))
            });
        for unit in own {
            packages.add(unit, Origin::Own);
        }
        packages.sort_own_folders();
        for unit in others {
            let origin = packages.origin_of(unit, &workspaces);
            if is_copied(unit, &workspaces) {
                packages.add_copies(unit, &workspaces);
            }
            packages.add(unit, origin);
        }
        packages.sort_own_folders();
        packages.roots = outermost(std::mem::take(&mut packages.roots));
        packages
    }

    /// Whether any unit is the user's own code. Standard libraries have line tables, too.
    pub(super) fn has_own(&self) -> bool {
        self.has_own
    }

    /// The outermost folder of own code that contains the path, and the path below it.
    pub(super) fn root_of<'a>(&self, path: &'a str) -> Option<(&str, &'a str)> {
        self.roots
            .iter()
            .find_map(|root| Some((root.as_str(), strip_folder(path, root)?)))
    }

    /// Number of the outermost folders.
    pub(super) fn root_count(&self) -> usize {
        self.roots.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let folders = self
            .own_folders
            .iter()
            .chain(&self.roots)
            .chain(&self.copies);
        let packages = self.by_folder.iter().map(|(folder, package)| {
            size_of::<(String, Package)>()
                + folder.capacity()
                + package.crate_name.as_ref().map_or(0, String::capacity)
        });
        folders
            .map(|folder| folder.capacity() + size_of::<String>())
            .chain(packages)
            .sum()
    }

    /// Where a normalised path belongs.
    pub(super) fn find<'a>(&self, path: &'a str) -> Found<'a> {
        let package = self.package_of(path);
        let crate_name = package.and_then(|(_, package)| package.crate_name.clone());
        let own = Found {
            origin: Origin::Own,
            shown: None,
            crate_name: crate_name.clone(),
        };
        if let Some((origin, shown)) = layout::of_compiler(path) {
            return Found {
                origin,
                shown: Some(shown),
                crate_name: None,
            };
        }
        let rest = match package {
            Some((folder, package)) if package.origin == Origin::Own => {
                let rest = strip_folder(path, folder).unwrap_or(path);
                let is_source = package.has_sources && rest.starts_with("src/");
                if is_source || !rest.contains('/') {
                    return own;
                }
                rest
            }
            _ => self.below_own_folders(path),
        };
        if let Some((origin, shown)) = layout::of_path(rest) {
            let crate_name = crate_name.filter(|_| origin != Origin::Standard);
            return Found {
                origin,
                shown: Some(shown),
                crate_name,
            };
        }
        if let Some(file) = self.below_copies(path) {
            return Found {
                origin: layout::library(file.split('/').next().unwrap_or(file)),
                shown: Some(Cow::Borrowed(file)),
                crate_name,
            };
        }
        match package {
            Some((folder, package)) if package.origin != Origin::Own => Found {
                origin: package.origin.clone(),
                shown: Some(Cow::Borrowed(match package.origin {
                    Origin::Standard => strip_folder(path, folder).unwrap_or(path),
                    _ => from_last_folder(path, folder),
                })),
                crate_name,
            },
            _ => own,
        }
    }

    fn origin_of(&self, unit: &CompilationUnit, workspaces: &HashSet<&str>) -> Origin {
        let crate_name = unit.crate_name.as_deref();
        if let Some((origin, _)) = layout::of_compiler(&unit.file) {
            return origin;
        }
        if unit.is_rust() && crate_name.is_some_and(|name| STANDARD_CRATES.contains(&name)) {
            return Origin::Standard;
        }
        if let Some((origin, _)) = layout::of_path(self.below_own_folders(&unit.file)) {
            return origin;
        }
        if is_copied(unit, workspaces) {
            let (folder, _) = package_folder(&unit.file);
            let folder = folder.rsplit('/').next().unwrap_or_default();
            return layout::library(crate_name.unwrap_or(folder));
        }
        Origin::Own
    }

    /// Remembers the folder in which a library was copied next to others. Not every library has a
    /// unit: the code of some is only in the units of their users.
    fn add_copies(&mut self, unit: &CompilationUnit, workspaces: &HashSet<&str>) {
        let (folder, _) = package_folder(&unit.file);
        let Some((parent, _)) = folder.rsplit_once('/') else {
            return;
        };
        let is_own = workspaces.contains(parent)
            || self
                .own_folders
                .iter()
                .any(|own| own == parent || strip_folder(own, parent).is_some());
        if !is_own {
            self.copies.insert(parent.to_owned());
        }
    }

    /// The path from the package on, for a file in a folder of copies.
    fn below_copies<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut folders = path.match_indices('/').take(MAX_DEPTH);
        let (at, _) = folders.find(|(at, _)| {
            path.get(..*at)
                .is_some_and(|folder| self.copies.contains(folder))
        })?;
        path.get(at + 1..).filter(|file| file.contains('/'))
    }

    fn add(&mut self, unit: &CompilationUnit, origin: Origin) {
        let (mut folder, has_sources) = package_folder(&unit.file);
        match origin {
            Origin::Own => {
                self.has_own = true;
                self.own_folders.push(folder.clone());
                let is_inside = strip_folder(&unit.file, &unit.folder).is_some();
                let root = if is_inside && unit.folder.len() > 1 {
                    &unit.folder
                } else {
                    &folder
                };
                // A relative folder is the result of a prefix map, so nothing has to be removed.
                if is_absolute(root) {
                    self.roots.push(root.clone());
                }
            }
            // The standard library's crates are next to each other.
            Origin::Standard if unit.is_rust() && !unit.folder.is_empty() => {
                folder.clone_from(&unit.folder);
            }
            _ => {}
        }
        if folder.is_empty() {
            return;
        }
        let package = Package {
            origin,
            crate_name: unit.crate_name.clone(),
            has_sources,
        };
        // Own code comes first, and stays.
        self.by_folder.entry(folder).or_insert(package);
    }

    fn sort_own_folders(&mut self) {
        self.own_folders.retain(|folder| folder.len() > 1);
        self.own_folders.sort_unstable();
        self.own_folders.dedup();
    }

    /// The innermost package that contains a path, with its folder.
    fn package_of<'a>(&'a self, path: &str) -> Option<(&'a str, &'a Package)> {
        path.rmatch_indices('/')
            .take(MAX_DEPTH)
            .find_map(|(at, _)| self.by_folder.get_key_value(path.get(..at)?))
            .map(|(folder, package)| (folder.as_str(), package))
    }

    /// The end of a path after the folders that it shares with own code.
    fn below_own_folders<'a>(&self, path: &'a str) -> &'a str {
        // Of sorted texts, the neighbours have the longest common beginning.
        let after = self
            .own_folders
            .partition_point(|folder| folder.as_str() < path);
        let neighbours = self.own_folders.iter().take(after + 1);
        let shared = neighbours
            .skip(after.saturating_sub(1))
            .map(|folder| shared_folders(folder, path))
            .max()
            .unwrap_or(0);
        path.get(shared..).unwrap_or(path)
    }
}

/// Whether a crate is in a workspace and was not compiled as a part of it.
fn is_copied(unit: &CompilationUnit, workspaces: &HashSet<&str>) -> bool {
    let mut roots = workspaces.iter().filter(|root| !root.is_empty());
    unit.is_rust() && roots.any(|root| strip_folder(&unit.folder, root).is_some())
}

/// The units with own entry points. Without an export in a unit, the package manager's layout
/// decides alone.
fn entry_units(units: &[CompilationUnit]) -> Vec<&CompilationUnit> {
    let entries = || units.iter().filter(|unit| unit.is_entry);
    let own: Vec<&CompilationUnit> = entries().filter(|unit| !is_fetched(unit)).collect();
    if own.is_empty() {
        // A program that was fetched as a whole, as `cargo install` does it.
        entries().collect()
    } else {
        own
    }
}

/// Whether a crate is in a folder with its own name and version, as package managers keep it.
///
/// A workspace can be in such a folder, too. Cargo then names the file of its entry unit without
/// the folder.
fn is_fetched(unit: &CompilationUnit) -> bool {
    let (folder, _) = package_folder(&unit.file);
    let last = folder.rsplit('/').next().unwrap_or_default();
    let name = layout::versioned(last).map(|name| name.replace('-', "_"));
    let is_crate = name.is_some() && name == unit.crate_name;
    is_crate && unit.is_rust() && (!unit.is_entry || unit.has_full_path)
}

/// The folder of the package that a unit's file belongs to, and whether it has the layout of a
/// Cargo package.
fn package_folder(file: &str) -> (String, bool) {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let folder = folder.strip_suffix("/bin").unwrap_or(folder);
    match folder.strip_suffix("/src") {
        Some(package) if file.ends_with(".rs") => (package.to_owned(), true),
        _ => (folder.to_owned(), folder == "src"),
    }
}

/// The folders that are not inside another one.
fn outermost(mut folders: Vec<String>) -> Vec<String> {
    // In this order, the folders inside a folder come directly after it.
    folders.sort_unstable_by(|a, b| a.split('/').cmp(b.split('/')));
    folders.dedup();
    let mut kept: Vec<String> = Vec::new();
    for folder in folders {
        let is_inside = kept
            .last()
            .is_some_and(|outer| strip_folder(&folder, outer).is_some());
        if !is_inside {
            kept.push(folder);
        }
    }
    kept.shrink_to_fit();
    kept
}

/// Bytes of the folders at the start of a path that are also at the start of `folder`.
fn shared_folders(folder: &str, path: &str) -> usize {
    let equal = folder
        .bytes()
        .zip(path.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    if equal == folder.len() && path.as_bytes().get(equal) == Some(&b'/') {
        return equal + 1;
    }
    path.get(..equal)
        .and_then(|shared| shared.rfind('/'))
        .map_or(0, |at| at + 1)
}

fn strip_folder<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// The path from the last part of `folder` on, which is at its start.
fn from_last_folder<'a>(path: &'a str, folder: &str) -> &'a str {
    let from = folder.rfind('/').map_or(0, |at| at + 1);
    path.get(from..).unwrap_or(path)
}

#[cfg(test)]
mod tests;
