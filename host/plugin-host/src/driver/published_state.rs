//! What a driver publishes of its plugin, for everybody to read without asking it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use guest_heap::Attribution;
use jiff::Timestamp;

use crate::driver::journal::{EventKind, Journal};
use crate::error::{Fault, FaultKind, PluginError};
use crate::instance::{LinearMemory, Retained};
use crate::load::loader::Origin;
use crate::load::manifest::Manifest;
use crate::settings::Settings;

/// The published number that stands for none.
const UNKNOWN: u64 = u64::MAX;

/// Whether a plugin can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It can.
    Running,
    /// It died of the memory it was refused.
    Exhausted(Fault),
    /// It died of anything else.
    Faulted(Fault),
}

impl State {
    /// The state that a fault leads to.
    pub fn after(fault: Fault) -> Self {
        match fault.kind {
            FaultKind::MemoryLimit => State::Exhausted(fault),
            _ => State::Faulted(fault),
        }
    }

    /// `running`, `exhausted` or `faulted`.
    pub fn name(&self) -> &'static str {
        match self {
            State::Running => "running",
            State::Exhausted(_) => "exhausted",
            State::Faulted(_) => "faulted",
        }
    }

    /// What it died of.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            State::Running => None,
            State::Exhausted(fault) | State::Faulted(fault) => Some(fault),
        }
    }
}

/// What changes seldom.
#[derive(Debug, Clone)]
pub struct Details {
    /// What the plugin says it is.
    pub manifest: Arc<Manifest>,
    /// Where it comes from.
    pub origin: Arc<Origin>,
    /// Its settings.
    pub settings: Arc<Settings>,
    /// Whether it can be called.
    pub state: State,
    /// Its last fault, which a reset does not forget.
    pub last_failure: Option<Arc<Failure>>,
    /// How far its heap can be told by source line.
    pub attribution: Attribution,
    /// When it disables itself.
    pub expires_at: Option<Timestamp>,
    /// When it was loaded.
    pub loaded_at: Timestamp,
}

/// A fault and when it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// What. Its call stack has source lines a moment later than it has functions.
    pub fault: Fault,
}

/// One reading of what changes with each request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// What the pattern holds, as of its last answer.
    pub retained: Retained,
    /// The linear memory of the instance.
    pub linear: LinearMemory,
    /// The most linear memory that any instance has had.
    pub linear_peak: u64,
    /// The linear memory right after the instance had started.
    pub linear_start: u64,
    /// Bytes that the guest's allocator has handed out and not got back; none without attribution.
    pub heap_live: Option<u64>,
    /// The most of that in the life of this instance.
    pub heap_peak: u64,
    /// Bytes of the profiler's own memory in the guest.
    pub profiler_bytes: u64,
    /// Allocations that found no context of their own.
    pub overflowed: u64,
    /// Which instance this is, from 1.
    pub generation: u64,
    /// Requests that this instance was offered while enabled.
    pub requests: u64,
    /// Those since the last clear.
    pub(crate) requests_since_clear: u64,
}

impl Reading {
    /// Retained bytes per request since the last clear; zero before the first.
    pub fn bytes_per_request(&self) -> f64 {
        match self.requests_since_clear {
            0 => 0.0,
            n => self.retained.bytes as f64 / n as f64,
        }
    }
}

/// Where the driver publishes.
#[derive(Debug)]
pub struct Board {
    enabled: AtomicBool,
    details: ArcSwap<Details>,
    numbers: [AtomicU64; 15],
    journal: Journal,
}

impl Board {
    /// A board with the first readings.
    pub(crate) fn new(details: Details, reading: Reading) -> Self {
        let board = Board {
            enabled: AtomicBool::new(false),
            details: ArcSwap::from_pointee(details),
            numbers: Default::default(),
            journal: Journal::default(),
        };
        board.journal.note(EventKind::Loaded);
        board.publish(&reading);
        board
    }

    /// Publishes what a call has changed.
    pub(crate) fn publish(&self, r: &Reading) {
        let values = [
            r.retained.objects,
            r.retained.bytes,
            r.linear.bytes,
            r.linear.limit,
            r.linear.grows,
            r.linear.denials,
            r.linear_peak,
            r.linear_start,
            r.generation,
            r.requests,
            r.requests_since_clear,
            r.heap_live.map_or(UNKNOWN, |bytes| bytes.min(UNKNOWN - 1)),
            r.heap_peak,
            r.profiler_bytes,
            r.overflowed,
        ];
        for (slot, value) in self.numbers.iter().zip(values) {
            slot.store(value, Ordering::Relaxed);
        }
    }

    /// Publishes what changes seldom.
    pub(crate) fn set_details(&self, details: Details) {
        self.details.store(Arc::new(details));
    }

    /// Switches the leak.
    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
    }

    /// Whether the leak is switched on.
    pub(crate) fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// The last published reading. Its numbers may be of two neighbouring calls.
    pub(crate) fn reading(&self) -> Reading {
        let [
            objects,
            bytes,
            linear,
            limit,
            grows,
            denials,
            peak,
            start,
            generation,
            requests,
            since_clear,
            heap_live,
            heap_peak,
            profiler_bytes,
            overflowed,
        ] = self.numbers.each_ref().map(|n| n.load(Ordering::Relaxed));
        Reading {
            retained: Retained { objects, bytes },
            linear: LinearMemory {
                bytes: linear,
                limit,
                grows,
                denials,
            },
            linear_peak: peak,
            linear_start: start,
            generation,
            requests,
            requests_since_clear: since_clear,
            heap_live: (heap_live != UNKNOWN).then_some(heap_live),
            heap_peak,
            profiler_bytes,
            overflowed,
        }
    }

    /// What changes seldom.
    pub(crate) fn details(&self) -> Guard<Arc<Details>> {
        self.details.load()
    }

    /// What happened lately.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }
}

/// An error when the state is not running.
pub(crate) fn not_running(plugin: &str, state: &State) -> Result<(), PluginError> {
    match state.fault() {
        None => Ok(()),
        Some(fault) => Err(PluginError::NotRunning {
            plugin: plugin.to_owned(),
            state: state.name(),
            reason: fault.reason.clone(),
        }),
    }
}
