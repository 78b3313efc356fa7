//! Recognises files of libraries by the folders that compilers and package managers use.
//!
//! Callers pass only the folders that a file does not share with own code.

use std::borrow::Cow;

/// Whose code a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The user's own code.
    Own,
    /// A library, with the name of its package.
    Library(String),
    /// The language's standard library, libc or the compiler's runtime.
    Standard,
    /// An allocator.
    Allocator,
    /// Code that a build script or a bindings generator has written.
    Generated,
}

/// The shown path of a standard library's file begins after one of these markers.
const STANDARD_AFTER: &[&str] = &[
    "/lib/rustlib/src/rust/",
    "/lib/zig/",
    "/ziglang/lib/",
    "/go/src/",
    "/tinygo/src/",
];
/// The shown path of a file of libc or of a compiler's runtime begins with one of these markers.
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
/// Folders in which projects keep copies of libraries.
const COPIES: &[&str] = &[
    "/vendor/",
    "/third_party/",
    "/third-party/",
    "/node_modules/",
];

/// Recognises the paths that rustc writes instead of those of the machine that compiled the
/// standard library. Returns the origin of the file and the part of the path to show.
pub(super) fn of_compiler(path: &str) -> Option<(Origin, Cow<'_, str>)> {
    if let Some((hash, file)) = path
        .strip_prefix("/rustc/")
        .and_then(|rest| rest.split_once('/'))
        && hash.len() == 40
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return Some((standard(path), file.into()));
    }
    path.strip_prefix("/rust/deps/")
        .filter(|file| {
            file.split('/')
                .next()
                .is_some_and(|name| versioned(name).is_some())
        })
        .map(|file| (standard(path), file.into()))
}

/// Recognises a file by its folders. Returns its origin and the part of the path to show.
pub(super) fn of_path(path: &str) -> Option<(Origin, Cow<'_, str>)> {
    let markers = STANDARD_AFTER.iter();
    if let Some(file) = markers.copied().find_map(|marker| after(path, marker)) {
        return Some((standard(path), file.into()));
    }
    if let Some(file) = below_go_root(path) {
        return Some((Origin::Standard, file.into()));
    }
    if !path.ends_with(".rs") {
        let markers = STANDARD_FROM.iter().chain(ALLOCATOR_FILES);
        if let Some(file) = markers.copied().find_map(|marker| from(path, marker)) {
            return Some((standard(path), file.into()));
        }
    }
    if let Some(found) = of_git_checkout(path) {
        return Some(found);
    }
    if let Some(file) = from_versioned(path) {
        return Some((library_of(file), file.into()));
    }
    if let Some(file) = after(path, "/pkg/mod/") {
        return Some((library_of(file), file.into()));
    }
    if let Some(file) = COPIES.iter().find_map(|marker| after(path, marker))
        && file.contains('/')
    {
        return Some((library_of(file), file.into()));
    }
    of_out_dir(path)
}

/// The origin of a library with this name.
pub(super) fn library(name: &str) -> Origin {
    let plain = name.replace('_', "-");
    if ALLOCATOR_LIBRARIES
        .iter()
        .any(|library| library.replace('_', "-") == plain)
    {
        Origin::Allocator
    } else if BINDINGS_LIBRARIES.contains(&plain.as_str()) {
        Origin::Generated
    } else {
        Origin::Library(name.to_owned())
    }
}

/// The name in a folder's name with a version: `serde_json` for `serde_json-1.0.1`. Package
/// managers can put the name of a repository in front: `crates__serde_json-1.0.1`.
pub(super) fn versioned(folder: &str) -> Option<&str> {
    let at = folder
        .match_indices('-')
        .map(|(at, _)| at)
        .find(|at| folder.get(at + 1..).is_some_and(is_version))?;
    let name = folder.get(..at)?;
    let name = name.rsplit_once("__").map_or(name, |(_, name)| name);
    (!name.is_empty()).then_some(name)
}

/// Whether a text is a version of three numbers, with or without something after it.
fn is_version(text: &str) -> bool {
    let mut numbers = text.splitn(3, '.');
    let is_number = |number: &str| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let (Some(major), Some(minor), Some(rest)) = (numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    let patch = rest.split(['-', '+']).next().unwrap_or_default();
    is_number(major) && is_number(minor) && is_number(patch)
}

fn standard(path: &str) -> Origin {
    let is_allocator = ALLOCATOR_FILES
        .iter()
        .any(|file| from(path, file).is_some());
    if is_allocator {
        Origin::Allocator
    } else {
        Origin::Standard
    }
}

/// The origin of a library's file that begins with the package's folder.
fn library_of(file: &str) -> Origin {
    let name = match file.split_once('@') {
        Some((module, _version)) => module,
        None => {
            let folder = file.split('/').next().unwrap_or(file);
            versioned(folder).unwrap_or(folder)
        }
    };
    library(name)
}

/// A file in a folder with a name and a version, such as Cargo's `serde_json-1.0.1`. The path
/// begins with the innermost such folder.
fn from_versioned(path: &str) -> Option<&str> {
    let folders = path.rmatch_indices('/').map(|(end, _)| end);
    folders.into_iter().find_map(|end| {
        let before = path.get(..end)?;
        let start = before.rfind('/').map_or(0, |at| at + 1);
        // A module path with its version contains slashes.
        let folder = before.get(start..)?;
        versioned(folder)?;
        path.get(start..)
    })
}

/// A file of a git dependency: `NAME-HASH/REVISION/…` with 16 digits of hash, as Cargo keeps it.
/// Shows `NAME/…`.
fn of_git_checkout(path: &str) -> Option<(Origin, Cow<'_, str>)> {
    let is_hash = |text: &str, digits: usize| {
        text.len() >= digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut parts = path.split('/').peekable();
    let mut at = 0;
    while let Some(part) = parts.next() {
        if let Some((name, hash)) = part.rsplit_once('-')
            && hash.len() == 16
            && is_hash(hash, 16)
            && let Some(revision) = parts.peek()
            && is_hash(revision, 7)
        {
            let file = path.get(at + part.len() + revision.len() + 2..)?;
            return Some((library(name), format!("{name}/{file}").into()));
        }
        at += part.len() + 1;
    }
    None
}

/// A file of Go's standard library in TinyGo's copy of it: `goroot-HASH/src/…`.
fn below_go_root(path: &str) -> Option<&str> {
    let (_hash, file) = after(path, "/goroot-")?.split_once("/src/")?;
    Some(file)
}

/// A file in Cargo's `OUT_DIR`: `<target>/build/<package>-<hash>/out/…`, or with a slash before
/// the hash. Shows `<package>/out/…`.
fn of_out_dir(path: &str) -> Option<(Origin, Cow<'_, str>)> {
    let (folder, file) = after(path, "/build/")?.split_once("/out/")?;
    let (package, hash) = folder.rsplit_once(['-', '/'])?;
    let is_hash = hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hash && !package.contains('/'))
        .then(|| (Origin::Generated, format!("{package}/out/{file}").into()))
}

/// The rest of the path after the marker. The path may also begin with the marker without its
/// first slash.
fn after<'a>(path: &'a str, marker: &str) -> Option<&'a str> {
    path.strip_prefix(marker.trim_start_matches('/'))
        .or_else(|| path.split_once(marker).map(|(_, rest)| rest))
}

/// The path from the marker on, if the marker begins at the start of a folder or file name.
fn from<'a>(path: &'a str, marker: &str) -> Option<&'a str> {
    let marker = marker.trim_start_matches('/');
    let mut found = path.match_indices(marker).map(|(at, _)| path.split_at(at));
    found
        .find(|(before, _)| before.is_empty() || before.ends_with('/'))
        .map(|(_, rest)| rest)
}
