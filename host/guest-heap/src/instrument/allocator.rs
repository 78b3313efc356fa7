//! Selects the functions of a module that the runtime's hooks replace.
//!
//! The entry points have well-known names, which come from the name section or, in a module that is
//! linked to others, from the exports. The entry points of C also cover Rust's standard library on
//! WASI, whose allocator calls `malloc`. A Rust program with an allocator of its own may have only
//! the entry points of Rust.

use wasmparser::ValType;

use super::calls::Calls;
use super::entry_point::EntryPoint::{self, Calloc, Malloc, Realloc, RustAlloc, RustDealloc};
use super::reach::{Diverging, Reach};
use super::scan::CoreModule;

/// The entry points of a module, with their function indices.
#[derive(Clone, Debug, Default)]
pub(super) struct Allocator {
    pub(super) entries: Vec<(EntryPoint, u32)>,
    /// Why the heap is attributed only partially, as a clause whose subject is the module.
    pub(super) caveat: Option<&'static str>,
}

impl Allocator {
    /// Finds the entry points of a module. The error is the reason why none can be used.
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
        for (entry, function) in sorted(&module.implementations) {
            if !entries.iter().any(|(known, _)| *known == entry) {
                entries.push((entry, function));
            }
        }
        entries.sort_unstable();
        let allocator = Self {
            entries,
            caveat: None,
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

    /// `free` is not required: a program that never frees does not link it.
    fn has_c(&self) -> bool {
        [Malloc, Calloc, Realloc]
            .iter()
            .any(|entry| self.has(*entry))
    }

    fn has_rust(&self) -> bool {
        self.has(RustAlloc) && self.has(RustDealloc)
    }

    /// In a module with the entry points of C and Rust, keeps those that see every block.
    ///
    /// Rust's default allocator calls `malloc`. An allocator of the program's own may call it, too.
    /// Then the entry points of C are the reliable ones, because the compiler often inlines the
    /// calls of Rust's.
    pub(super) fn select(&mut self, module: &CoreModule<'_>, calls: &[Calls]) {
        let custom = self.has_rust() && !module.has_default_rust_allocator;
        let calls_c = self.has_c() && (!custom || self.rust_reaches_c(module, calls));
        self.entries.retain(|(entry, _)| entry.is_rust() != calls_c);
        self.caveat = match (custom, calls_c) {
            (false, _) => None,
            (true, true) => Some(
                "has a global allocator of its own: the profiler counts the blocks that this \
                 allocator takes from malloc, not the blocks that it returns",
            ),
            (true, false) => Some(
                "has a global allocator of its own: the profiler misses blocks where the compiler \
                 has inlined the allocator's entry points",
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
