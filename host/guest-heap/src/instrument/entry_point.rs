//! The allocator entry points that the instrumenter knows, by their symbols.

/// A function of an allocator's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum EntryPoint {
    Malloc,
    Calloc,
    Realloc,
    Free,
    PosixMemalign,
    AlignedAlloc,
    Memalign,
    RustAlloc,
    RustAllocZeroed,
    RustRealloc,
    RustDealloc,
}

use EntryPoint::{
    AlignedAlloc, Calloc, Free, Malloc, Memalign, PosixMemalign, Realloc, RustAlloc,
    RustAllocZeroed, RustDealloc, RustRealloc,
};

impl EntryPoint {
    pub(super) const ALL: [Self; 11] = [
        Malloc,
        Calloc,
        Realloc,
        Free,
        PosixMemalign,
        AlignedAlloc,
        Memalign,
        RustAlloc,
        RustAllocZeroed,
        RustRealloc,
        RustDealloc,
    ];

    /// The name in source code. The runtime's hook has the same name behind `hook_`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Malloc => "malloc",
            Calloc => "calloc",
            Realloc => "realloc",
            Free => "free",
            PosixMemalign => "posix_memalign",
            AlignedAlloc => "aligned_alloc",
            Memalign => "memalign",
            RustAlloc => "rust_alloc",
            RustAllocZeroed => "rust_alloc_zeroed",
            RustRealloc => "rust_realloc",
            RustDealloc => "rust_dealloc",
        }
    }

    pub(super) fn from_symbol(symbol: &str) -> Option<Self> {
        let rust = rust_symbol(symbol);
        Self::ALL.into_iter().find(|entry| match rust {
            Some(rust) => entry.is_rust() && rust.strip_prefix("__") == Some(entry.name()),
            None => !entry.is_rust() && symbol == entry.name(),
        })
    }

    /// The entry point that a function implements: `malloc` for `dlmalloc`.
    ///
    /// Such an entry point only calls its implementation. An optimiser replaces calls of the entry
    /// point by calls of the implementation, and then removes the entry point.
    pub(super) fn from_implementation(symbol: &str) -> Option<Self> {
        let name = symbol.strip_prefix("dl")?;
        Self::from_symbol(name).filter(|entry| !entry.is_rust())
    }

    pub(super) fn frees(self) -> bool {
        matches!(self, Free | RustDealloc)
    }

    pub(super) fn is_rust(self) -> bool {
        matches!(
            self,
            RustAlloc | RustAllocZeroed | RustRealloc | RustDealloc
        )
    }

    /// Number of parameters and number of results. All of them are 32-bit integers.
    pub(super) fn signature(self) -> (usize, usize) {
        match self {
            Malloc => (1, 1),
            Calloc | Realloc | AlignedAlloc | Memalign | RustAlloc | RustAllocZeroed => (2, 1),
            Free => (1, 0),
            PosixMemalign => (3, 1),
            RustRealloc => (4, 1),
            RustDealloc => (3, 0),
        }
    }
}

/// The plain name of a function by which Rust code allocates, such as `__rust_alloc`. Accepts
/// mangled names.
fn rust_symbol(symbol: &str) -> Option<&str> {
    if let Some((_, item)) = symbol.split_once("_7___rustc") {
        // v0 mangling: the item's length, an underscore because the item begins with one, the item.
        return item
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .strip_prefix('_');
    }
    if let Some(item) = symbol.strip_prefix("_ZN7__rustc") {
        let item = item.trim_start_matches(|c: char| c.is_ascii_digit());
        return item.find("17h").and_then(|end| item.get(..end));
    }
    symbol.starts_with("__rust_").then_some(symbol)
}

/// Whether the symbol belongs to Rust's default allocator, which calls C's `malloc` where there is
/// one.
pub(super) fn is_default_rust_allocator(symbol: &str) -> bool {
    symbol
        .split_once("_7___rustc")
        .is_some_and(|(_, item)| item.ends_with("___rdl_alloc"))
        || symbol == "__rdl_alloc"
}
