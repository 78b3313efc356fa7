//! A timed reading with every context attributed: who holds how much, by line, function, file or call stack.
//!
//! A snapshot shares its stacks with the recorder and its sites with the [`Symbols`], so it costs about 72 bytes per context.

mod group;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use group::Key;
pub use group::{Group, GroupBy};

use crate::reading::{Context, Reading, Totals};
use crate::symbols::{Frame, Site, Symbols};

/// The context that stands for what the books' totals count and no context does.
const UNATTRIBUTED: &str = "unattributed";

/// How much a place holds, and how much it ever allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes allocated and not freed.
    pub live_bytes: u64,
    /// Blocks allocated and not freed.
    pub live_objects: u64,
    /// Bytes ever allocated.
    pub allocated_bytes: u64,
    /// Blocks ever allocated.
    pub allocated_objects: u64,
}

impl Usage {
    pub(crate) fn add(&mut self, other: Usage) {
        self.live_bytes += other.live_bytes;
        self.live_objects += other.live_objects;
        self.allocated_bytes += other.allocated_bytes;
        self.allocated_objects += other.allocated_objects;
    }
}

/// One context of a snapshot.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its stack.
    pub context: Context,
    /// What it is attributed to.
    pub site: Arc<Site>,
    /// What it holds.
    pub usage: Usage,
}

/// The attributed books of one guest at one moment. Readable as long as it is kept, whatever becomes of the guest.
#[derive(Clone)]
pub struct Snapshot {
    totals: Totals,
    entries: Vec<Entry>,
    symbols: Arc<Symbols>,
}

impl Snapshot {
    /// Attributes a reading. `context_of` maps a record's index to its context; a record that has none (its stack was not
    /// taken yet) counts as unattributed, and so does what only the totals know, so that the sums over all entries always
    /// reach the totals of the reading.
    pub fn new(
        reading: &Reading,
        context_of: impl Fn(u32) -> Option<Context>,
        symbols: Arc<Symbols>,
    ) -> Self {
        let mut missing = Usage {
            live_bytes: reading.totals.live_bytes,
            live_objects: reading.totals.live_objects,
            allocated_bytes: reading.totals.allocated_bytes,
            allocated_objects: reading.totals.allocated_objects,
        };
        let mut contexts = Vec::with_capacity(reading.contexts.len());
        let mut usages = Vec::with_capacity(reading.contexts.len());
        for record in reading
            .contexts
            .iter()
            .filter(|record| record.allocated_objects > 0)
        {
            let Some(context) = context_of(record.index) else {
                continue;
            };
            let usage = Usage {
                live_bytes: record.allocated_bytes.saturating_sub(record.freed_bytes),
                live_objects: record
                    .allocated_objects
                    .saturating_sub(record.freed_objects),
                allocated_bytes: record.allocated_bytes,
                allocated_objects: record.allocated_objects,
            };
            missing = Usage {
                live_bytes: missing.live_bytes.saturating_sub(usage.live_bytes),
                live_objects: missing.live_objects.saturating_sub(usage.live_objects),
                allocated_bytes: missing
                    .allocated_bytes
                    .saturating_sub(usage.allocated_bytes),
                allocated_objects: missing
                    .allocated_objects
                    .saturating_sub(usage.allocated_objects),
            };
            contexts.push(context);
            usages.push(usage);
        }
        if missing != Usage::default() {
            contexts.push(Context::Synthetic(Arc::from(UNATTRIBUTED)));
            usages.push(missing);
        }
        let attributed = symbols.sites(contexts).into_iter().zip(usages);
        let entries = attributed
            .map(|((context, site), usage)| Entry {
                context,
                site,
                usage,
            })
            .collect();
        Self {
            totals: reading.totals,
            entries,
            symbols,
        }
    }

    /// The totals of the reading.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// One entry per context that ever allocated, in no particular order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The symbols that the contexts refer to.
    pub fn symbols(&self) -> &Arc<Symbols> {
        &self.symbols
    }

    /// Every frame of a context, innermost first.
    pub fn frames(&self, context: &Context) -> Vec<Frame> {
        self.symbols.frames(context)
    }

    /// The `limit` groups that hold the most, largest first. Groups that hold nothing are left out.
    pub fn top(&self, by: GroupBy, limit: usize) -> Vec<Group> {
        let live = self
            .entries
            .iter()
            .filter(|entry| entry.usage.live_objects > 0);
        let mut groups: Vec<Group> = group::gather(by, live);
        group::keep_largest(&mut groups, limit, |group| {
            (group.usage.live_bytes, group.usage.live_objects)
        });
        if by == GroupBy::Trace {
            for group in &mut groups {
                group.frames = group
                    .context
                    .as_ref()
                    .map(|context| self.frames(context))
                    .unwrap_or_default();
            }
        }
        groups
    }

    /// What every line holds: the form that a history keeps.
    pub fn lines(&self) -> HashMap<Arc<Site>, Usage> {
        group::gather(GroupBy::Line, self.entries.iter())
            .into_iter()
            .map(|group| (group.site, group.usage))
            .collect()
    }

    /// Bytes that the snapshot holds itself, without the stacks and symbols that it shares.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.entries.capacity() * size_of::<Entry>()
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("totals", &self.totals)
            .field("entries", &self.entries.len())
            .finish()
    }
}
