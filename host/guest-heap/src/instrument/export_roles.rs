//! How a component uses the exports of a core module.

use std::collections::HashSet;

/// How the component uses the exports of a module, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct ExportRoles {
    /// Exports that `canon lift` makes functions of the component.
    pub(super) lifted: HashSet<String>,
    /// Exports by which the host allocates memory for arguments and results.
    pub(super) reallocs: HashSet<String>,
    /// Exports that free the results of a lifted function.
    pub(super) post_returns: HashSet<String>,
    /// Exports by which the host continues a lifted function that waits.
    pub(super) callbacks: HashSet<String>,
    /// Exports that destroy a resource.
    pub(super) destructors: HashSet<String>,
    /// Whether a call may be suspended on a stack of its own while others run.
    pub(super) suspends_calls: bool,
}

impl ExportRoles {
    /// Whether the host calls the export, directly or for another component.
    pub(super) fn contains(&self, export: &str) -> bool {
        [
            &self.lifted,
            &self.reallocs,
            &self.post_returns,
            &self.callbacks,
            &self.destructors,
        ]
        .iter()
        .any(|exports| exports.contains(export))
    }

    /// Adds the roles that another component gives the same module.
    pub(super) fn merge(&mut self, other: Self) {
        self.lifted.extend(other.lifted);
        self.reallocs.extend(other.reallocs);
        self.post_returns.extend(other.post_returns);
        self.callbacks.extend(other.callbacks);
        self.destructors.extend(other.destructors);
        self.suspends_calls |= other.suspends_calls;
    }
}
