//! Collects the readings of a ledger.

use std::sync::{Arc, OnceLock};

use crate::heap::Heaps;
use crate::ledger::{Ledger, LedgerReading};
use plugin_host::registry::Registry;
use process_memory::allocator;
use process_memory::cached_reading::CachedReading;
use process_memory::process::ProcessReading;
use process_memory::wasm_memories::{AnonymousBytes, AnonymousParts, GrantedSizes, WasmMemories};
use telemetry::QueueUsage;

/// The sources of a ledger. The expensive readings are cached, so every caller may ask at any time.
#[derive(Debug, Default)]
pub(crate) struct LedgerReader {
    wasm_memories: WasmMemories,
    allocator_in_use_bytes: CachedReading<u64>,
    telemetry_queue: OnceLock<Arc<QueueUsage>>,
}

impl LedgerReader {
    /// Adds the queue of the collector to the ledger. Later calls change nothing: the host has one
    /// queue.
    pub(crate) fn set_telemetry_queue(&self, queue: Arc<QueueUsage>) {
        let _already_set = self.telemetry_queue.set(queue);
    }

    /// Makes the next ledger read all sources again, whatever that costs.
    pub(crate) fn forget(&self) {
        self.wasm_memories.forget();
        self.allocator_in_use_bytes.forget();
    }

    /// The ledger of a process reading. `read_process` reads the process again. `samples_bytes` are
    /// the bytes of the samples of process and plugins.
    pub(crate) fn read(
        &self,
        process: &ProcessReading,
        read_process: impl Fn() -> Option<ProcessReading>,
        registry: &Registry,
        heaps: &Heaps,
        samples_bytes: u64,
    ) -> Ledger {
        let heap_bytes = heaps.memory_bytes();
        let allocator_in_use_bytes = self.allocator_in_use_bytes();
        let now = AnonymousBytes {
            resident: anonymous_bytes(process),
            heap_in_use: allocator_in_use_bytes.unwrap_or(0),
        };
        let parts = self.anonymous_parts(registry, now, read_process);
        Ledger::balance(&LedgerReading {
            resident_bytes: process.resident_bytes,
            resident_file_bytes: process.resident_file_bytes,
            file_copies_bytes: parts.file_copies,
            allocator_in_use_bytes,
            plugins_linear_bytes: parts.wasm.linear,
            profiler_bytes: parts.wasm.profiler,
            telemetry_queue_bytes: self.telemetry_queue.get().map_or(0, |queue| queue.bytes()),
            symbols_bytes: heap_bytes.symbols,
            history_bytes: samples_bytes + heap_bytes.histories,
        })
    }

    fn allocator_in_use_bytes(&self) -> Option<u64> {
        let cached = &self.allocator_in_use_bytes;
        cached.with(allocator::in_use_bytes, |bytes| *bytes)
    }

    /// Granted bytes, where the kernel does not report the resident bytes.
    fn anonymous_parts(
        &self,
        registry: &Registry,
        now: AnonymousBytes,
        read_process: impl Fn() -> Option<ProcessReading>,
    ) -> AnonymousParts {
        let mut sizes = GrantedSizes::default();
        for plugin in registry.plugins().iter() {
            let reading = plugin.reading();
            sizes.add(reading.linear.bytes, reading.profiler_bytes);
        }
        let read_now = || {
            Some(AnonymousBytes {
                resident: anonymous_bytes(&read_process()?),
                heap_in_use: self.allocator_in_use_bytes().unwrap_or(0),
            })
        };
        let resident = self.wasm_memories.resident(&sizes, now, read_now);
        resident.unwrap_or(AnonymousParts {
            wasm: sizes.granted(),
            file_copies: 0,
        })
    }
}

fn anonymous_bytes(process: &ProcessReading) -> u64 {
    process
        .resident_bytes
        .saturating_sub(process.resident_file_bytes)
}
