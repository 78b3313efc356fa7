//! The runs that a component goes through, and what is read before, during and after them.
//!
//! Requests are made here, the same ones for each run; their clock is made too, so that what lives for half an hour can be
//! seen to go in a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guest_heap::diff::{Baseline, Diff};
use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::symbols::{FrameKind, Symbols};
use guest_heap::{Context, ContextCursor};

use super::{MEMORY_MAX, Terms};
use crate::plugin::error::Fault;
use crate::plugin::instance::{Instance, Retained};
use crate::plugin::loader::Loaded;
use crate::plugin::manifest::Manifest;
use crate::plugin::request::{Head, Request};
use crate::plugin::settings::{Spec, Value};

/// Requests before the first reading: what a plugin makes once is there then.
const WARM_UP: u32 = 8;
/// Calls of `retained` for each one of `configure` while nothing is requested.
const ASKED_PER_TOLD: u32 = 4;
/// Every so many requests `retained` is asked for what the request has just answered.
const ASK_EVERY: u32 = 10;
/// Time that the fixed variant gets to let go of what is old, on the clock of the requests.
const FIXED_HOUR: Duration = Duration::from_secs(3600);
/// 2026-01-01T00:00:00Z, so that each check sees the same days.
const FIRST_REQUEST_UNIX_MS: u64 = 1_767_225_600_000;

/// Why a run did not come to its end.
#[derive(Debug, Clone)]
pub(super) enum Broken {
    /// The guest did not survive it.
    Fault(Fault),
    /// It answered with an error.
    Answered(String),
    /// The time for the whole check is over.
    OutOfTime,
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Broken::Fault(fault)
    }
}

/// One request, as it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) triggered: bool,
    pub(super) retained: Retained,
    /// Live bytes afterwards; none without books.
    pub(super) live: Option<u64>,
    /// Live blocks afterwards.
    pub(super) blocks: Option<u64>,
}

/// What is live, and what is said to be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Level {
    pub(super) retained: Retained,
    pub(super) live: Option<u64>,
    pub(super) blocks: Option<u64>,
}

/// A run of the leaky variant, and its clearing.
#[derive(Debug, Clone)]
pub(super) struct Leaky {
    pub(super) start: Level,
    pub(super) steps: Vec<Step>,
    pub(super) times: Vec<Duration>,
    /// The first time that `retained` did not say what the request had just said.
    pub(super) contradiction: Option<(Retained, Retained)>,
    /// What `clear` said that it dropped.
    pub(super) cleared: Retained,
    pub(super) after_clear: Level,
    pub(super) top: Option<Top>,
}

/// The line that grew most.
#[derive(Debug, Clone)]
pub(super) struct Top {
    pub(super) location: String,
    pub(super) bytes: i64,
    /// Whether it is the plugin's own source.
    pub(super) own: bool,
}

/// Calls without a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Idle {
    pub(super) before: Level,
    pub(super) after: Level,
    pub(super) calls: u32,
}

/// A run of the fixed variant: the most that was live in each of two windows after warming up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixed {
    pub(super) first_peak: Option<u64>,
    pub(super) second_peak: Option<u64>,
}

/// All runs.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) leaky: Result<Leaky, Broken>,
    /// The same requests for another instance.
    pub(super) again: Result<Vec<Step>, Broken>,
    pub(super) idle: Result<Idle, Broken>,
    pub(super) fixed: Result<Fixed, Broken>,
}

impl Observed {
    /// What ended runs before their time.
    pub(super) fn faults_mut(&mut self) -> impl Iterator<Item = &mut Fault> {
        let broken = [
            self.leaky.as_mut().err(),
            self.again.as_mut().err(),
            self.idle.as_mut().err(),
            self.fixed.as_mut().err(),
        ];
        broken.into_iter().flatten().filter_map(|b| match b {
            Broken::Fault(fault) => Some(fault),
            Broken::Answered(_) | Broken::OutOfTime => None,
        })
    }
}

/// Drives a component through all runs.
pub(super) async fn observe(
    loaded: &Loaded,
    manifest: &Manifest,
    symbols: &Arc<Symbols>,
    terms: Terms,
    until: Instant,
) -> Observed {
    let run = async || Run::start(loaded, manifest, terms, until).await;
    let leaky = async { run().await?.leak(symbols).await };
    let again = async {
        let mut run = run().await?;
        run.warm_up().await?;
        Ok(run
            .requests(terms.requests, Duration::from_secs(1))
            .await?
            .0)
    };
    let idle = async { run().await?.idle().await };
    let fixed = async { run().await?.fixed().await };
    Observed {
        leaky: leaky.await,
        again: again.await,
        idle: idle.await,
        fixed: fixed.await,
    }
}

/// One instance on its way.
struct Run<'a> {
    instance: Instance,
    manifest: &'a Manifest,
    terms: Terms,
    until: Instant,
    sent: u64,
    clock: Duration,
    contradiction: Option<(Retained, Retained)>,
}

impl<'a> Run<'a> {
    async fn start(
        loaded: &Loaded,
        manifest: &'a Manifest,
        terms: Terms,
        until: Instant,
    ) -> Result<Self, Broken> {
        Ok(Run {
            instance: Instance::start(loaded, &manifest.id, MEMORY_MAX).await?,
            manifest,
            terms,
            until,
            sent: 0,
            clock: Duration::ZERO,
            contradiction: None,
        })
    }

    async fn leak(mut self, symbols: &Arc<Symbols>) -> Result<Leaky, Broken> {
        self.warm_up().await?;
        let start = self.level().await?;
        let (mut seen, mut contexts) = (ContextCursor::default(), HashMap::new());
        let before = self.snapshot(&mut seen, &mut contexts, symbols);
        let (steps, times) = self
            .requests(self.terms.requests, Duration::from_secs(1))
            .await?;
        let after = self.snapshot(&mut seen, &mut contexts, symbols);
        let top = before.zip(after).and_then(|(b, a)| top(&b, &a));
        let cleared = self.instance.clear(self.terms.deadline).await?;
        Ok(Leaky {
            start,
            steps,
            times,
            contradiction: self.contradiction,
            cleared,
            after_clear: self.level().await?,
            top,
        })
    }

    async fn idle(mut self) -> Result<Idle, Broken> {
        self.requests(2 * WARM_UP, Duration::from_secs(1)).await?;
        self.ask(2 * ASKED_PER_TOLD).await?;
        let before = self.level().await?;
        self.ask(self.terms.requests).await?;
        Ok(Idle {
            before,
            after: self.level().await?,
            calls: self.terms.requests,
        })
    }

    async fn fixed(mut self) -> Result<Fixed, Broken> {
        self.tell(&[("variant", Value::Text("fixed".into()))])
            .await?;
        let apart = FIXED_HOUR / self.terms.requests.max(1);
        let peak = |(steps, _): (Vec<Step>, _)| steps.iter().filter_map(|s| s.live).max();
        self.requests(self.terms.requests, apart).await?;
        Ok(Fixed {
            first_peak: peak(self.requests(self.terms.requests, apart).await?),
            second_peak: peak(self.requests(self.terms.requests, apart).await?),
        })
    }

    async fn warm_up(&mut self) -> Result<(), Broken> {
        self.requests(WARM_UP, Duration::from_secs(1)).await?;
        self.instance.clear(self.terms.deadline).await?;
        Ok(())
    }

    /// Calls what the host calls when it only looks.
    async fn ask(&mut self, times: u32) -> Result<(), Broken> {
        let same = |name: &str| self.manifest.settings.iter().find(|s| s.name == name);
        let settings: Vec<&Spec> = [same("variant"), same("payload_bytes")]
            .into_iter()
            .flatten()
            .collect();
        let values: Vec<(&str, Value)> = settings
            .iter()
            .map(|s| (s.name.as_str(), s.default.clone()))
            .collect();
        for n in 0..times {
            self.in_time()?;
            self.instance.retained(self.terms.deadline).await?;
            if n % ASKED_PER_TOLD == 0 {
                self.tell(&values).await?;
            }
        }
        Ok(())
    }

    async fn tell(&mut self, values: &[(&str, Value)]) -> Result<(), Broken> {
        let of = |name: &str| self.manifest.settings.iter().find(|s| s.name == name);
        let specs = values.iter().filter_map(|(n, v)| Some((of(n)?, v)));
        let told = self.instance.configure(specs, self.terms.deadline).await?;
        told.map_err(|refusal| Broken::Answered(format!("configure: {refusal}")))
    }

    /// Sends requests that are `apart` on their own clock.
    async fn requests(
        &mut self,
        count: u32,
        apart: Duration,
    ) -> Result<(Vec<Step>, Vec<Duration>), Broken> {
        let (mut steps, mut times) = (Vec::new(), Vec::new());
        for n in 1..=count {
            self.in_time()?;
            let request = request(self.sent, self.clock);
            self.sent += 1;
            self.clock += apart;
            let started = Instant::now();
            let answer = self.instance.on_request(&request, self.terms.deadline);
            let answer = answer.await?;
            times.push(started.elapsed());
            let outcome = answer
                .map_err(|message| Broken::Answered(format!("request {}: {message}", self.sent)))?;
            if n % ASK_EVERY == 0 || n == count {
                let said = self.instance.retained(self.terms.deadline).await?;
                if said != outcome.retained {
                    self.contradiction.get_or_insert((outcome.retained, said));
                }
            }
            let totals = self.instance.heap_totals();
            steps.push(Step {
                triggered: outcome.triggered,
                retained: outcome.retained,
                live: totals.map(|t| t.live_bytes),
                blocks: totals.map(|t| t.live_objects),
            });
        }
        Ok((steps, times))
    }

    async fn level(&mut self) -> Result<Level, Broken> {
        let retained = self.instance.retained(self.terms.deadline).await?;
        let totals = self.instance.heap_totals();
        Ok(Level {
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
        self.instance.heap()?;
        let books = self.instance.books(seen);
        contexts.extend(books.contexts);
        let context = |index| contexts.get(&index).cloned();
        Some(Snapshot::new(&books.reading, context, symbols.clone()))
    }

    fn in_time(&self) -> Result<(), Broken> {
        if Instant::now() < self.until {
            Ok(())
        } else {
            Err(Broken::OutOfTime)
        }
    }
}

fn top(before: &Snapshot, after: &Snapshot) -> Option<Top> {
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
    Some(Top {
        location: change.location.to_string(),
        bytes: change.bytes,
        own,
    })
}

fn request(number: u64, clock: Duration) -> Request {
    let cookie = format!("session={number:08x}");
    let headers = [
        ("host", "localhost:8080"),
        ("user-agent", "leak-host check"),
        ("accept", "*/*"),
        ("cookie", &cookie),
    ];
    let head = Head {
        id: &format!("00000000-0000-4000-8000-{number:012x}"),
        time_unix_ms: FIRST_REQUEST_UNIX_MS
            + u64::try_from(clock.as_millis()).unwrap_or(u64::MAX / 2),
        method: "GET",
        path: "/api/data",
        query: &format!("user={}&page={}", number % 50, number % 7),
        body_preview: "",
        status: if number % 10 == 9 { 500 } else { 200 },
        elapsed_us: 100 + number % 10,
        trace_id: &format!("{:032x}", u128::from(number) + 1),
    };
    let headers = headers.into_iter();
    Request::new(&head, headers.map(|(name, value)| (name, value.into())))
}
