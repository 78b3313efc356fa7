//! What instrumenting has done.

use super::allocator::Allocator;

/// What has been done to a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The instrumented modules.
    pub modules: Vec<ModuleReport>,
    /// Size of the original component.
    pub component_bytes_before: usize,
    /// Size of the instrumented one, which has no line tables.
    pub component_bytes_after: usize,
}

/// What has been done to one core module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleReport {
    /// The core module's index in the component.
    pub index: u32,
    /// The allocator entry points that were found.
    pub entry_points: Vec<&'static str>,
    /// Functions of its own, the entry points not counted.
    pub functions: usize,
    /// Functions that keep track of the calling context.
    pub tracked_functions: usize,
    /// Calls before which it is set.
    pub call_sites: usize,
    /// Size of the code section.
    pub code_bytes_before: usize,
    /// The same with the profiler's runtime in it.
    pub code_bytes_after: usize,
}

impl ModuleReport {
    pub(super) fn new(index: u32, allocator: &Allocator) -> Self {
        Self {
            index,
            entry_points: allocator
                .entries
                .iter()
                .map(|(entry, _)| entry.name())
                .collect(),
            ..Self::default()
        }
    }
}
