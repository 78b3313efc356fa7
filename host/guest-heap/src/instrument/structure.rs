//! Finds the entry points of a C allocator by its structure, in a module without names.
//!
//! The allocator of wasi-libc, and others of its kind, keep their state in static data. This module
//! looks for the functions that load and store this state, and tells them apart by their
//! signatures and by what they call:
//!
//! - `malloc(size)` has the state and may grow memory;
//! - `free(pointer)` has the same state and grows nothing;
//! - `realloc(pointer, size)` calls both and has the state, or calls a function that has it;
//! - `memalign(alignment, size)` calls `malloc` only and has the state, or calls such a function;
//! - `calloc` calls `malloc` and needs no hook.
//!
//! A function that only resembles one of these could be taken for it, so what is found never counts
//! as exact.

use std::collections::HashSet;

use wasmparser::{FuncType, ValType};

use super::calls::{CallSite, Calls};
use super::entry_point::EntryPoint;
use super::reach::{Diverging, Reach};
use super::scan::CoreModule;

/// Words of state that `malloc` loads and stores, at least.
const MIN_STATE_WORDS: usize = 4;

/// Words of the state that other functions of the allocator load or store, at least.
const MIN_SHARED_WORDS: usize = 2;

/// The entry points that the structure of a module shows; empty if it shows none or is ambiguous.
pub(super) fn entry_points(module: &CoreModule<'_>, calls: &[Calls]) -> Vec<(EntryPoint, u32)> {
    let structure = Structure::of(module, calls);
    let Some((malloc, free)) = structure.malloc_and_free() else {
        return Vec::new();
    };
    let state = structure.state_of(malloc);
    let mut entries = vec![(EntryPoint::Malloc, malloc), (EntryPoint::Free, free)];
    let calls = |function, callee| structure.callees(function).any(|it| it == callee);
    let is_helper = |function| {
        function != malloc
            && function != free
            && structure.touches(function, &state)
            && !calls(function, malloc)
    };
    for function in structure.functions() {
        let is_part =
            structure.touches(function, &state) || structure.callees(function).any(is_helper);
        if function == malloc || function == free || !is_part || !calls(function, malloc) {
            continue;
        }
        let frees = calls(function, free);
        let entry = match structure.shape(function) {
            Some((2, 1)) if frees => EntryPoint::Realloc,
            Some((2, 1)) => EntryPoint::Memalign,
            Some((3, 1)) if !frees => EntryPoint::PosixMemalign,
            _ => continue,
        };
        if entries.iter().any(|(known, _)| *known == entry) {
            return Vec::new();
        }
        entries.push((entry, function));
    }
    entries
}

struct Structure<'a> {
    module: &'a CoreModule<'a>,
    calls: &'a [Calls],
    growth: Reach,
    /// Bytes of the first memory at the start: constant addresses beyond it are no static data.
    memory: u64,
}

impl<'a> Structure<'a> {
    fn of(module: &'a CoreModule<'a>, calls: &'a [Calls]) -> Self {
        let memory = module.memories.first().map_or(0, |memory| {
            memory
                .initial
                .saturating_mul(1 << memory.page_size_log2.unwrap_or(16))
        });
        Self {
            module,
            calls,
            growth: Reach::growth(module, calls, &[], &[], Diverging::Ignored),
            memory,
        }
    }

    fn functions(&self) -> impl Iterator<Item = u32> {
        self.module.first_defined()..self.module.function_count()
    }

    fn calls_of(&self, function: u32) -> Option<&'a Calls> {
        let defined = function.checked_sub(self.module.first_defined())?;
        self.calls.get(defined as usize)
    }

    fn callees(&self, function: u32) -> impl Iterator<Item = u32> {
        let sites = self.calls_of(function).into_iter();
        sites
            .flat_map(|calls| &calls.sites)
            .filter(|site| !site.diverges)
            .filter_map(CallSite::function)
    }

    /// Numbers of parameters and results, if all are 32-bit integers.
    fn shape(&self, function: u32) -> Option<(usize, usize)> {
        let ty: &FuncType = self.module.signature(function)?;
        let mut types = ty.params().iter().chain(ty.results());
        types
            .all(|ty| *ty == ValType::I32)
            .then_some((ty.params().len(), ty.results().len()))
    }

    /// The words of static data that a function loads and stores.
    fn state_of(&self, function: u32) -> HashSet<u32> {
        let Some(calls) = self.calls_of(function) else {
            return HashSet::new();
        };
        let loads: HashSet<u32> = calls.accesses.loads.iter().copied().collect();
        let stores = calls.accesses.stores.iter().copied();
        stores
            .filter(|word| loads.contains(word) && u64::from(*word) < self.memory)
            .collect()
    }

    /// Whether a function has the state: it loads or stores words of it, and stores one at least.
    fn touches(&self, function: u32, state: &HashSet<u32>) -> bool {
        let Some(calls) = self.calls_of(function) else {
            return false;
        };
        let in_state = |words: &[u32]| -> HashSet<u32> {
            let words = words.iter().copied();
            words.filter(|word| state.contains(word)).collect()
        };
        let stores = in_state(&calls.accesses.stores);
        let loads = in_state(&calls.accesses.loads);
        !stores.is_empty() && stores.union(&loads).count() >= MIN_SHARED_WORDS
    }

    /// The one function with the signature of `malloc` that has enough state and may grow memory,
    /// and the one with the signature of `free` that has the same state and may not.
    ///
    /// Without `free`, an optimiser may have inlined the allocator, and what is left of `malloc`
    /// may have other parameters.
    fn malloc_and_free(&self) -> Option<(u32, u32)> {
        let like_malloc = self.functions().filter(|function| {
            self.shape(*function) == Some((1, 1)) && self.growth.function(*function)
        });
        only(like_malloc.filter_map(|malloc| {
            let state = self.state_of(malloc);
            let like_free = self.functions().filter(|function| {
                self.shape(*function) == Some((1, 0))
                    && !self.growth.function(*function)
                    && self.touches(*function, &state)
            });
            let free = only(like_free)?;
            (state.len() >= MIN_STATE_WORDS).then_some((malloc, free))
        }))
    }
}

/// The only item of an iterator.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}
