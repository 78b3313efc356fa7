//! The verdict on a run: what its memory did over time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use guest_heap::history::History;
use guest_heap::snapshot::HandleGroup;
use guest_heap::verdict::{Sample, Verdict, Windows, rounded};

use crate::handle_floors::{self, HandleFloors, LineHandles};
use crate::heap::Heap;

/// A shorter run has no verdict.
const SHORTEST_RUN: Duration = Duration::from_secs(1);

/// The first interval between two samples. It doubles when there are `MAX_SAMPLES`.
const INTERVAL: Duration = Duration::from_millis(50);

/// Samples that are kept. Fewer than a verdict looks at, so that it judges the whole run.
const MAX_SAMPLES: usize = 60;

/// Lines that the verdict names.
const MAX_LINES: usize = 3;

/// The heap of a run over time.
pub(crate) struct RunSamples(Mutex<State>);

struct State {
    started: Instant,
    interval: Duration,
    samples: Vec<Sample<Duration>>,
    /// The handles of each line at each sample.
    handles: Vec<Vec<HandleGroup>>,
    history: History,
}

impl RunSamples {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            started: Instant::now(),
            interval: INTERVAL,
            samples: Vec::new(),
            handles: Vec::new(),
            history: History::default(),
        })))
    }

    /// Adds a sample if one is due. `read` reads the heap.
    pub(crate) fn sample(&self, read: impl FnOnce() -> Heap) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.started.elapsed();
        let last = state.samples.last().map(|sample| sample.at);
        if last.is_none_or(|last| now.saturating_sub(last) >= state.interval) {
            state.add(now, &read());
        }
    }

    /// The verdict with the heap at the end, as one sentence.
    pub(crate) fn verdict(&self, heap: &Heap) -> String {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.started.elapsed();
        state.add(now, heap);
        state.verdict(now)
    }
}

impl State {
    fn add(&mut self, at: Duration, heap: &Heap) {
        let coverage = heap.snapshot.coverage();
        self.samples.push(Sample {
            at,
            // Time takes the place of calls: what grows, grows in each millisecond.
            calls: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            live_bytes: heap.snapshot.totals().live_bytes,
            linear_bytes: match coverage.memory_is_known() {
                true => coverage.memory_bytes,
                false => heap.linear_memory,
            },
            unseen_bytes: heap.unseen_bytes(),
        });
        self.handles.push(handle_floors::by_line(&heap.snapshot));
        self.history.push(at, &heap.snapshot);
        if self.samples.len() > MAX_SAMPLES {
            drop_every_other(&mut self.samples);
            drop_every_other(&mut self.handles);
            self.interval *= 2;
        }
    }

    /// The lines that have more handles in each window than in the one before.
    fn leaking_handles(&self, windows: &Windows<Duration>) -> Vec<LineHandles> {
        let mut floors = HandleFloors::new(windows.starts.len());
        for (sample, lines) in self.samples.iter().zip(&self.handles) {
            let begun = windows.starts.iter().filter(|start| **start <= sample.at);
            if let Some(window) = begun.count().checked_sub(1) {
                floors.add_lines(window, lines.clone());
            }
        }
        floors.leaking(&windows.calls)
    }

    fn verdict(&self, run: Duration) -> String {
        let seconds = run.as_secs_f64();
        let windows = Windows::of(self.samples.iter().copied());
        let Some(windows) = windows.filter(|_| run >= SHORTEST_RUN) else {
            return format!(
                "none, because the run took {seconds:.1} s; `guest-heap test` calls an export many \
                 times"
            );
        };
        let lines = self.history.floors(&windows.starts);
        let handles = self.leaking_handles(&windows);
        let growth = handle_floors::growth(&handles);
        let verdict = Verdict::of_guest(&windows.evidence(&lines, growth));
        let between = match windows.starts.as_slice() {
            [first, .., last] => last.saturating_sub(*first).as_secs_f64(),
            _ => seconds,
        };
        let per_second = |growth: i64| rounded(growth as f64 / between.max(0.001));
        match verdict {
            Verdict::Leak { .. } => {
                let rising = lines
                    .iter()
                    .filter(|line| line.bytes.rises() && !line.bytes.slows(&windows.calls));
                let named = rising.take(MAX_LINES).map(|line| {
                    let bytes = per_second(line.bytes.growth());
                    format!("{} (+{bytes} bytes per second)", line.site.location)
                });
                format!(
                    "your code leaks, or builds up something until its end: what grew in every \
                     quarter of {seconds:.1} s is {}",
                    named.collect::<Vec<_>>().join(", ")
                )
            }
            Verdict::HandlesLeak { .. } => {
                let named = handles.iter().take(MAX_LINES).map(|line| {
                    let LineHandles { group, floors } = line;
                    let number = per_second(floors.growth());
                    format!(
                        "{} of {} (+{number} handles per second)",
                        group.location, group.ty
                    )
                });
                format!(
                    "handles leak: what got more in every quarter of {seconds:.1} s is {}",
                    named.collect::<Vec<_>>().join(", ")
                )
            }
            Verdict::UnseenGrowth { .. } => format!(
                "memory grew in every quarter of {seconds:.1} s, by {} bytes per second, and the \
                 profiler does not see its allocations",
                per_second(windows.unseen.growth())
            ),
            Verdict::AllocatorHoldsMemory {
                live_bytes,
                linear_bytes,
                ..
            } => format!(
                "your allocator holds free memory: linear memory grew in every quarter of \
                 {seconds:.1} s to {} bytes, while {} bytes are live and do not grow",
                guest_heap::grouped(linear_bytes),
                guest_heap::grouped(live_bytes)
            ),
            Verdict::FillingCache { .. } => format!(
                "it is filling a cache: what grew in every quarter of {seconds:.1} s grew less \
                 each time"
            ),
            Verdict::NoLeak => format!("no leak in {seconds:.1} s"),
            other => other.sentence(0, "second"),
        }
    }
}

/// Keeps every other item, with the newest one.
fn drop_every_other<T>(items: &mut Vec<T>) {
    let mut index = items.len();
    items.retain(|_| {
        index -= 1;
        index.is_multiple_of(2)
    });
}
