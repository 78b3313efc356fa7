//! The runs of a check, and what the host reads before, during and after them.
//!
//! Each run sends the same generated requests. Their clock is generated too, so that objects which
//! live for half an hour expire within a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guest_heap::diff::{Baseline, Diff};
use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::symbols::{FrameKind, Symbols};
use guest_heap::{Context, ContextCursor, Coverage};

use crate::conformance::generated_request::generate_request;
use crate::conformance::options::{CheckOptions, MAX_MEMORY_BYTES};
use crate::error::Fault;
use crate::instance::{Instance, Retained};
use crate::load::loader::CompiledComponent;
use crate::load::manifest::Manifest;
use crate::settings::names::{FIXED, PAYLOAD_BYTES, VARIANT};
use crate::settings::{SettingSpec, Value};

/// Requests before the first reading: a plugin has allocated by then what it allocates once.
const WARM_UP: u32 = 8;
/// Calls of `retained` for each call of `configure` in the idle run.
const RETAINED_PER_CONFIGURE: u32 = 4;
/// Requests between two comparisons of `retained` with the answer to a request.
const COMPARE_EVERY: u32 = 10;
/// Time that the fixed variant has to drop old objects, on the clock of the requests.
const FIXED_RUN_TIME: Duration = Duration::from_secs(3600);

/// Why a run did not finish.
#[derive(Debug, Clone)]
pub(crate) enum RunError {
    /// The guest did not survive it.
    Fault(Fault),
    /// The guest answered with an error.
    Answered(String),
    /// The whole check took too long.
    OutOfTime,
}

impl From<Fault> for RunError {
    fn from(fault: Fault) -> Self {
        RunError::Fault(fault)
    }
}

/// The state after one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) triggered: bool,
    pub(crate) retained: Retained,
    /// Live bytes; `None` without attribution.
    pub(crate) live: Option<u64>,
    /// Live blocks; `None` without attribution.
    pub(crate) blocks: Option<u64>,
}

/// What the guest reports as retained, and what is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HeapLevel {
    pub(crate) retained: Retained,
    pub(crate) live: Option<u64>,
    pub(crate) blocks: Option<u64>,
}

/// A run of the leaky variant, and a clear.
#[derive(Debug, Clone)]
pub(crate) struct LeakyRun {
    pub(crate) start: HeapLevel,
    pub(crate) answers: Vec<Answered>,
    /// How long each request took.
    pub(crate) times: Vec<Duration>,
    /// The first answer to a request that `retained` contradicted, and what it returned.
    pub(crate) contradiction: Option<(Retained, Retained)>,
    /// What `clear` reported as dropped.
    pub(crate) cleared: Retained,
    pub(crate) after_clear: HeapLevel,
    pub(crate) top_line: Option<TopLine>,
    /// What the profiler has seen, at the end.
    pub(crate) coverage: Coverage,
}

/// The source line that grew most.
#[derive(Debug, Clone)]
pub(crate) struct TopLine {
    pub(crate) location: String,
    pub(crate) bytes: i64,
    /// Whether it is in the plugin's own source.
    pub(crate) own: bool,
}

/// A run of calls without a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdleRun {
    pub(crate) before: HeapLevel,
    pub(crate) after: HeapLevel,
    pub(crate) calls: u32,
    /// What the profiler has seen, at the end.
    pub(crate) coverage: Coverage,
}

/// A run of the fixed variant: the peaks of live bytes in two windows after the warm-up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FixedRun {
    pub(crate) first_peak: Option<u64>,
    pub(crate) second_peak: Option<u64>,
    /// What the profiler has seen, at the end.
    pub(crate) coverage: Coverage,
}

/// All runs.
#[derive(Debug)]
pub(crate) struct Observations {
    pub(crate) leaky: Result<LeakyRun, RunError>,
    /// The same requests to a second instance.
    pub(crate) second: Result<Vec<Answered>, RunError>,
    pub(crate) idle: Result<IdleRun, RunError>,
    pub(crate) fixed: Result<FixedRun, RunError>,
}

impl Observations {
    /// What the profiler had seen at the end of each run that finished.
    pub(crate) fn coverages(&self) -> impl Iterator<Item = Coverage> {
        let coverages = [
            self.leaky.as_ref().ok().map(|run| run.coverage),
            self.idle.as_ref().ok().map(|run| run.coverage),
            self.fixed.as_ref().ok().map(|run| run.coverage),
        ];
        coverages.into_iter().flatten()
    }

    /// The faults that ended runs.
    pub(crate) fn faults_mut(&mut self) -> impl Iterator<Item = &mut Fault> {
        let errors = [
            self.leaky.as_mut().err(),
            self.second.as_mut().err(),
            self.idle.as_mut().err(),
            self.fixed.as_mut().err(),
        ];
        errors
            .into_iter()
            .flatten()
            .filter_map(|error| match error {
                RunError::Fault(fault) => Some(fault),
                RunError::Answered(_) | RunError::OutOfTime => None,
            })
    }
}

/// Drives a component through all runs, until `until` at most.
pub(crate) async fn observe(
    component: &CompiledComponent,
    manifest: &Manifest,
    symbols: &Arc<Symbols>,
    options: CheckOptions,
    until: Instant,
) -> Observations {
    let run = async || Run::start(component, manifest, options, until).await;
    let leaky = async { run().await?.leak(symbols).await };
    let second = async {
        let mut run = run().await?;
        run.warm_up().await?;
        Ok(run
            .requests(options.requests, Duration::from_secs(1))
            .await?
            .0)
    };
    let idle = async { run().await?.idle().await };
    let fixed = async { run().await?.fixed().await };
    Observations {
        leaky: leaky.await,
        second: second.await,
        idle: idle.await,
        fixed: fixed.await,
    }
}

/// One instance and its request clock.
struct Run<'a> {
    instance: Instance,
    manifest: &'a Manifest,
    options: CheckOptions,
    until: Instant,
    sent: u64,
    /// Time of the next request, since the first.
    clock: Duration,
    contradiction: Option<(Retained, Retained)>,
}

impl<'a> Run<'a> {
    async fn start(
        component: &CompiledComponent,
        manifest: &'a Manifest,
        options: CheckOptions,
        until: Instant,
    ) -> Result<Self, RunError> {
        Ok(Run {
            instance: component
                .start_instance(Some(&manifest.id), MAX_MEMORY_BYTES)
                .await?,
            manifest,
            options,
            until,
            sent: 0,
            clock: Duration::ZERO,
            contradiction: None,
        })
    }

    async fn leak(mut self, symbols: &Arc<Symbols>) -> Result<LeakyRun, RunError> {
        self.warm_up().await?;
        let start = self.level().await?;
        let (mut seen, mut contexts) = (ContextCursor::default(), HashMap::new());
        let before = self.snapshot(&mut seen, &mut contexts, symbols);
        let (answers, times) = self
            .requests(self.options.requests, Duration::from_secs(1))
            .await?;
        let after = self.snapshot(&mut seen, &mut contexts, symbols);
        let top_line = before.zip(after).and_then(|(b, a)| top_line(&b, &a));
        let cleared = self.instance.clear(self.options.deadline).await?;
        Ok(LeakyRun {
            start,
            answers,
            times,
            contradiction: self.contradiction,
            cleared,
            after_clear: self.level().await?,
            top_line,
            coverage: self.coverage(),
        })
    }

    async fn idle(mut self) -> Result<IdleRun, RunError> {
        self.requests(2 * WARM_UP, Duration::from_secs(1)).await?;
        self.idle_calls(2 * RETAINED_PER_CONFIGURE).await?;
        let before = self.level().await?;
        self.idle_calls(self.options.requests).await?;
        Ok(IdleRun {
            before,
            after: self.level().await?,
            calls: self.options.requests,
            coverage: self.coverage(),
        })
    }

    async fn fixed(mut self) -> Result<FixedRun, RunError> {
        self.configure(&[(VARIANT, Value::Text(FIXED.into()))])
            .await?;
        let apart = FIXED_RUN_TIME / self.options.requests.max(1);
        let peak = |(answers, _): (Vec<Answered>, _)| answers.iter().filter_map(|a| a.live).max();
        self.requests(self.options.requests, apart).await?;
        Ok(FixedRun {
            first_peak: peak(self.requests(self.options.requests, apart).await?),
            second_peak: peak(self.requests(self.options.requests, apart).await?),
            coverage: self.coverage(),
        })
    }

    fn coverage(&self) -> Coverage {
        let heap = self.instance.heap_summary();
        heap.map(|heap| heap.coverage).unwrap_or_default()
    }

    async fn warm_up(&mut self) -> Result<(), RunError> {
        self.requests(WARM_UP, Duration::from_secs(1)).await?;
        self.instance.clear(self.options.deadline).await?;
        Ok(())
    }

    /// Makes the calls that the host makes without a request.
    async fn idle_calls(&mut self, times: u32) -> Result<(), RunError> {
        let declared = |name: &str| self.manifest.settings.iter().find(|s| s.name == name);
        let settings: Vec<&SettingSpec> = [declared(VARIANT), declared(PAYLOAD_BYTES)]
            .into_iter()
            .flatten()
            .collect();
        let values: Vec<(&str, Value)> = settings
            .iter()
            .map(|s| (s.name.as_str(), s.default.clone()))
            .collect();
        for n in 0..times {
            self.check_time()?;
            self.instance.retained(self.options.deadline).await?;
            if n % RETAINED_PER_CONFIGURE == 0 {
                self.configure(&values).await?;
            }
        }
        Ok(())
    }

    async fn configure(&mut self, values: &[(&str, Value)]) -> Result<(), RunError> {
        let declared = |name: &str| self.manifest.settings.iter().find(|s| s.name == name);
        let specs = values.iter().filter_map(|(n, v)| Some((declared(n)?, v)));
        let configured = self
            .instance
            .configure(specs, self.options.deadline)
            .await?;
        configured.map_err(|refusal| RunError::Answered(format!("configure: {refusal}")))
    }

    /// Sends requests with the distance `apart` on their own clock. Returns the answers and how
    /// long each took.
    async fn requests(
        &mut self,
        count: u32,
        apart: Duration,
    ) -> Result<(Vec<Answered>, Vec<Duration>), RunError> {
        let (mut answers, mut times) = (Vec::new(), Vec::new());
        for n in 1..=count {
            self.check_time()?;
            let request = generate_request(self.sent, self.clock);
            self.sent += 1;
            self.clock += apart;
            let started = Instant::now();
            let answer = self.instance.on_request(&request, self.options.deadline);
            let answer = answer.await?;
            times.push(started.elapsed());
            let outcome = answer.map_err(|message| {
                RunError::Answered(format!("request {}: {message}", self.sent))
            })?;
            if n % COMPARE_EVERY == 0 || n == count {
                let reported = self.instance.retained(self.options.deadline).await?;
                if reported != outcome.retained {
                    self.contradiction
                        .get_or_insert((outcome.retained, reported));
                }
            }
            let totals = self.instance.heap_totals();
            answers.push(Answered {
                triggered: outcome.triggered,
                retained: outcome.retained,
                live: totals.map(|t| t.live_bytes),
                blocks: totals.map(|t| t.live_objects),
            });
        }
        Ok((answers, times))
    }

    async fn level(&mut self) -> Result<HeapLevel, RunError> {
        let retained = self.instance.retained(self.options.deadline).await?;
        let totals = self.instance.heap_totals();
        Ok(HeapLevel {
            retained,
            live: totals.map(|t| t.live_bytes),
            blocks: totals.map(|t| t.live_objects),
        })
    }

    fn snapshot(
        &self,
        seen: &mut ContextCursor,
        contexts: &mut HashMap<u32, Context>,
        symbols: &Arc<Symbols>,
    ) -> Option<Snapshot> {
        self.instance.heap_summary()?;
        let tables = self.instance.heap_tables(seen);
        contexts.extend(tables.contexts);
        let context = |index| contexts.get(&index).cloned();
        Some(Snapshot::new(&tables.reading, context, symbols.clone()))
    }

    fn check_time(&self) -> Result<(), RunError> {
        if Instant::now() < self.until {
            Ok(())
        } else {
            Err(RunError::OutOfTime)
        }
    }
}

fn top_line(before: &Snapshot, after: &Snapshot) -> Option<TopLine> {
    let diff = Diff::new(&Baseline::new(before), after, GroupBy::Line, 1);
    let change = diff.growing.first()?;
    let own = after
        .entries()
        .iter()
        .filter(|entry| entry.site == change.site)
        .any(|entry| {
            after.frames(&entry.context).iter().any(|frame| {
                frame.kind == FrameKind::User
                    && frame.line.is_some()
                    && frame.line == change.site.line
                    && frame.file == change.site.file
            })
        });
    Some(TopLine {
        location: change.location.to_string(),
        bytes: change.bytes,
        own,
    })
}
