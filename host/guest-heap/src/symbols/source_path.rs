//! Shortens source paths, so that they do not depend on the machine that compiled them.

use super::layout::Origin;
use super::packages::Packages;
use super::units::{is_absolute, normalise};

/// A shortened path, and whose code the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourcePath {
    pub(super) shown: String,
    pub(super) origin: Origin,
    /// The crate that the file belongs to, if a compilation unit says so.
    pub(super) crate_name: Option<String>,
}

/// Shortens `path`, which is absolute or relative to the compiler's working directory. The paths of
/// own code include a folder at the end of the workspace's path that is in `kept_folders`.
pub(super) fn shorten(path: &str, packages: &Packages, kept_folders: &[String]) -> SourcePath {
    let path = normalise(path);
    let found = packages.find(&path);
    SourcePath {
        shown: match found.shown {
            Some(shown) => shown.into_owned(),
            None => shown_own(&path, packages, kept_folders),
        },
        origin: found.origin,
        crate_name: found.crate_name,
    }
}

/// Shortens the path of a file of own code.
fn shown_own(path: &str, packages: &Packages, kept_folders: &[String]) -> String {
    let Some((root, rest)) = packages.root_of(path) else {
        return package_relative(path).to_owned();
    };
    let folders: Vec<&str> = root.split('/').collect();
    let kept = folders
        .iter()
        .rposition(|folder| kept_folders.iter().any(|kept| kept == folder));
    let from = match (kept, packages.root_count()) {
        (Some(kept), _) => kept,
        // If the component has several workspaces, their names distinguish them.
        (None, 2..) => folders.len() - 1,
        (None, _) => folders.len(),
    };
    let mut shown = folders.get(from..).unwrap_or_default().join("/");
    if !shown.is_empty() {
        shown.push('/');
    }
    shown + rest
}

/// Shortens a path outside of all known folders to the package's folder and the path below it.
fn package_relative(path: &str) -> &str {
    if !is_absolute(path) {
        return path;
    }
    let cuts: Vec<usize> = path.match_indices('/').map(|(at, _)| at + 1).collect();
    let sources = path.rfind("/src/").map(|at| at + 1);
    let keep_from = match sources {
        Some(sources) => cuts.iter().rev().find(|cut| **cut < sources),
        None => cuts.iter().rev().nth(1).or(cuts.first()),
    };
    keep_from.and_then(|cut| path.get(*cut..)).unwrap_or(path)
}
