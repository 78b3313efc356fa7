//! Call stacks once a minute.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{OTHER, WINDOW};
use crate::diff::{Baseline, Held};
use crate::reading::Context;
use crate::snapshot::Snapshot;
use crate::symbols::Site;

/// How often call stacks are kept.
const INTERVAL: Duration = Duration::from_secs(60);
/// Call stacks of one moment; the smaller ones are kept as one sum.
const MAX_STACKS: usize = 1024;
/// Bytes of all moments together, their stacks included.
const BUDGET: usize = 900_000;

/// The kept moments, oldest first.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    kept: VecDeque<(Duration, Baseline)>,
}

impl Checkpoints {
    pub(super) fn push(&mut self, now: Duration, snapshot: &Snapshot) {
        // A tick that comes a little early must not cost a whole interval.
        let due = INTERVAL - Duration::from_millis(500);
        if self.kept.back().is_some_and(|(last, _)| now - *last < due) {
            return;
        }
        self.kept.push_back((now, largest(snapshot)));
        while self
            .kept
            .front()
            .is_some_and(|(at, _)| now - *at > WINDOW + INTERVAL)
        {
            self.kept.pop_front();
        }
        while !self.kept.is_empty() && self.memory_bytes() > BUDGET {
            self.kept.pop_front();
        }
    }

    pub(super) fn nearest(&self, now: Duration, ago: Duration) -> Option<(Baseline, Duration)> {
        let age = |at: Duration| now.saturating_sub(at);
        let (at, baseline) = self
            .kept
            .iter()
            .min_by_key(|(at, _)| age(*at).abs_diff(ago))?;
        Some((baseline.clone(), age(*at)))
    }

    /// Stacks are shared between moments and with the symbols; each is counted once here, whoever else holds it.
    pub(super) fn memory_bytes(&self) -> usize {
        let mut seen: HashSet<*const ()> = HashSet::new();
        let mut behind_pointers = 0;
        for held in self.kept.iter().flat_map(|(_, baseline)| baseline.held()) {
            let (stack, bytes) = match &held.context {
                Context::Stack(stack) => (Arc::as_ptr(stack).cast::<()>(), size_of_val(&**stack)),
                Context::Synthetic(text) => (Arc::as_ptr(text).cast::<()>(), text.len()),
            };
            if seen.insert(stack) {
                behind_pointers += bytes + 2 * size_of::<usize>();
            }
            if seen.insert(Arc::as_ptr(&held.site).cast()) {
                behind_pointers += size_of::<Site>() + 2 * size_of::<usize>();
            }
        }
        let moments: usize = self
            .kept
            .iter()
            .map(|(_, baseline)| baseline.memory_bytes())
            .sum();
        behind_pointers + moments + self.kept.capacity() * size_of::<(Duration, Baseline)>()
    }
}

/// What holds the most, and the rest as one.
fn largest(snapshot: &Snapshot) -> Baseline {
    let live = snapshot
        .entries()
        .iter()
        .filter(|entry| entry.usage.live_objects > 0);
    let mut held: Vec<Held> = live.map(Held::from).collect();
    if held.len() > MAX_STACKS {
        held.select_nth_unstable_by_key(MAX_STACKS, |held| std::cmp::Reverse(held.bytes));
        let rest = held.split_off(MAX_STACKS);
        held.push(Held {
            context: Context::Synthetic(Arc::from(OTHER)),
            site: super::lines::other_site(),
            bytes: rest.iter().map(|held| held.bytes).sum(),
            objects: rest.iter().map(|held| held.objects).sum(),
        });
    }
    held.shrink_to_fit();
    Baseline::from_held(held, snapshot.symbols().build())
}
