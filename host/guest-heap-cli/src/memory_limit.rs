//! The limit of a guest's linear memory.

use std::sync::Arc;

use guest_heap::InstrumentedMeta;
use wasmtime::ResourceLimiter;

/// Denies growth beyond a limit. The profiler's own memory does not count.
pub(crate) struct MemoryLimit {
    limit: u64,
    used: u64,
    meta: Arc<InstrumentedMeta>,
    /// The bytes that the last denied growth wanted in total.
    denied: Option<u64>,
    /// Bytes that the growth in progress adds; subtracted again if the system denies it.
    pending: u64,
}

impl MemoryLimit {
    /// Lets all linear memories together grow to `limit` bytes.
    pub(crate) fn new(limit: u64, meta: Arc<InstrumentedMeta>) -> Self {
        Self {
            limit,
            used: 0,
            meta,
            denied: None,
            pending: 0,
        }
    }

    /// Bytes of all linear memories, without those of the profiler.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// The bytes that the last denied growth wanted in total.
    pub(crate) fn denied(&self) -> Option<u64> {
        self.denied
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.pending = 0;
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if self.meta.is_profiler_memory(maximum) {
            return Ok(true);
        }
        let added = desired.saturating_sub(current) as u64;
        let wanted = self.used.saturating_add(added);
        if wanted > self.limit {
            self.denied = Some(wanted);
            return Ok(false);
        }
        self.used = wanted;
        self.pending = added;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.pending));
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_together_stay_below_the_limit() {
        let mut limit = MemoryLimit::new(300, Arc::new(InstrumentedMeta::off("a test")));
        assert!(limit.memory_growing(0, 100, None).unwrap());
        assert!(limit.memory_growing(0, 150, Some(200)).unwrap());
        assert!(!limit.memory_growing(100, 151, None).unwrap());
        assert_eq!(limit.denied(), Some(301));
        assert!(limit.memory_growing(100, 150, None).unwrap());
        limit
            .memory_grow_failed(wasmtime::Error::msg("no memory"))
            .unwrap();
        assert!(limit.memory_growing(100, 150, None).unwrap());
    }
}
