//! Readings of the ledger of handles.

use std::sync::Arc;

use crate::grouped;

/// The handles of the component model that a guest holds: resources, streams, futures and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handles {
    /// Whether handles are counted. If not, their number is not known, unless `gaps` is empty: then
    /// the component has none.
    pub are_counted: bool,
    /// The handles by context and type.
    pub records: Vec<HandleRecord>,
    /// Handles that the profiler could not follow, because their number in the table of the
    /// instance is above 65,535. They are in no record.
    pub untracked: u64,
    /// What is not counted, as clauses such as `handles that travel in streams and futures`.
    pub gaps: Arc<[Arc<str>]>,
}

/// The handles of one type that one calling context has got since instantiation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandleRecord {
    /// Number of the context, as in [`ContextRecord`](crate::ContextRecord).
    pub context: u32,
    /// The type, such as `wasi:io/poll.pollable` or `stream (readable end)`.
    pub ty: Arc<str>,
    /// Handles ever got.
    pub made: u64,
    /// Of these, handles that the guest has dropped or passed on.
    pub ended: u64,
}

impl HandleRecord {
    /// Handles that the guest still has.
    pub fn live(&self) -> u64 {
        self.made.saturating_sub(self.ended)
    }
}

impl Handles {
    /// Whether the number of handles is known: they are counted, or the component has none.
    pub fn are_known(&self) -> bool {
        self.are_counted || self.gaps.is_empty()
    }

    /// What is in no record, as clauses for people.
    pub fn not_counted(&self) -> Vec<String> {
        let mut clauses: Vec<String> = self.gaps.iter().map(ToString::to_string).collect();
        if self.untracked > 0 {
            clauses.push(format!(
                "{} handles beyond the first 65,535 that were live at once",
                grouped(self.untracked)
            ));
        }
        clauses
    }

    /// Handles of all types that the guest still has, without the untracked ones.
    pub fn live(&self) -> u64 {
        let live = self.records.iter().map(HandleRecord::live);
        live.fold(0, u64::saturating_add)
    }
}
