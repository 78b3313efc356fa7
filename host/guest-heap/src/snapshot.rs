//! Snapshots: readings in which every context is attributed to a source line.
//!
//! A snapshot groups the heap by line, function, file or call stack. It shares its stacks with the
//! recorder and its sites with the [`Symbols`], so it takes about 72 bytes per context.

mod entry;
mod group;
mod growth;
mod handles;

use std::collections::HashMap;
use std::sync::Arc;

pub use entry::{Entry, Resized, Usage};
pub use group::{Group, GroupBy, ResizedGroup};
pub(crate) use group::{GroupKey, resized_groups};
pub use growth::{Growth, GrowthGroup};
pub use handles::{HandleEntry, HandleGroup};

use crate::coverage::Coverage;
use crate::reading::{Context, ContextRecord, Handles, Reading, Totals};
use crate::symbols::{Frame, Site, Symbols};

/// Name of the synthetic context for the bytes that the totals count and no context does.
pub(crate) const UNATTRIBUTED: &str = "unattributed";

/// The attributed heap of one guest at one time. It does not depend on the guest's store, so it
/// stays valid after the guest is gone.
#[derive(Clone)]
pub struct Snapshot {
    totals: Totals,
    coverage: Coverage,
    entries: Vec<Entry>,
    growths: Vec<Growth>,
    handles: Vec<HandleEntry>,
    /// Without records.
    handle_counts: Handles,
    symbols: Arc<Symbols>,
}

impl Snapshot {
    /// Attributes a reading. `context_of` maps the index of a record to its context.
    ///
    /// The bytes of a record without a context, whose stack is not captured yet, count as
    /// unattributed. So do bytes that only the totals of the reading count. Thus the entries always
    /// add up to at least the totals.
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
        let resized_by = |record: &ContextRecord| {
            let from = record.resizes.from.and_then(&context_of);
            (record.resizes.objects > 0).then(|| {
                Box::new(Resized {
                    objects: record.resizes.objects,
                    own_bytes: record.own_live_bytes(),
                    from: from.map(|context| symbols.site(&context)),
                })
            })
        };
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
            usages.push((usage, resized_by(record)));
        }
        if missing != Usage::default() {
            contexts.push(Context::Synthetic(Arc::from(UNATTRIBUTED)));
            usages.push((missing, None));
        }
        let attributed = symbols.sites(contexts).into_iter().zip(usages);
        let entries = attributed
            .map(|((context, site), (usage, resized))| Entry {
                context,
                site,
                usage,
                resized,
            })
            .collect();
        Self {
            totals: reading.totals,
            coverage: reading.coverage,
            entries,
            growths: growth::of_reading(reading, &context_of, &symbols),
            handles: handles::of_reading(&reading.handles, &context_of, &symbols),
            handle_counts: Handles {
                records: Vec::new(),
                gaps: Arc::clone(&reading.handles.gaps),
                ..reading.handles
            },
            symbols,
        }
    }

    /// The totals of the reading.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How much of the guest's memory the profiler had seen.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// One entry for each context that has ever allocated, in no particular order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The growth of linear memory by context, in no particular order. It adds up to all growth in
    /// instrumented code, so it is right even if the blocks are not.
    pub fn growths(&self) -> &[Growth] {
        &self.growths
    }

    /// The `limit` groups for which linear memory grew most, largest first.
    ///
    /// A group need not hold the memory: another one may have freed it, or may use it now.
    pub fn top_growth(&self, by: GroupBy, limit: usize) -> Vec<GrowthGroup> {
        let mut groups = growth::groups(by, &self.growths);
        groups.truncate(limit);
        if by == GroupBy::Trace {
            for group in &mut groups {
                let context = group.context.as_ref();
                group.frames = context.map_or_else(Vec::new, |context| self.frames(context));
            }
        }
        groups
    }

    /// The handles by context and type, in no particular order.
    pub fn handles(&self) -> &[HandleEntry] {
        &self.handles
    }

    /// Whether handles are counted, and which are not. It has no records.
    pub fn handle_counts(&self) -> &Handles {
        &self.handle_counts
    }

    /// Handles of all types that the guest has.
    pub fn live_handles(&self) -> u64 {
        self.handles.iter().map(|entry| entry.live).sum()
    }

    /// Handles of all types that the guest has ever got.
    pub fn made_handles(&self) -> u64 {
        self.handles.iter().map(|entry| entry.made).sum()
    }

    /// The `limit` groups with the most live handles, one for each type of handle, largest first.
    /// Includes groups without live handles.
    pub fn top_handles(&self, by: GroupBy, limit: usize) -> Vec<HandleGroup> {
        let mut groups = handles::groups(by, &self.handles);
        groups.truncate(limit);
        for group in &mut groups {
            let context = group.context.as_ref();
            group.frames = context.map_or_else(Vec::new, |context| self.frames(context));
        }
        groups
    }

    /// The symbols that resolve the contexts.
    pub fn symbols(&self) -> &Arc<Symbols> {
        &self.symbols
    }

    /// All frames of a context, innermost first.
    pub fn frames(&self, context: &Context) -> Vec<Frame> {
        self.symbols.frames(context)
    }

    /// The `limit` groups with the most live bytes, largest first. Omits groups without live
    /// blocks.
    pub fn top(&self, by: GroupBy, limit: usize) -> Vec<Group> {
        let live = self
            .entries
            .iter()
            .filter(|entry| entry.usage.live_objects > 0);
        let mut groups: Vec<Group> = group::sum_by_group(by, live);
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

    /// The usage of each line, which a history stores.
    pub fn lines(&self) -> HashMap<Arc<Site>, Usage> {
        group::sum_by_group(GroupBy::Line, self.entries.iter())
            .into_iter()
            .map(|group| (group.site, group.usage))
            .collect()
    }

    /// Bytes of memory that the snapshot takes, without the stacks and symbols that it shares.
    pub fn memory_bytes(&self) -> usize {
        let resized = self.entries.iter().filter(|entry| entry.resized.is_some());
        size_of::<Self>()
            + self.entries.capacity() * size_of::<Entry>()
            + resized.count() * size_of::<Resized>()
            + self.growths.capacity() * size_of::<Growth>()
            + self.handles.capacity() * size_of::<HandleEntry>()
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
