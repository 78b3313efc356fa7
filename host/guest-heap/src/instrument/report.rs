//! The report of what instrumenting has changed.

use super::allocator::Allocator;

/// What instrumenting has changed in a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The instrumented modules.
    pub modules: Vec<ModuleReport>,
    /// Size of the original component, in bytes.
    pub component_bytes_before: usize,
    /// Size of the instrumented component, in bytes. Its instrumented modules have no line tables.
    pub component_bytes_after: usize,
}

/// What instrumenting has changed in one core module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleReport {
    /// Index of the core module in the component.
    pub index: u32,
    /// The allocator entry points that hooks replace, such as `malloc`.
    pub entry_points: Vec<&'static str>,
    /// Number of functions that the module defines, without the replaced entry points.
    pub functions: usize,
    /// Number of functions that track the calling context.
    pub tracked_functions: usize,
    /// Number of calls before which the instrumented code sets the calling context.
    pub call_sites: usize,
    /// Size of the original code section, in bytes.
    pub code_bytes_before: usize,
    /// Size of the instrumented code section with the profiler's runtime, in bytes.
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
