//! Which functions of a module hand out memory.
//!
//! They are known by name: from the name section or, in a module that is linked to others, from its
//! exports. C's own entry points cover Rust's standard library on WASI too, which ends there. A Rust
//! program with an allocator of its own may have only Rust's.

use wasmparser::ValType;

use super::calls::Calls;
use super::reach::{Diverging, Reach};
use super::scan::CoreModule;

/// A function that allocates or frees.
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

    /// The name in source code, which is also that of the runtime's hook, after `hook_`.
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

    /// The entry point of that symbol, if it is one.
    pub(super) fn of_symbol(symbol: &str) -> Option<Self> {
        let rust = rust_symbol(symbol);
        Self::ALL.into_iter().find(|entry| match rust {
            Some(rust) => entry.is_rust() && rust.strip_prefix("__") == Some(entry.name()),
            None => !entry.is_rust() && symbol == entry.name(),
        })
    }

    /// The entry point that is hardly more than a call of a function of that name: `malloc` of `dlmalloc`. An optimiser
    /// puts the second in the place of the first, which is gone then.
    pub(super) fn of_worker(symbol: &str) -> Option<Self> {
        let name = symbol.strip_prefix("dl")?;
        Self::of_symbol(name).filter(|entry| !entry.is_rust())
    }

    pub(super) fn frees(self) -> bool {
        matches!(self, Free | RustDealloc)
    }

    fn is_rust(self) -> bool {
        matches!(
            self,
            RustAlloc | RustAllocZeroed | RustRealloc | RustDealloc
        )
    }

    /// Number of 32-bit parameters, and of results.
    fn signature(self) -> (usize, usize) {
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

/// The name of one of the functions by which rustc's code allocates: `__rust_alloc`, mangled or not.
fn rust_symbol(symbol: &str) -> Option<&str> {
    if let Some((_, item)) = symbol.split_once("_7___rustc") {
        // v0: the item's length, an underscore since it begins with one, the item.
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

/// Whether rustc's default allocator is linked in, which ends in C's `malloc` where there is one.
pub(super) fn is_default_rust_allocator(symbol: &str) -> bool {
    symbol
        .split_once("_7___rustc")
        .is_some_and(|(_, item)| item.ends_with("___rdl_alloc"))
        || symbol == "__rdl_alloc"
}

/// A module's entry points, by function index.
#[derive(Debug, Default)]
pub(super) struct Allocator {
    pub(super) entries: Vec<(EntryPoint, u32)>,
    /// What is not quite as it seems, for people.
    pub(super) reservation: Option<&'static str>,
}

impl Allocator {
    /// Finds a module's entry points, or says why there is none that could be used.
    pub(super) fn find(module: &CoreModule<'_>) -> Result<Self, &'static str> {
        let fits = |(entry, function): &(EntryPoint, u32)| {
            module.is_defined(*function)
                && module.signature(*function).is_some_and(|ty| {
                    let (params, results) = entry.signature();
                    ty.params().len() == params
                        && ty.results().len() == results
                        && ty
                            .params()
                            .iter()
                            .chain(ty.results())
                            .all(|ty| *ty == ValType::I32)
                })
        };
        let sorted = |functions: &[(EntryPoint, u32)]| {
            let mut entries: Vec<_> = functions.iter().copied().filter(fits).collect();
            entries.sort_unstable();
            entries.dedup_by_key(|(entry, _)| *entry);
            entries
        };
        let mut entries = sorted(&module.entry_points);
        for (entry, worker) in sorted(&module.workers) {
            if !entries.iter().any(|(known, _)| *known == entry) {
                entries.push((entry, worker));
            }
        }
        entries.sort_unstable();
        let allocator = Self {
            entries,
            reservation: None,
        };
        if allocator.has_c() || allocator.has_rust() {
            Ok(allocator)
        } else if module.has_names {
            Err("none of its functions is named malloc or __rust_alloc")
        } else {
            Err("function names are stripped")
        }
    }

    fn has(&self, entry: EntryPoint) -> bool {
        self.entries.iter().any(|(known, _)| *known == entry)
    }

    /// A program that never frees has no `free`: it is not linked in.
    fn has_c(&self) -> bool {
        [Malloc, Calloc, Realloc]
            .iter()
            .any(|entry| self.has(*entry))
    }

    fn has_rust(&self) -> bool {
        self.has(RustAlloc) && self.has(RustDealloc)
    }

    /// Where there are C's entry points and Rust's, keeps those that every block goes through.
    ///
    /// Rust's default allocator ends in `malloc`. So may one of the program's own, and then `malloc`
    /// is what can be relied on: the compiler often inlines calls of Rust's entry points.
    pub(super) fn choose(&mut self, module: &CoreModule<'_>, calls: &[Calls]) {
        let own = self.has_rust() && !module.has_default_rust_allocator;
        let ends_in_c = self.has_c() && (!own || self.rust_reaches_c(module, calls));
        self.entries
            .retain(|(entry, _)| entry.is_rust() != ends_in_c);
        self.reservation = match (own, ends_in_c) {
            (false, _) => None,
            (true, true) => Some(
                "has a global allocator of its own: what that one takes from malloc is counted, not \
                 what it hands out",
            ),
            (true, false) => Some(
                "has a global allocator of its own, whose calls the compiler may have inlined: such \
                 blocks are not seen",
            ),
        };
    }

    fn rust_reaches_c(&self, module: &CoreModule<'_>, calls: &[Calls]) -> bool {
        let c: Vec<u32> = self.functions(|entry| !entry.is_rust()).collect();
        let reach = Reach::compute(module, calls, &c, &c, false, Diverging::Ignored);
        self.functions(EntryPoint::is_rust)
            .any(|function| reach.function(function))
    }

    fn functions(&self, which: impl Fn(EntryPoint) -> bool) -> impl Iterator<Item = u32> {
        let chosen = self.entries.iter().filter(move |(entry, _)| which(*entry));
        chosen.map(|(_, function)| *function)
    }
}
