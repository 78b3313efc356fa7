//! The lab's view of memory: the process now, its samples, growth, forecasts and the ledger.
//!
//! The monitor takes no samples itself; [`sampler`](crate::sampler) fills its history once a
//! second.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use crate::forecast::Forecast;
use crate::heap::Heaps;
use crate::ledger::Ledger;
use crate::ledger_reader::LedgerReader;
use crate::sample_history::{ProcessSample, SampleHistory};
use crate::verdict::{Judge, LabVerdict};
use plugin_host::clock_reading::ClockReading;
use plugin_host::driver::handle::Plugin;
use plugin_host::registry::Registry;
use process_memory::limit::MemoryBudget;
use process_memory::process::{ProcessReader, ProcessReading};
use telemetry::QueueUsage;

/// Memory of the process and the plugins, shared by all readers.
pub struct Monitor {
    process: ProcessReader,
    budget: MemoryBudget,
    history: SampleHistory,
    ledger: LedgerReader,
    judge: Judge,
    samples_taken: watch::Sender<u64>,
}

impl Monitor {
    /// A monitor without samples.
    ///
    /// # Errors
    ///
    /// When the system does not report the memory of a process.
    pub fn new(budget: MemoryBudget) -> io::Result<Self> {
        let process = ProcessReader::new()?;
        let history = SampleHistory::new(process.resident_bytes()?);
        Ok(Monitor {
            process,
            budget,
            history,
            ledger: LedgerReader::default(),
            judge: Judge::default(),
            samples_taken: watch::Sender::new(0),
        })
    }

    /// The number of samples so far. It changes when a sample has been judged.
    pub fn samples_taken(&self) -> watch::Receiver<u64> {
        self.samples_taken.subscribe()
    }

    /// The samples of the last 15 minutes.
    pub fn history(&self) -> &SampleHistory {
        &self.history
    }

    /// Adds the queue of the collector to the ledger.
    pub fn set_telemetry_queue(&self, queue: Arc<QueueUsage>) {
        self.ledger.set_telemetry_queue(queue);
    }

    /// The limit that applies, and the machine's memory.
    pub fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// Reads the process.
    ///
    /// # Errors
    ///
    /// When procfs cannot be read.
    pub fn process(&self) -> io::Result<ProcessReading> {
        self.process.read()
    }

    /// Reads only the resident bytes: one system call.
    ///
    /// # Errors
    ///
    /// When procfs cannot be read.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        self.process.resident_bytes()
    }

    /// Growth of the process, and the time until its limit.
    pub fn process_forecast(&self) -> Forecast {
        Forecast::of_process(&self.history, self.process_limit())
    }

    fn process_limit(&self) -> Option<u64> {
        match self.resident_bytes() {
            Ok(resident) => self.budget.process_limit_bytes(resident),
            Err(_) => self.budget.limit_bytes(),
        }
    }

    /// What leaks, as of the last sample.
    pub fn verdict(&self) -> Arc<LabVerdict> {
        self.judge.verdict()
    }

    /// Growth of a plugin, and the time until its linear memory reaches `limit_bytes`. `None`
    /// before its first sample.
    pub fn plugin_forecast(&self, plugin: &Plugin, limit_bytes: u64) -> Option<Forecast> {
        Forecast::of_plugin(&self.history, plugin, limit_bytes)
    }

    /// Splits the resident bytes of a process reading into parts.
    pub fn ledger(&self, process: &ProcessReading, registry: &Registry, heaps: &Heaps) -> Ledger {
        let samples_bytes = self.history.memory_bytes();
        let read_process = || self.process().ok();
        self.ledger
            .read(process, read_process, registry, heaps, samples_bytes)
    }

    /// Adds one sample of the process and of every plugin to the history.
    pub(crate) fn sample(
        &self,
        registry: &Registry,
        heaps: &Heaps,
        requests: impl FnOnce() -> u64,
    ) {
        let at = ClockReading::now();
        let plugins = registry.plugins();
        if self.history.lock().is_settling() {
            // All later ledgers are compared with this one.
            self.ledger.forget();
        }
        let process = self.process().ok().map(|process| {
            let ledger = self.ledger(&process, registry, heaps);
            ProcessSample {
                resident_bytes: ledger.resident_bytes(),
                // Read last: requests that were served during the reading are in it.
                requests: requests(),
                parts: ledger.bytes(),
            }
        });
        self.history.record(at, process, &plugins);
    }

    /// Judges the last sample and announces it. The heaps have been sampled, too.
    pub(crate) fn judge(&self, registry: &Registry, heaps: &Heaps) {
        let forecast = self.process_forecast();
        let host = Forecast::host_growth(&self.history);
        let limit = self.budget.limit_bytes();
        self.judge
            .judge((registry, heaps, &self.history), forecast, host, limit);
        self.samples_taken.send_modify(|count| *count += 1);
    }
}
