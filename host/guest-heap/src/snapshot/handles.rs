//! The handles of a snapshot by line and type.

use std::collections::HashMap;
use std::sync::Arc;

use super::UNATTRIBUTED;
use super::group::{GroupBy, GroupKey};
use crate::reading::{Context, Handles};
use crate::symbols::{Frame, Site, Symbols};

/// The handles of one type that one context has got.
#[derive(Debug, Clone)]
pub struct HandleEntry {
    /// The call stack, or the name of a synthetic context.
    pub context: Context,
    /// The source line that the context is attributed to.
    pub site: Arc<Site>,
    /// The type, as in [`HandleRecord::ty`](crate::HandleRecord::ty).
    pub ty: Arc<str>,
    /// Handles that the guest still has.
    pub live: u64,
    /// Handles that the context has ever got.
    pub made: u64,
}

/// The handles of one type for one line, function, file or call stack.
#[derive(Debug, Clone)]
pub struct HandleGroup {
    /// As in [`Group::location`](super::Group::location).
    pub location: Arc<str>,
    /// The site in the group with the most live handles.
    pub site: Arc<Site>,
    /// The type, as in [`HandleRecord::ty`](crate::HandleRecord::ty).
    pub ty: Arc<str>,
    /// Handles that the guest still has.
    pub live: u64,
    /// Handles ever got.
    pub made: u64,
    /// The call stack, innermost frame first. Empty unless grouped by call stack.
    pub frames: Vec<Frame>,
    pub(super) context: Option<Context>,
}

/// The handles of a reading with their lines.
pub(super) fn of_reading(
    handles: &Handles,
    context_of: impl Fn(u32) -> Option<Context>,
    symbols: &Symbols,
) -> Vec<HandleEntry> {
    let unknown = || Context::Synthetic(Arc::from(UNATTRIBUTED));
    let contexts = handles.records.iter();
    let contexts = contexts.map(|record| context_of(record.context).unwrap_or_else(unknown));
    let attributed = symbols.sites(contexts.collect());
    let attributed = attributed.into_iter().zip(&handles.records);
    attributed
        .map(|((context, site), record)| HandleEntry {
            context,
            site,
            ty: Arc::clone(&record.ty),
            live: record.live(),
            made: record.made,
        })
        .collect()
}

/// Sums handles by group and type: most live handles first, then most handles ever got.
pub(super) fn groups(by: GroupBy, entries: &[HandleEntry]) -> Vec<HandleGroup> {
    struct Sum<'a> {
        largest: &'a HandleEntry,
        live: u64,
        made: u64,
    }
    let mut sums: HashMap<(GroupKey<'_>, &str), Sum<'_>> = HashMap::new();
    for entry in entries {
        let sum = sums
            .entry((by.key(&entry.context, &entry.site), &entry.ty))
            .or_insert(Sum {
                largest: entry,
                live: 0,
                made: 0,
            });
        sum.live += entry.live;
        sum.made += entry.made;
        if entry.live > sum.largest.live {
            sum.largest = entry;
        }
    }
    let mut groups: Vec<HandleGroup> = sums
        .into_values()
        .map(|sum| HandleGroup {
            location: Arc::clone(by.location(&sum.largest.site)),
            site: Arc::clone(&sum.largest.site),
            ty: Arc::clone(&sum.largest.ty),
            live: sum.live,
            made: sum.made,
            frames: Vec::new(),
            context: (by == GroupBy::Trace).then(|| sum.largest.context.clone()),
        })
        .collect();
    groups.sort_by(|a, b| {
        (b.live, b.made)
            .cmp(&(a.live, a.made))
            .then_with(|| (&a.location, &a.ty).cmp(&(&b.location, &b.ty)))
    });
    groups
}
