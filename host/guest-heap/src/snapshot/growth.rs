//! The growth of linear memory by context.

use std::collections::HashMap;
use std::sync::Arc;

use super::UNATTRIBUTED;
use super::group::{GroupBy, GroupKey};
use crate::reading::{Context, Reading};
use crate::symbols::{Frame, Site, Symbols};

/// The growth of linear memory in one context.
#[derive(Debug, Clone)]
pub struct Growth {
    /// The call stack, or the name of a synthetic context. `unattributed` stands for growth without
    /// a context, such as that of an entry point that frees.
    pub context: Context,
    /// The source line that the context is attributed to.
    pub site: Arc<Site>,
    /// Bytes by which linear memory grew. Memory grows in pages of 64 KiB.
    pub bytes: u64,
    /// The part of these bytes that came without an allocator entry point.
    pub unseen_bytes: u64,
}

/// The growth of linear memory for one line, function, file or call stack.
#[derive(Debug, Clone)]
pub struct GrowthGroup {
    /// As in [`Group::location`](super::Group::location).
    pub location: Arc<str>,
    /// The site in the group with the most growth.
    pub site: Arc<Site>,
    /// The sum over the group: see [`Growth::bytes`].
    pub bytes: u64,
    /// The sum over the group: see [`Growth::unseen_bytes`].
    pub unseen_bytes: u64,
    /// The call stack, innermost frame first. Empty unless grouped by call stack.
    pub frames: Vec<Frame>,
    pub(super) context: Option<Context>,
}

/// The growths of a reading. They add up to all growth in instrumented code.
pub(super) fn of_reading(
    reading: &Reading,
    context_of: impl Fn(u32) -> Option<Context>,
    symbols: &Symbols,
) -> Vec<Growth> {
    let coverage = &reading.coverage;
    let mut missing = (
        coverage
            .heap_seen_bytes
            .saturating_add(coverage.heap_unseen_bytes),
        coverage.heap_unseen_bytes,
    );
    let mut contexts = Vec::new();
    let mut bytes = Vec::new();
    let grown = reading
        .contexts
        .iter()
        .filter(|record| record.grown_bytes() > 0);
    for record in grown {
        let Some(context) = context_of(record.index) else {
            continue;
        };
        let grown = (record.grown_bytes(), record.unseen_bytes);
        missing = (
            missing.0.saturating_sub(grown.0),
            missing.1.saturating_sub(grown.1),
        );
        contexts.push(context);
        bytes.push(grown);
    }
    if missing.0 > 0 {
        contexts.push(Context::Synthetic(Arc::from(UNATTRIBUTED)));
        bytes.push(missing);
    }
    let attributed = symbols.sites(contexts).into_iter().zip(bytes);
    attributed
        .map(|((context, site), (bytes, unseen_bytes))| Growth {
            context,
            site,
            bytes,
            unseen_bytes,
        })
        .collect()
}

/// Sums growths by group, largest first, then by location.
pub(super) fn groups(by: GroupBy, growths: &[Growth]) -> Vec<GrowthGroup> {
    struct Sum<'a> {
        largest: &'a Growth,
        bytes: u64,
        unseen_bytes: u64,
    }
    let mut sums: HashMap<GroupKey<'_>, Sum<'_>> = HashMap::new();
    for growth in growths {
        let sum = sums
            .entry(by.key(&growth.context, &growth.site))
            .or_insert(Sum {
                largest: growth,
                bytes: 0,
                unseen_bytes: 0,
            });
        sum.bytes += growth.bytes;
        sum.unseen_bytes += growth.unseen_bytes;
        if growth.bytes > sum.largest.bytes {
            sum.largest = growth;
        }
    }
    let mut groups: Vec<GrowthGroup> = sums
        .into_values()
        .map(|sum| GrowthGroup {
            location: Arc::clone(by.location(&sum.largest.site)),
            site: Arc::clone(&sum.largest.site),
            bytes: sum.bytes,
            unseen_bytes: sum.unseen_bytes,
            frames: Vec::new(),
            context: (by == GroupBy::Trace).then(|| sum.largest.context.clone()),
        })
        .collect();
    groups.sort_by(|a, b| {
        b.bytes
            .cmp(&a.bytes)
            .then_with(|| a.location.cmp(&b.location))
    });
    groups
}
