//! Collects the readings of a ledger.

use std::sync::{Arc, OnceLock};

use crate::heap::Heaps;
use crate::ledger::{Ledger, LedgerReading};
use plugin_host::registry::Registry;
use process_memory::allocator;
use process_memory::cached_reading::CachedReading;
use process_memory::process::ProcessReading;
use process_memory::wasm_memories::{GrantedSizes, WasmBytes, WasmMemories};
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

    /// The ledger of a process reading. `samples_bytes` are the bytes of the samples of process and
    /// plugins.
    pub(crate) fn read(
        &self,
        process: &ProcessReading,
        registry: &Registry,
        heaps: &Heaps,
        samples_bytes: u64,
    ) -> Ledger {
        let heap_bytes = heaps.memory_bytes();
        let wasm = self.resident_wasm_bytes(registry);
        Ledger::balance(&LedgerReading {
            resident_bytes: process.resident_bytes,
            resident_file_bytes: process.resident_file_bytes,
            allocator_in_use_bytes: self
                .allocator_in_use_bytes
                .with(allocator::in_use_bytes, |bytes| *bytes),
            plugins_linear_bytes: wasm.linear,
            profiler_bytes: wasm.profiler,
            telemetry_queue_bytes: self.telemetry_queue.get().map_or(0, |queue| queue.bytes()),
            symbols_bytes: heap_bytes.symbols,
            history_bytes: samples_bytes + heap_bytes.histories,
        })
    }

    /// Granted bytes, where the kernel does not report the resident bytes.
    fn resident_wasm_bytes(&self, registry: &Registry) -> WasmBytes {
        let (mut sizes, mut granted) = (GrantedSizes::default(), WasmBytes::default());
        for plugin in registry.plugins().iter() {
            let reading = plugin.reading();
            sizes.add(reading.linear.bytes, reading.profiler_bytes);
            granted.linear += reading.linear.bytes;
            granted.profiler += reading.profiler_bytes;
        }
        let resident = self.wasm_memories.resident(&sizes).unwrap_or(granted);
        WasmBytes {
            linear: resident.linear.min(granted.linear),
            profiler: resident.profiler.min(granted.profiler),
        }
    }
}
