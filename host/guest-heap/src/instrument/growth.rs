//! Finds where memory may grow while no allocator entry point runs.

use super::allocator::Allocator;
use super::audit::Audit;
use super::calls::Calls;
use super::reach::{Diverging, Reach};
use super::scan::CoreModule;

/// Whether growths of memory in this module count. A module without an allocator that works in the
/// memory of another one does not: the adapter between WASI versions is such a module.
pub(super) fn counts_growth(module: &CoreModule<'_>, allocator: &Allocator) -> bool {
    !allocator.entries.is_empty() || !module.imports_memory
}

/// Where memory may grow while no entry point runs.
pub(super) struct GrowthTracking {
    /// Functions from which the growth of memory may be reached without an entry point.
    pub(super) reach: Reach,
    /// The same. Calls that do not return count.
    pub(super) full_reach: Reach,
    /// By function index: functions that may run while no entry point runs.
    pub(super) outside: Vec<bool>,
}

impl GrowthTracking {
    /// `hooks` are the entry points, in which growth is not tracked. `is_realloc` says by which
    /// exports the host allocates.
    pub(super) fn of(
        module: &CoreModule<'_>,
        calls: &[Calls],
        hooks: &[u32],
        audit: &Audit,
        is_realloc: impl Fn(&str) -> bool,
        diverging: Diverging,
    ) -> Self {
        let reach =
            |seeds: &[u32], diverging| Reach::growth(module, calls, seeds, hooks, diverging);
        let direct = reach(&[], diverging);
        // If memory may grow while the host lowers results, it may grow in each call of an import.
        let mut exports = module.exports.iter();
        let lowering_grows =
            exports.any(|(name, function)| is_realloc(name) && direct.function(*function));
        let imports: Vec<u32> = if lowering_grows {
            (0..module.first_defined()).collect()
        } else {
            Vec::new()
        };
        Self {
            reach: reach(&imports, diverging),
            full_reach: reach(&imports, Diverging::Counts),
            outside: audit.outside.clone(),
        }
    }

    pub(super) fn is_outside(&self, function: u32) -> bool {
        self.outside.get(function as usize) == Some(&true)
    }
}
