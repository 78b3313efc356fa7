//! Counts the linear memory of a store and denies growth beyond its limit.
//!
//! Linear memory never shrinks while an instance lives, so the count is a high-water mark, not the
//! live bytes.

use std::sync::Arc;

use guest_heap::InstrumentedMeta;
use wasmtime::ResourceLimiter;

use crate::settings::WASM32_MEMORY_MAX;

/// The most elements of one table. Each takes 8 bytes of the host.
const MAX_TABLE_ELEMENTS: usize = 1 << 20;

/// One denied growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denied {
    /// Bytes of linear memory before the growth.
    pub had: u64,
    /// Bytes that it requested in total.
    pub requested: u64,
}

/// The limiter of one store.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: u64,
    /// Distinguishes the profiler's memory from the plugin's.
    meta: Arc<InstrumentedMeta>,
    profiler_bytes: u64,
    linear_bytes: u64,
    grows: u64,
    denials: u64,
    denied: Option<Denied>,
    /// Bytes that the growth in progress adds; subtracted again if the system denies it.
    pending: u64,
}

impl Limiter {
    /// A limiter that lets all linear memories together grow to `limit` bytes.
    pub(crate) fn new(limit: u64, meta: Arc<InstrumentedMeta>) -> Self {
        Limiter {
            limit,
            meta,
            profiler_bytes: 0,
            linear_bytes: 0,
            grows: 0,
            denials: 0,
            denied: None,
            pending: 0,
        }
    }

    /// Changes the limit, in bytes. The plugin keeps what it already has.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// The limit in bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes of linear memory of the plugin, all its memories together.
    pub(crate) fn linear_bytes(&self) -> u64 {
        self.linear_bytes
    }

    /// Bytes of linear memory of the heap profiler in the guest. They do not count against the
    /// plugin's limit.
    pub(crate) fn profiler_bytes(&self) -> u64 {
        self.profiler_bytes
    }

    /// Growths granted since the store was created, including the initial size of each memory.
    pub(crate) fn grows(&self) -> u64 {
        self.grows
    }

    /// Growths denied since the store was created.
    pub(crate) fn denials(&self) -> u64 {
        self.denials
    }

    /// Returns the last denial and forgets it.
    pub(crate) fn take_denied(&mut self) -> Option<Denied> {
        self.denied.take()
    }

    fn deny(&mut self, requested: u64) {
        self.denials += 1;
        self.denied = Some(Denied {
            had: self.linear_bytes,
            requested,
        });
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let added = desired.saturating_sub(current) as u64;
        if self.meta.is_profiler_memory(maximum) {
            self.pending = 0;
            self.profiler_bytes = self.profiler_bytes.saturating_add(added);
            return Ok(true);
        }
        let requested = self.linear_bytes.saturating_add(added);
        self.pending = 0;
        if requested > self.limit
            || maximum.is_some_and(|m| desired > m)
            || desired as u64 > WASM32_MEMORY_MAX
        {
            self.deny(requested);
            return Ok(false);
        }
        self.linear_bytes = requested;
        self.pending = added;
        self.grows += 1;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // The limiter granted it, but the system denied it.
        if self.pending > 0 {
            let requested = self.linear_bytes;
            self.linear_bytes = self.linear_bytes.saturating_sub(self.pending);
            self.pending = 0;
            self.grows = self.grows.saturating_sub(1);
            self.deny(requested);
        }
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS && maximum.is_none_or(|m| desired <= m))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 65_536;

    fn limiter(limit: u64) -> Limiter {
        Limiter::new(limit, Arc::new(InstrumentedMeta::off("a test")))
    }

    #[test]
    fn growth_is_counted_over_all_memories() {
        let mut l = limiter(10 * PAGE as u64);
        assert!(l.memory_growing(0, 4 * PAGE, None).unwrap());
        assert!(l.memory_growing(0, 4 * PAGE, None).unwrap());
        assert_eq!(l.linear_bytes(), 8 * PAGE as u64);
        assert!(!l.memory_growing(4 * PAGE, 7 * PAGE, None).unwrap());
        assert_eq!(
            l.take_denied(),
            Some(Denied {
                had: 8 * PAGE as u64,
                requested: 11 * PAGE as u64
            })
        );
        assert_eq!(l.take_denied(), None);
        assert_eq!((l.grows(), l.denials()), (2, 1));
    }

    #[test]
    fn a_growth_that_the_system_denies_is_not_counted() {
        let mut l = limiter(u64::MAX);
        assert!(l.memory_growing(0, PAGE, None).unwrap());
        assert!(l.memory_growing(PAGE, 3 * PAGE, None).unwrap());
        l.memory_grow_failed(wasmtime::Error::msg("no memory"))
            .unwrap();
        assert_eq!(
            (l.linear_bytes(), l.grows(), l.denials()),
            (PAGE as u64, 1, 1)
        );
    }

    #[test]
    fn more_than_the_declared_maximum_is_denied() {
        let mut l = limiter(u64::MAX);
        assert!(!l.memory_growing(PAGE, 3 * PAGE, Some(2 * PAGE)).unwrap());
        assert!(l.take_denied().is_some());
    }
}
