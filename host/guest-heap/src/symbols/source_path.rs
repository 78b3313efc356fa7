//! Shortens source paths, so that they do not depend on the machine that compiled them, and finds
//! the origin of a file.

use super::options::SymbolOptions;

/// The origin of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SourceOrigin {
    /// The user's own code.
    Workspace,
    /// A library that a package manager has fetched, with its name.
    Library(String),
    /// The language's standard library, libc or the compiler's runtime.
    Standard,
    /// An allocator.
    Allocator,
    /// Code that a build script or a bindings generator has written.
    Generated,
}

/// A shortened path, and the origin of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourcePath {
    pub(super) shown: String,
    pub(super) origin: SourceOrigin,
}

/// The shown path of a standard library's file begins after one of these markers.
const STANDARD_AFTER: &[&str] = &[
    "/lib/rustlib/src/rust/",
    "/rust/deps/",
    "/lib/zig/",
    "/go/src/",
    "/tinygo/src/",
];
/// The shown path of a standard library's file begins with one of these markers.
const STANDARD_FROM: &[&str] = &[
    "libc-top-half/",
    "libc-bottom-half/",
    "wasi-libc",
    "musl/src/",
    "compiler-rt/lib/",
    "libcxx/",
    "libcxxabi/",
    "c++/v1/",
    "include/wasm32-wasi",
];
/// Files of allocators that are part of a standard library or libc.
const ALLOCATOR_FILES: &[&str] = &[
    "/library/alloc/src/alloc.rs",
    "/library/std/src/alloc.rs",
    "/library/std/src/sys/alloc/",
    "/library/core/src/alloc/",
    "/dlmalloc/",
    "/dlmalloc-",
    "/dlmalloc.c",
    "/emmalloc/",
    "/emmalloc.c",
];
/// Libraries that are allocators.
const ALLOCATOR_LIBRARIES: &[&str] = &["dlmalloc", "lol_alloc", "mimalloc", "talc", "wee_alloc"];
/// Libraries that are the runtime support of generated bindings.
const BINDINGS_LIBRARIES: &[&str] = &["wit-bindgen", "wit-bindgen-rt"];

/// The working directories of the compiler for the units of the user's own workspaces.
#[derive(Debug, Default)]
pub(super) struct WorkspaceRoots {
    /// Directories that are not inside another one.
    outermost: Vec<String>,
    has_workspace: bool,
}

impl WorkspaceRoots {
    /// Takes the working directory and the source file of every compilation unit.
    pub(super) fn new(units: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut folders = Vec::new();
        let mut has_workspace = false;
        for (folder, file) in units {
            let file = normalise(&file);
            let folder = normalise(&folder);
            let path = if is_absolute(&file) {
                file
            } else {
                format!("{folder}/{file}")
            };
            if known_origin(&path).is_none() {
                has_workspace = true;
                // A relative folder is the result of a prefix map, so nothing has to be removed.
                folders.extend(Some(folder).filter(|folder| is_absolute(folder)));
            }
        }
        // In sorted order, a folder comes before the folders inside it.
        folders.sort_unstable();
        folders.dedup();
        let mut outermost: Vec<String> = Vec::new();
        for folder in folders {
            if !outermost
                .iter()
                .any(|outer| strip_folder(&folder, outer).is_some())
            {
                outermost.push(folder);
            }
        }
        outermost.shrink_to_fit();
        Self {
            outermost,
            has_workspace,
        }
    }

    /// Whether any unit is the user's own code. Standard libraries have line tables, too.
    pub(super) fn has_workspace(&self) -> bool {
        self.has_workspace
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.outermost
            .iter()
            .map(|root| root.capacity() + size_of::<String>())
            .sum()
    }

    /// Shortens the path of a file in a workspace.
    fn shown(&self, path: &str, options: &SymbolOptions) -> String {
        let Some((root, rest)) = self
            .outermost
            .iter()
            .find_map(|root| Some((root, strip_folder(path, root)?)))
        else {
            return package_relative(path).to_owned();
        };
        let folders: Vec<&str> = root.split('/').collect();
        let kept = folders
            .iter()
            .rposition(|folder| options.kept_folders.iter().any(|kept| kept == folder));
        let from = match (kept, self.outermost.len()) {
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
}

/// Shortens `path`, which is absolute or relative to the compiler's working directory.
pub(super) fn shorten(path: &str, roots: &WorkspaceRoots, options: &SymbolOptions) -> SourcePath {
    let path = normalise(path);
    known_origin(&path).unwrap_or_else(|| SourcePath {
        shown: roots.shown(&path, options),
        origin: SourceOrigin::Workspace,
    })
}

/// Recognises files outside of the user's workspaces by the folders that compilers and package
/// managers use.
fn known_origin(path: &str) -> Option<SourcePath> {
    let found = |shown: &str, origin| {
        Some(SourcePath {
            shown: shown.to_owned(),
            origin,
        })
    };
    let standard = |shown: &str| {
        let allocator = ALLOCATOR_FILES
            .iter()
            .any(|file| from_marker(path, file).is_some());
        found(
            shown,
            if allocator {
                SourceOrigin::Allocator
            } else {
                SourceOrigin::Standard
            },
        )
    };
    if let Some((_hash, rest)) = after_marker(path, "/rustc/").and_then(|rest| rest.split_once('/'))
    {
        return standard(rest);
    }
    if let Some(rest) = STANDARD_AFTER
        .iter()
        .find_map(|marker| after_marker(path, marker))
    {
        return standard(rest);
    }
    if let Some(rest) = after_marker(path, "/registry/src/").and_then(|rest| rest.split_once('/')) {
        return found(rest.1, library(rest.1));
    }
    if let Some(rest) = after_marker(path, "/git/checkouts/") {
        let mut parts = rest.splitn(3, '/');
        let (Some(repository), Some(_revision), Some(file)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let name = repository
            .rsplit_once('-')
            .map_or(repository, |(name, _hash)| name);
        return found(
            &format!("{name}/{file}"),
            SourceOrigin::Library(name.to_owned()),
        );
    }
    if let Some(rest) = after_marker(path, "/pkg/mod/").or_else(|| after_marker(path, "/vendor/")) {
        return found(rest, library(rest));
    }
    if let Some(rest) = STANDARD_FROM
        .iter()
        .find_map(|marker| from_marker(path, marker))
    {
        return standard(rest);
    }
    if let Some(rest) = ALLOCATOR_FILES
        .iter()
        .find_map(|marker| from_marker(path, marker))
    {
        return standard(rest);
    }
    // The OUT_DIR of Cargo: `<target>/build/<package>-<hash>/out/…`.
    if let Some(rest) = after_marker(path, "/build/")
        && let Some((package, file)) = rest.split_once("/out/")
        && !package.contains('/')
    {
        let name = package
            .rsplit_once('-')
            .map_or(package, |(name, _hash)| name);
        return found(&format!("{name}/out/{file}"), SourceOrigin::Generated);
    }
    None
}

/// The origin of a library's file: `serde_json` for `serde_json-1.0.1/src/value.rs`, and
/// `github.com/x/y` for `github.com/x/y@v1/z.go`.
fn library(path: &str) -> SourceOrigin {
    let name = match path.split_once('@') {
        Some((module, _version)) => module,
        None => without_version(path.split('/').next().unwrap_or(path)),
    };
    if ALLOCATOR_LIBRARIES.contains(&name) {
        SourceOrigin::Allocator
    } else if BINDINGS_LIBRARIES.contains(&name) {
        SourceOrigin::Generated
    } else {
        SourceOrigin::Library(name.to_owned())
    }
}

/// Removes the version from a folder name: `serde_json` for `serde_json-1.0.1`.
pub(super) fn without_version(folder: &str) -> &str {
    let is_version = |at: usize| {
        folder
            .get(at + 1..)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let version = folder
        .match_indices('-')
        .map(|(at, _)| at)
        .find(|at| is_version(*at));
    version.and_then(|at| folder.get(..at)).unwrap_or(folder)
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

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || path.get(1..3) == Some(":/")
}

/// Converts backslashes to slashes and resolves `.` and `..` where possible.
fn normalise(path: &str) -> String {
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

fn strip_folder<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// The rest of the path after the marker. The path may also begin with the marker without its first
/// slash, as a prefix map can leave it.
fn after_marker<'a>(path: &'a str, marker: &str) -> Option<&'a str> {
    path.strip_prefix(marker.trim_start_matches('/'))
        .or_else(|| path.split_once(marker).map(|(_, rest)| rest))
}

/// The path from the marker on, if the marker begins at the start of a folder or file name.
fn from_marker<'a>(path: &'a str, marker: &str) -> Option<&'a str> {
    let marker = marker.trim_start_matches('/');
    let mut found = path.match_indices(marker).map(|(at, _)| path.split_at(at));
    found
        .find(|(before, _)| before.is_empty() || before.ends_with('/'))
        .map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests;
