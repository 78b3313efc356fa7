//! A mystery that is played, and what has happened in it so far.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mystery::{Game, Measured, PlannedRequest};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::leak_ledger::LeakLedger;
use super::participants::Participants;

/// The most requests whose traces are kept.
const MAX_TRACES: usize = 1000;

/// Requests without a trace after the start of an instance.
const SKIPPED_TRACES: u32 = 3;

/// The trace of one request of the game.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TraceRow {
    /// 32 hexadecimal digits.
    trace_id: String,
    /// Time from the start of the game, in seconds.
    at_seconds: f64,
    tenant: u32,
    /// The status of the answer.
    status: u16,
    /// Duration of the request, in milliseconds.
    duration_ms: f64,
    /// The plugins that ran.
    plugins: Vec<PluginSpan>,
}

/// What one plugin did in a request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PluginSpan {
    pub(crate) plugin: String,
    /// Live bytes that the request left on its heap; negative if it freed more than it allocated.
    /// Null without attribution.
    pub(crate) live_bytes_delta: Option<i64>,
}

/// What the game's traffic has counted.
#[derive(Debug, Default)]
struct Traffic {
    requests: u64,
    errors: u64,
    /// Requests whose traces are not kept.
    skip: u32,
    traces: VecDeque<TraceRow>,
}

/// A game that is played, or was played last.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) game: Game,
    pub(crate) started_at: Timestamp,
    since: Instant,
    traffic: Mutex<Traffic>,
    /// What each leak has left behind since its onset, by alias.
    ledgers: Mutex<BTreeMap<String, LeakLedger>>,
    participants: Mutex<Participants>,
    /// What was measured at the end, and its time; `None` before it.
    ended: Mutex<Option<(Duration, Vec<Measured>)>>,
    /// Cancelled when the game is ended.
    pub(crate) stopping: CancellationToken,
}

impl Session {
    /// A game that starts now.
    pub(crate) fn start(game: Game) -> Self {
        Session {
            game,
            started_at: Timestamp::now(),
            since: Instant::now(),
            traffic: Mutex::new(Traffic {
                skip: SKIPPED_TRACES,
                ..Traffic::default()
            }),
            ledgers: Mutex::default(),
            participants: Mutex::default(),
            ended: Mutex::default(),
            stopping: CancellationToken::new(),
        }
    }

    /// The time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// The moment at a time of the game.
    pub(crate) fn instant_of(&self, at: Duration) -> Instant {
        self.since + at
    }

    /// Whether its traffic has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.stopping.is_cancelled() || self.elapsed() >= self.game.order().duration
    }

    /// The rate of the game's traffic at a time, in requests per second; after its end, that of the
    /// last phase.
    pub(crate) fn requests_per_second(&self, elapsed: Duration) -> f64 {
        let mut phases = self.game.traffic().iter();
        let phase = phases.rfind(|phase| phase.at <= elapsed);
        phase.map_or(0.0, |phase| phase.requests_per_second)
    }

    /// Records a request of the game.
    pub(crate) fn record_request(
        &self,
        (request, sent_at): (PlannedRequest, Duration),
        (status, trace_id): (u16, String),
        duration: Duration,
        plugins: Vec<PluginSpan>,
    ) {
        let mut traffic = lock(&self.traffic);
        traffic.requests += 1;
        traffic.errors += u64::from(status >= 500);
        if traffic.skip > 0 {
            traffic.skip -= 1;
            return;
        }
        if traffic.traces.len() >= MAX_TRACES {
            traffic.traces.pop_front();
        }
        traffic.traces.push_back(TraceRow {
            trace_id,
            // Hundredths: the exact times of the plan would lead to the seed.
            at_seconds: (sent_at.as_secs_f64() * 100.0).round() / 100.0,
            tenant: request.tenant,
            status,
            duration_ms: duration.as_secs_f64() * 1e3,
            plugins,
        });
    }

    /// Keeps no trace of the next requests: the first calls of an instance allocate what is typical
    /// of its pattern, and so tell its name.
    pub(crate) fn skip_traces(&self) {
        lock(&self.traffic).skip = SKIPPED_TRACES;
    }

    /// Whether the next request leaves no trace.
    pub(crate) fn skips_traces(&self) -> bool {
        lock(&self.traffic).skip > 0
    }

    /// The requests of the game, and how many of them failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let traffic = lock(&self.traffic);
        (traffic.requests, traffic.errors)
    }

    /// The last traces, the newest first.
    pub(crate) fn traces(&self, limit: usize) -> Vec<TraceRow> {
        let traffic = lock(&self.traffic);
        traffic.traces.iter().rev().take(limit).cloned().collect()
    }

    /// Ends the game, with what was measured last.
    pub(crate) fn end(&self, measured: Vec<Measured>) {
        *lock(&self.ended) = Some((self.elapsed(), measured));
        self.stopping.cancel();
    }

    /// What was measured at the end, and its time; `None` before it.
    pub(crate) fn ended(&self) -> Option<(Duration, Vec<Measured>)> {
        lock(&self.ended).clone()
    }

    pub(crate) fn ledgers(&self) -> MutexGuard<'_, BTreeMap<String, LeakLedger>> {
        lock(&self.ledgers)
    }

    pub(crate) fn participants(&self) -> MutexGuard<'_, Participants> {
        lock(&self.participants)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
