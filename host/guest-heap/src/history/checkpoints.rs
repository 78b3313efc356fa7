//! The call stacks of a guest, once a minute.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::series::{OTHER, WINDOW, other_site};
use crate::diff::{Baseline, LiveUsage};
use crate::reading::Context;
use crate::snapshot::Snapshot;
use crate::symbols::Site;

/// Time between two checkpoints.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);
/// Tolerance of the interval: a reading that is a little early must not cost a whole interval.
const EARLY_TOLERANCE: Duration = Duration::from_millis(500);
/// Call stacks of one checkpoint. The smaller ones are merged into one entry.
const MAX_STACKS_PER_CHECKPOINT: usize = 1024;
/// Lines and types of one checkpoint whose handles are kept.
const MAX_HANDLE_LINES: usize = 256;
/// Bytes of all checkpoints with their stacks.
const MAX_CHECKPOINT_BYTES: usize = 900_000;

/// The checkpoints, oldest first.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    kept: VecDeque<(Duration, Baseline)>,
}

impl Checkpoints {
    pub(super) fn push(&mut self, now: Duration, snapshot: &Snapshot) {
        let due = CHECKPOINT_INTERVAL - EARLY_TOLERANCE;
        if self.kept.back().is_some_and(|(last, _)| now - *last < due) {
            return;
        }
        self.kept.push_back((now, largest(snapshot)));
        while self
            .kept
            .front()
            .is_some_and(|(at, _)| now - *at > WINDOW + CHECKPOINT_INTERVAL)
        {
            self.kept.pop_front();
        }
        while !self.kept.is_empty() && self.memory_bytes() > MAX_CHECKPOINT_BYTES {
            self.kept.pop_front();
        }
    }

    /// The checkpoint whose age is nearest to `ago`, and its age.
    pub(super) fn nearest(&self, now: Duration, ago: Duration) -> Option<(Baseline, Duration)> {
        let age = |at: Duration| now.saturating_sub(at);
        let (at, baseline) = self
            .kept
            .iter()
            .min_by_key(|(at, _)| age(*at).abs_diff(ago))?;
        Some((baseline.clone(), age(*at)))
    }

    /// Checkpoints share stacks with each other and with the symbols. This sum counts each stack
    /// once, even if the symbols hold it, too.
    pub(super) fn memory_bytes(&self) -> usize {
        let mut seen: HashSet<*const ()> = HashSet::new();
        let mut behind_pointers = 0;
        for entry in self
            .kept
            .iter()
            .flat_map(|(_, baseline)| baseline.entries())
        {
            let (context, bytes) = match &entry.context {
                Context::Stack(stack) => (Arc::as_ptr(stack).cast::<()>(), size_of_val(&**stack)),
                Context::Interpreted(stack) => {
                    (Arc::as_ptr(stack).cast::<()>(), stack.memory_bytes())
                }
                Context::Synthetic(text) => (Arc::as_ptr(text).cast::<()>(), text.len()),
            };
            if seen.insert(context) {
                behind_pointers += bytes + 2 * size_of::<usize>();
            }
            if seen.insert(Arc::as_ptr(&entry.site).cast()) {
                behind_pointers += size_of::<Site>() + 2 * size_of::<usize>();
            }
        }
        let baselines: usize = self
            .kept
            .iter()
            .map(|(_, baseline)| baseline.memory_bytes())
            .sum();
        behind_pointers + baselines + self.kept.capacity() * size_of::<(Duration, Baseline)>()
    }
}

/// The call stacks with the most live bytes, and the sum of the others.
fn largest(snapshot: &Snapshot) -> Baseline {
    let live = snapshot
        .entries()
        .iter()
        .filter(|entry| entry.usage.live_objects > 0);
    let mut entries: Vec<LiveUsage> = live.map(LiveUsage::from).collect();
    if entries.len() > MAX_STACKS_PER_CHECKPOINT {
        entries.select_nth_unstable_by_key(MAX_STACKS_PER_CHECKPOINT, |entry| {
            std::cmp::Reverse(entry.bytes)
        });
        let rest = entries.split_off(MAX_STACKS_PER_CHECKPOINT);
        entries.push(LiveUsage {
            context: Context::Synthetic(Arc::from(OTHER)),
            site: other_site(),
            bytes: rest.iter().map(|entry| entry.bytes).sum(),
            objects: rest.iter().map(|entry| entry.objects).sum(),
        });
    }
    entries.shrink_to_fit();
    Baseline::of_entries(entries, MAX_HANDLE_LINES, snapshot)
}
