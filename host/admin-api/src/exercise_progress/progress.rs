//! Which steps of the exercises are done, judged from readings of the leaks and from the calls that
//! were answered. Nothing here reads a host, so the judgement can be tested with made-up readings.

use std::collections::{BTreeMap, BTreeSet};

use super::step::{
    ALL_REQUESTS, BURST_REQUESTS, DIFF_REQUESTS, IDLE_REQUESTS, LEAK_REQUESTS, SETTLED_REQUESTS,
    Step,
};

const CACHE: &str = "cache";
const LISTENERS: &str = "listeners";
const HISTORY: &str = "history";

/// A reading of one leak.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LeakReading {
    pub(super) enabled: bool,
    /// Whether its variant is the leaky one.
    pub(super) leaky: bool,
    /// Distinguishes the instance from every other one of this leak.
    pub(super) instance: (u64, u64),
    /// Requests that this instance was offered.
    pub(super) requests: u64,
    pub(super) retained_bytes: u64,
    pub(super) linear_bytes: u64,
}

impl LeakReading {
    fn leaks(&self) -> bool {
        self.enabled && self.leaky
    }

    /// Whether it holds more than at an earlier reading of the same instance.
    fn has_grown_since(&self, then: &LeakReading) -> bool {
        self.retained_bytes > then.retained_bytes || self.linear_bytes > then.linear_bytes
    }
}

/// A reading of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Requests to `/api/data` since the start.
    pub(super) requests: u64,
    pub(super) leaks: BTreeMap<String, LeakReading>,
}

impl Reading {
    fn leaks(&self, id: &str) -> bool {
        self.leaks.get(id).is_some_and(LeakReading::leaks)
    }

    fn all_off(&self) -> bool {
        self.leaks.values().all(|leak| !leak.enabled)
    }
}

/// What a client has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing that an exercise asks for.
    Other,
    /// It read the memory of the process.
    ReadMemory,
    /// It read the state of the leaks.
    ReadStatus,
    /// It looked at the overview of the console, which has both.
    ReadOverview,
    /// It took a baseline of the heaps.
    SetBaseline,
    /// It compared the heaps with a baseline, and these plugins grew. The call may have taken a
    /// baseline for the next one.
    ReadDiff {
        grown: Vec<String>,
        sets_baseline: bool,
    },
    /// It read what each line holds.
    ReadSnapshot,
    /// It cleared leaks; those that dropped objects.
    Cleared { dropped: Vec<String> },
    /// It returned memory; the plugins with a fresh instance.
    Collected { recycled: Vec<String> },
}

/// The progress through the exercises. A step that is done stays done.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    done: BTreeSet<Step>,
    last: Reading,
    /// Requests that each leak has received in its leaky variant.
    leaked: BTreeMap<String, u64>,
    /// Requests while every leak was off.
    idle: u64,
    /// The number of requests when a leak grew for the last time.
    flat_since: u64,
    /// The requests that the cache had leaked when exercise 2 was done.
    before_burst: u64,
    /// The requests that the cache had leaked at the baseline.
    at_baseline: u64,
    /// `leaked` when all three leaks were on for the first time in a row.
    all_on_since: Option<BTreeMap<String, u64>>,
}

impl Progress {
    /// The progress of a learner who has done these steps.
    pub(super) fn restored(done: BTreeSet<Step>) -> Self {
        Progress {
            done,
            ..Progress::default()
        }
    }

    /// Forgets the steps. What has happened before does not count for them.
    pub(super) fn start_over(&mut self) {
        let last = std::mem::take(&mut self.last);
        *self = Progress {
            flat_since: last.requests,
            last,
            ..Progress::default()
        };
    }

    pub(super) fn is_done(&self, step: Step) -> bool {
        self.done.contains(&step)
    }

    pub(super) fn done(&self) -> impl Iterator<Item = Step> {
        self.done.iter().copied()
    }

    /// Judges one action, or the mere passing of time, with the reading after it.
    pub(super) fn observe(&mut self, now: Reading, action: &Action) {
        self.count(&now);
        self.judge(&now, action);
        self.last = now;
    }

    /// Adds up the requests since the last reading.
    fn count(&mut self, now: &Reading) {
        let mut offered = 0;
        let mut grown = false;
        for (id, leak) in &now.leaks {
            let before = self.last.leaks.get(id);
            let before = before.filter(|then| then.instance == leak.instance);
            let added = leak
                .requests
                .saturating_sub(before.map_or(0, |then| then.requests));
            offered += added;
            grown |= before.is_some_and(|then| leak.has_grown_since(then));
            if leak.leaky {
                *self.leaked.entry(id.clone()).or_default() += added;
            }
        }
        if self.last.all_off() && now.all_off() && offered == 0 {
            self.idle += now.requests.saturating_sub(self.last.requests);
        }
        if grown {
            self.flat_since = now.requests;
        }
        if [CACHE, LISTENERS, HISTORY].iter().all(|id| now.leaks(id)) {
            self.all_on_since.get_or_insert_with(|| self.leaked.clone());
        } else {
            self.all_on_since = None;
        }
    }

    fn judge(&mut self, now: &Reading, action: &Action) {
        let reads_memory = matches!(action, Action::ReadMemory | Action::ReadOverview);
        let reads_status = matches!(action, Action::ReadStatus | Action::ReadOverview);
        let reads = reads_memory || reads_status;
        let dropped = |id: &str| matches!(action, Action::Cleared { dropped } if dropped.iter().any(|d| d == id));
        // Each rule may need the ones before it, so the order counts.
        self.mark(Step::StatusRead, reads_status && now.all_off());
        // One look is not two: the second one compares the memory with the first.
        let has_compared = reads_memory && self.is_done(Step::MemoryRead);
        self.mark(Step::MemoryRead, reads_memory && now.all_off());
        self.mark(Step::IdleRequests, self.idle >= IDLE_REQUESTS);
        self.mark_after(
            Step::IdleRequests,
            Step::IdleFlat,
            has_compared && now.all_off() && self.flat_for(now) >= IDLE_REQUESTS,
        );

        let cache = self.leaked_by(CACHE);
        self.mark(Step::CacheOn, now.leaks(CACHE));
        self.mark_after(Step::CacheOn, Step::CacheRequests, cache >= LEAK_REQUESTS);
        if self.mark_after(Step::CacheRequests, Step::CacheRead, reads) {
            self.before_burst = cache;
        }
        let burst = cache.saturating_sub(self.before_burst) >= BURST_REQUESTS;
        self.mark_after(Step::CacheRead, Step::Burst, burst);
        self.mark_after(Step::Burst, Step::BurstRead, reads_status);

        // Before the action: a diff takes a baseline for the next one.
        let since_baseline = cache.saturating_sub(self.at_baseline) >= DIFF_REQUESTS;
        self.mark_after(Step::BaselineSet, Step::DiffRequests, since_baseline);
        let sets_baseline = matches!(
            action,
            Action::SetBaseline
                | Action::ReadDiff {
                    sets_baseline: true,
                    ..
                }
        );
        if sets_baseline && !self.is_done(Step::DiffRequests) {
            self.done.insert(Step::BaselineSet);
            self.at_baseline = cache;
        }
        let grew =
            matches!(action, Action::ReadDiff { grown, .. } if grown.iter().any(|id| id == CACHE));
        self.mark_after(Step::DiffRequests, Step::DiffRead, grew);
        self.mark_after(
            Step::BaselineSet,
            Step::SnapshotRead,
            *action == Action::ReadSnapshot,
        );

        self.mark(Step::Cleared, dropped(CACHE));
        let recycled = matches!(action, Action::Collected { recycled } if recycled.iter().any(|id| id == CACHE));
        self.mark_after(Step::Cleared, Step::Collected, recycled);
        if self.mark_after(Step::Cleared, Step::CacheOff, !now.leaks(CACHE)) {
            self.flat_since = now.requests;
        }
        let settled = self.flat_for(now) >= SETTLED_REQUESTS;
        self.mark_after(Step::CacheOff, Step::Settled, settled);

        for (id, requests, cleared) in [
            (LISTENERS, Step::ListenersRequests, Step::ListenersCleared),
            (HISTORY, Step::HistoryRequests, Step::HistoryCleared),
        ] {
            self.mark(requests, self.leaked_by(id) >= SETTLED_REQUESTS);
            self.mark_after(requests, cleared, dropped(id));
        }
        self.mark(Step::AllOn, self.all_on_for() >= ALL_REQUESTS);
    }

    /// Marks a step as done. True if it was not done before.
    fn mark(&mut self, step: Step, is_done: bool) -> bool {
        is_done && self.done.insert(step)
    }

    /// The same for a step that needs another one.
    fn mark_after(&mut self, needed: Step, step: Step, is_done: bool) -> bool {
        let is_done = is_done && self.is_done(needed);
        self.mark(step, is_done)
    }

    fn leaked_by(&self, id: &str) -> u64 {
        self.leaked.get(id).copied().unwrap_or(0)
    }

    /// The requests since a leak last grew.
    fn flat_for(&self, now: &Reading) -> u64 {
        now.requests.saturating_sub(self.flat_since)
    }

    /// The requests that each of the three leaks has received since all of them are on.
    fn all_on_for(&self) -> u64 {
        let Some(since) = &self.all_on_since else {
            return 0;
        };
        let added = |id: &str| {
            self.leaked_by(id)
                .saturating_sub(since.get(id).copied().unwrap_or(0))
        };
        [CACHE, LISTENERS, HISTORY]
            .map(added)
            .into_iter()
            .min()
            .unwrap_or(0)
    }

    /// What is missing for a step, in one sentence; `None` if it is done.
    pub(super) fn missing(&self, step: Step) -> Option<String> {
        if self.is_done(step) {
            return None;
        }
        let more = |wanted: u64, had: u64, how: &str| {
            let left = wanted.saturating_sub(had);
            let plural = if left == 1 { "" } else { "s" };
            format!("Send {left} more request{plural}{how}.")
        };
        let now = &self.last;
        let cache = self.leaked_by(CACHE);
        let on = |id: &str| format!("Switch on the leaky variant of `{id}`.");
        let first = |needed: Step| format!("Do step {} first.", needed.id());
        let while_on = |id: &str, wanted: u64, had: u64| {
            if now.leaks(id) {
                more(wanted, had, &format!(" while `{id}` is on"))
            } else {
                on(id)
            }
        };
        Some(match step {
            Step::StatusRead => "Read `/admin/leaks/status` while every leak is off.".into(),
            Step::MemoryRead => "Read `/admin/memory` while every leak is off.".into(),
            Step::IdleRequests if !now.all_off() => "Switch every leak off first.".into(),
            Step::IdleRequests => more(IDLE_REQUESTS, self.idle, " while every leak is off"),
            Step::IdleFlat if !self.is_done(Step::IdleRequests) => first(Step::IdleRequests),
            Step::IdleFlat => {
                "Read `/admin/memory` after the requests, with every leak off.".into()
            }
            Step::CacheOn => on(CACHE),
            Step::CacheRequests => while_on(CACHE, LEAK_REQUESTS, cache),
            Step::CacheRead if !self.is_done(Step::CacheRequests) => first(Step::CacheRequests),
            Step::CacheRead => "Read `/admin/leaks/status` after the requests.".into(),
            Step::Burst if !self.is_done(Step::CacheRead) => first(Step::CacheRead),
            Step::Burst => while_on(
                CACHE,
                BURST_REQUESTS,
                cache.saturating_sub(self.before_burst),
            ),
            Step::BurstRead if !self.is_done(Step::Burst) => first(Step::Burst),
            Step::BurstRead => "Read `/admin/leaks/status` after the burst.".into(),
            Step::BaselineSet => {
                "Call `/admin/memory/diff` for the first time, or set a named baseline.".into()
            }
            Step::DiffRequests if !self.is_done(Step::BaselineSet) => first(Step::BaselineSet),
            Step::DiffRequests => {
                while_on(CACHE, DIFF_REQUESTS, cache.saturating_sub(self.at_baseline))
            }
            Step::DiffRead if !self.is_done(Step::DiffRequests) => first(Step::DiffRequests),
            Step::DiffRead => "Call `/admin/memory/diff` again after the requests.".into(),
            Step::SnapshotRead if !self.is_done(Step::BaselineSet) => first(Step::BaselineSet),
            Step::SnapshotRead => "Read `/admin/memory/snapshot`.".into(),
            Step::Cleared => "Clear `cache` while it retains something.".into(),
            Step::Collected if !self.is_done(Step::Cleared) => first(Step::Cleared),
            Step::Collected => {
                "Call `/admin/gc` while `cache` retains nothing: it replaces the instance.".into()
            }
            Step::CacheOff if !self.is_done(Step::Cleared) => first(Step::Cleared),
            Step::CacheOff => "Switch `cache` off, or set its variant to `fixed`.".into(),
            Step::Settled if !self.is_done(Step::CacheOff) => first(Step::CacheOff),
            Step::Settled => more(SETTLED_REQUESTS, self.flat_for(now), " without growth"),
            Step::ListenersRequests => {
                while_on(LISTENERS, SETTLED_REQUESTS, self.leaked_by(LISTENERS))
            }
            Step::ListenersCleared if !self.is_done(Step::ListenersRequests) => {
                first(Step::ListenersRequests)
            }
            Step::ListenersCleared => "Clear `listeners` while it retains something.".into(),
            Step::HistoryRequests => while_on(HISTORY, SETTLED_REQUESTS, self.leaked_by(HISTORY)),
            Step::HistoryCleared if !self.is_done(Step::HistoryRequests) => {
                first(Step::HistoryRequests)
            }
            Step::HistoryCleared => "Clear `history` while it retains something.".into(),
            Step::AllOn => match [CACHE, LISTENERS, HISTORY].iter().find(|id| !now.leaks(id)) {
                Some(id) => on(id),
                None => more(ALL_REQUESTS, self.all_on_for(), " while all three are on"),
            },
        })
    }
}
