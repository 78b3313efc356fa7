//! Source paths without the machine that compiled them, and where in the ecosystem a file comes from.

use super::SymbolOptions;

/// Where a source file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The code that somebody is working on.
    Workspace,
    /// A library fetched by a package manager, with its name.
    Library(String),
    /// The language's standard library, libc or compiler runtime.
    Standard,
    /// The files of an allocator.
    Allocator,
    /// Written by a build script or a bindings generator.
    Generated,
}

/// A path to show, and what kind of file it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourcePath {
    pub(super) shown: String,
    pub(super) origin: Origin,
}

/// Everything up to and with the marker is cut; what follows is shown.
const STANDARD_AFTER: &[&str] = &[
    "/lib/rustlib/src/rust/",
    "/rust/deps/",
    "/lib/zig/",
    "/go/src/",
    "/tinygo/src/",
];
/// Everything before the marker is cut; it is shown itself.
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
/// Allocators that ship inside a standard library or libc.
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
/// Allocators that come as libraries of their own.
const ALLOCATOR_LIBRARIES: &[&str] = &["dlmalloc", "lol_alloc", "mimalloc", "talc", "wee_alloc"];
/// Run-time support of generated bindings.
const BINDINGS_LIBRARIES: &[&str] = &["wit-bindgen", "wit-bindgen-rt"];

/// The folders that the compiler ran in, of everything that belongs to a workspace.
#[derive(Debug, Default)]
pub(super) struct Roots {
    outermost: Vec<String>,
    has_workspace: bool,
}

impl Roots {
    /// Takes every compilation unit's folder and source file, and keeps the outermost folders that are a workspace's.
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
                // A relative folder is what a prefix map left: nothing of it has to go.
                folders.extend(Some(folder).filter(|folder| is_absolute(folder)));
            }
        }
        // Sorted, a folder comes before what lies in it.
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

    /// Whether any unit is of somebody's own code: standard libraries come with line tables of their own.
    pub(super) fn has_workspace(&self) -> bool {
        self.has_workspace
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.outermost
            .iter()
            .map(|root| root.capacity() + size_of::<String>())
            .sum()
    }

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
            // Several workspaces in one component: their own names tell them apart.
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

/// Shortens `path`, absolute or relative to the folder that the compiler ran in.
pub(super) fn shorten(path: &str, roots: &Roots, options: &SymbolOptions) -> SourcePath {
    let path = normalise(path);
    known_origin(&path).unwrap_or_else(|| SourcePath {
        shown: roots.shown(&path, options),
        origin: Origin::Workspace,
    })
}

/// Recognises what is in nobody's workspace by the folders that compilers and package managers keep it in.
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
            .any(|file| from(path, file).is_some());
        found(
            shown,
            if allocator {
                Origin::Allocator
            } else {
                Origin::Standard
            },
        )
    };
    if let Some((_hash, rest)) = after(path, "/rustc/").and_then(|rest| rest.split_once('/')) {
        return standard(rest);
    }
    if let Some(rest) = STANDARD_AFTER.iter().find_map(|marker| after(path, marker)) {
        return standard(rest);
    }
    if let Some(rest) = after(path, "/registry/src/").and_then(|rest| rest.split_once('/')) {
        return found(rest.1, library(rest.1));
    }
    if let Some(rest) = after(path, "/git/checkouts/") {
        let mut parts = rest.splitn(3, '/');
        let (Some(repository), Some(_revision), Some(file)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let name = repository
            .rsplit_once('-')
            .map_or(repository, |(name, _hash)| name);
        return found(&format!("{name}/{file}"), Origin::Library(name.to_owned()));
    }
    if let Some(rest) = after(path, "/pkg/mod/").or_else(|| after(path, "/vendor/")) {
        return found(rest, library(rest));
    }
    if let Some(rest) = STANDARD_FROM.iter().find_map(|marker| from(path, marker)) {
        return standard(rest);
    }
    if let Some(rest) = ALLOCATOR_FILES.iter().find_map(|marker| from(path, marker)) {
        return standard(rest);
    }
    // Cargo's OUT_DIR: `<target>/build/<package>-<hash>/out/…`.
    if let Some(rest) = after(path, "/build/")
        && let Some((package, file)) = rest.split_once("/out/")
        && !package.contains('/')
    {
        let name = package
            .rsplit_once('-')
            .map_or(package, |(name, _hash)| name);
        return found(&format!("{name}/out/{file}"), Origin::Generated);
    }
    None
}

/// `serde_json-1.0.1/src/value.rs` belongs to `serde_json`, `github.com/x/y@v1/z.go` to `github.com/x/y`.
fn library(path: &str) -> Origin {
    let name = match path.split_once('@') {
        Some((module, _version)) => module,
        None => without_version(path.split('/').next().unwrap_or(path)),
    };
    if ALLOCATOR_LIBRARIES.contains(&name) {
        Origin::Allocator
    } else if BINDINGS_LIBRARIES.contains(&name) {
        Origin::Generated
    } else {
        Origin::Library(name.to_owned())
    }
}

/// `serde_json` of the folder `serde_json-1.0.1`.
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

/// A path outside every known folder: the package's folder and what is below it say enough.
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

/// Forward slashes, and no `.` or `..` that can be resolved.
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

/// What follows the marker, which may also begin the path without its first slash: a prefix map can leave that.
fn after<'a>(path: &'a str, marker: &str) -> Option<&'a str> {
    path.strip_prefix(marker.trim_start_matches('/'))
        .or_else(|| path.split_once(marker).map(|(_, rest)| rest))
}

/// The path from the marker on, where that begins a folder or file name.
fn from<'a>(path: &'a str, marker: &str) -> Option<&'a str> {
    let marker = marker.trim_start_matches('/');
    let mut found = path.match_indices(marker).map(|(at, _)| path.split_at(at));
    found
        .find(|(before, _)| before.is_empty() || before.ends_with('/'))
        .map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests;
