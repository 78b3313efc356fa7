//! Classifies functions by their file and their name: whose code is it?

use super::code_pattern::CodeNames;
use super::frame::FrameKind;
use super::function_name::{last_segment, owner_crate, owner_path};
use super::layout::Origin;
use super::options::SymbolOptions;
use super::source_path::SourcePath;

/// Functions of allocators in C and C++: those of the standards, and those of dlmalloc.
const ALLOCATOR_FUNCTIONS: &[&str] = &[
    "aligned_alloc",
    "calloc",
    "dispose_chunk",
    "free",
    "internal_memalign",
    "malloc",
    "malloc_usable_size",
    "memalign",
    "operator delete",
    "operator delete[]",
    "operator new",
    "operator new[]",
    "posix_memalign",
    "prepend_alloc",
    "realloc",
    "reallocarray",
    "sys_alloc",
    "sys_trim",
    "tmalloc_large",
    "tmalloc_small",
    "try_realloc_chunk",
];
/// Prefixes of the functions by which CPython allocates: its three domains of memory.
const CPYTHON_ALLOCATOR_PREFIXES: &[&str] = &[
    "PyMem_",
    "PyObject_Calloc",
    "PyObject_Free",
    "PyObject_Malloc",
    "PyObject_Realloc",
    "_PyMem_",
];
/// Prefixes of the functions by which Rust code calls the global allocator.
const RUST_ALLOCATOR_PREFIXES: &[&str] = &[
    "__rust_alloc",
    "__rust_dealloc",
    "__rust_realloc",
    "__rdl_",
    "__rg_",
];
const RUST_ALLOCATOR_MODULES: &[&str] = &[
    "alloc::alloc",
    "std::alloc",
    "std::sys::alloc",
    "core::alloc",
];
const ALLOCATOR_CRATES: &[&str] = &["dlmalloc", "lol_alloc", "mimalloc", "talc", "wee_alloc"];
const STANDARD_CRATES: &[&str] = &[
    "__rustc",
    "alloc",
    "compiler_builtins",
    "core",
    "hashbrown",
    "std",
];
/// Functions of libc that return allocated memory. Without line tables only their names show that
/// they are not the caller's code.
const LIBC_FUNCTIONS: &[&str] = &[
    "asprintf",
    "fdopen",
    "fopen",
    "getcwd",
    "getdelim",
    "getline",
    "open_memstream",
    "realpath",
    "scandir",
    "setvbuf",
    "strdup",
    "strndup",
    "vasprintf",
    "wcsdup",
];
const PROGRAM_ENTRY_POINTS: &[&str] = &[
    "__main_void",
    "__original_main",
    "__wasm_call_ctors",
    "_initialize",
    "_start",
];

/// Classifies the functions of one component.
#[derive(Debug, Default)]
pub(super) struct Classifier {
    options: SymbolOptions,
    /// Module paths that bindings generators derive from the component's imports and exports, such
    /// as `wasi::cli::run`.
    bindings: Vec<String>,
}

impl Classifier {
    pub(super) fn new(options: SymbolOptions, interfaces: &[String]) -> Self {
        let mut bindings: Vec<String> = interfaces
            .iter()
            .filter_map(|name| bindings_path(name))
            .collect();
        bindings.sort_unstable();
        bindings.dedup();
        Self { options, bindings }
    }

    pub(super) fn options(&self) -> &SymbolOptions {
        &self.options
    }

    /// The kind of a function of an interpreted program, which is `kind` unless the options say
    /// otherwise.
    pub(super) fn source_kind(&self, function: &str, path: &str, kind: FrameKind) -> FrameKind {
        let names = CodeNames {
            function,
            path: Some(path),
            crate_name: None,
        };
        if self.options.is_skipped(names) || self.options.is_infrastructure_path(path) {
            FrameKind::Infrastructure
        } else if self.options.is_own(names) {
            FrameKind::User
        } else {
            kind
        }
    }

    /// The kind of a function. `source` is `None` for a function without a line. `has_lines` says
    /// whether its core module has line tables for the user's code.
    pub(super) fn kind(
        &self,
        function: &str,
        source: Option<&SourcePath>,
        has_lines: bool,
    ) -> FrameKind {
        if let Some(kind) = self.kind_by_options(function, source) {
            return kind;
        }
        if is_allocator(function) {
            return FrameKind::Allocator;
        }
        if self.is_bindings(function) {
            return FrameKind::Bindings;
        }
        let owner = owner_crate(function);
        let Some(source) = source else {
            return self.kind_by_name(function, owner, has_lines);
        };
        match &source.origin {
            Origin::Standard => FrameKind::Std,
            Origin::Allocator => FrameKind::Allocator,
            Origin::Generated => FrameKind::Bindings,
            Origin::Library(name) if self.options.is_infrastructure_crate(name) => {
                FrameKind::Infrastructure
            }
            Origin::Library(_) => FrameKind::Registry,
            Origin::Own if self.is_infrastructure(source) => FrameKind::Infrastructure,
            // The file decides, because a macro of one crate can expand in a file of another one,
            // such as the user's crate and an SDK.
            Origin::Own => FrameKind::User,
        }
    }

    fn kind_by_options(&self, function: &str, source: Option<&SourcePath>) -> Option<FrameKind> {
        let of_source = source.and_then(|source| match &source.origin {
            Origin::Library(name) => Some(name.as_str()),
            _ => source.crate_name.as_deref(),
        });
        let names = CodeNames {
            function,
            path: source.map(|source| source.shown.as_str()),
            crate_name: of_source.or_else(|| owner_crate(function)),
        };
        if self.options.is_skipped(names) {
            return Some(FrameKind::Infrastructure);
        }
        self.options.is_own(names).then_some(FrameKind::User)
    }

    fn is_infrastructure(&self, source: &SourcePath) -> bool {
        let mut crates = source.crate_name.iter();
        self.options.is_infrastructure_path(&source.shown)
            || crates.any(|name| self.options.is_infrastructure_crate(name))
    }

    fn kind_by_name(&self, function: &str, owner: Option<&str>, has_lines: bool) -> FrameKind {
        match owner {
            Some(owner) if ALLOCATOR_CRATES.contains(&owner) => FrameKind::Allocator,
            Some(owner) if STANDARD_CRATES.contains(&owner) => FrameKind::Std,
            Some("wit_bindgen" | "wit_bindgen_rt") => FrameKind::Bindings,
            Some(owner) if self.options.is_infrastructure_crate(owner) => FrameKind::Infrastructure,
            // If the user's code has lines, code without lines belongs to a linked runtime.
            _ if has_lines => FrameKind::Std,
            None if LIBC_FUNCTIONS.contains(&function)
                || PROGRAM_ENTRY_POINTS.contains(&function) =>
            {
                FrameKind::Std
            }
            None if function.ends_with(".command_export") || function.starts_with("__wasi_") => {
                FrameKind::Std
            }
            _ => FrameKind::User,
        }
    }

    /// Whether a name is one that bindings generators give to their functions.
    pub(super) fn is_bindings(&self, function: &str) -> bool {
        let last = last_segment(function);
        if last.starts_with("cabi_")
            || last.starts_with("wit_import")
            || last.starts_with("__wasm_export_")
            || (last.starts_with("_export_") && last.ends_with("_cabi"))
            || last.starts_with("__post_return_")
            || is_export_name(function)
        {
            return true;
        }
        let owner = owner_path(function);
        owner.contains("::_rt::")
            || owner.ends_with("::_rt")
            || self.bindings.iter().any(|path| has_path(owner, path))
    }
}

fn is_allocator(function: &str) -> bool {
    if !function.contains("::") {
        let plain = function
            .trim_start_matches("__libc_")
            .trim_start_matches("dl");
        return ALLOCATOR_FUNCTIONS.contains(&function)
            || ALLOCATOR_FUNCTIONS.contains(&plain)
            || RUST_ALLOCATOR_PREFIXES
                .iter()
                .chain(CPYTHON_ALLOCATOR_PREFIXES)
                .any(|prefix| function.starts_with(prefix));
    }
    let last = last_segment(function);
    RUST_ALLOCATOR_PREFIXES
        .iter()
        .any(|prefix| last.starts_with(prefix))
        || function.contains("GlobalAlloc>::")
        || RUST_ALLOCATOR_MODULES.iter().any(|module| {
            owner_path(function)
                .strip_prefix(module)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        })
}

/// Whether a name is the symbol of an exported function, such as
/// `leak-lab:plugin/leak@0.1.0#on-request`.
fn is_export_name(function: &str) -> bool {
    function
        .split_once('#')
        .is_some_and(|(interface, _)| interface.contains('/') && !interface.contains('{'))
}

/// The module in which wit-bindgen puts the functions of an interface: `leak_lab::plugin::host` for
/// `leak-lab:plugin/host@0.1.0`.
fn bindings_path(interface: &str) -> Option<String> {
    let name = interface.split('@').next().unwrap_or(interface);
    let (namespace, rest) = name.split_once(':')?;
    let (package, interface) = rest.split_once('/')?;
    Some(
        [namespace, package, interface]
            .map(|part| part.replace('-', "_"))
            .join("::"),
    )
}

/// Whether `owner` contains the segments of `path` below its crate.
fn has_path(owner: &str, path: &str) -> bool {
    owner.match_indices(path).any(|(at, _)| {
        let before = owner.get(..at).is_some_and(|before| before.ends_with("::"));
        let after = owner
            .get(at + path.len()..)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        before && after
    })
}

#[cfg(test)]
mod tests;
