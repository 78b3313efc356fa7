//! Counts the linear memory that a store is given, and refuses what is over its limit.
//!
//! Linear memory never shrinks while an instance lives, so this is a high-water mark, not what is live.

use std::sync::Arc;

use guest_heap::InstrumentedMeta;
use wasmtime::ResourceLimiter;

use crate::settings::WASM32_MEMORY_MAX;

/// Elements that a table may have. One takes 8 bytes of the host.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;

/// One growth that was asked for and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denied {
    /// Bytes of linear memory that the plugin had.
    pub had: u64,
    /// Bytes that it wanted to have.
    pub wanted: u64,
}

/// The limiter of one store.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: u64,
    /// Tells the profiler's memory from the plugin's.
    meta: Arc<InstrumentedMeta>,
    profiler_bytes: u64,
    linear_bytes: u64,
    grows: u64,
    denials: u64,
    denied: Option<Denied>,
    /// What the growth in progress adds, to be taken back if it fails.
    pending: u64,
}

impl Limiter {
    /// A limiter that lets linear memories grow to `limit` bytes in all.
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

    /// Moves the limit. What the plugin already has stays.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// The limit in bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes of linear memory given to the plugin, all its memories together.
    pub(crate) fn linear_bytes(&self) -> u64 {
        self.linear_bytes
    }

    /// Bytes of linear memory that the heap profiler has in the guest: the host's expense, not the plugin's.
    pub(crate) fn profiler_bytes(&self) -> u64 {
        self.profiler_bytes
    }

    /// Growths granted since the store was made, the first of each memory included.
    pub(crate) fn grows(&self) -> u64 {
        self.grows
    }

    /// Growths refused since the store was made.
    pub(crate) fn denials(&self) -> u64 {
        self.denials
    }

    /// The last refusal, once.
    pub(crate) fn take_denied(&mut self) -> Option<Denied> {
        self.denied.take()
    }

    fn deny(&mut self, wanted: u64) {
        self.denials += 1;
        self.denied = Some(Denied {
            had: self.linear_bytes,
            wanted,
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
        let wanted = self.linear_bytes.saturating_add(added);
        self.pending = 0;
        if wanted > self.limit
            || maximum.is_some_and(|m| desired > m)
            || desired as u64 > WASM32_MEMORY_MAX
        {
            self.deny(wanted);
            return Ok(false);
        }
        self.linear_bytes = wanted;
        self.pending = added;
        self.grows += 1;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // Granted here, refused by the system: what was booked goes back.
        if self.pending > 0 {
            let wanted = self.linear_bytes;
            self.linear_bytes = self.linear_bytes.saturating_sub(self.pending);
            self.pending = 0;
            self.grows = self.grows.saturating_sub(1);
            self.deny(wanted);
        }
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX && maximum.is_none_or(|m| desired <= m))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 65_536;

    fn limiter(limit: u64) -> Limiter {
        Limiter::new(limit, Arc::new(InstrumentedMeta::off("not wanted")))
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
                wanted: 11 * PAGE as u64
            })
        );
        assert_eq!(l.take_denied(), None);
        assert_eq!((l.grows(), l.denials()), (2, 1));
    }

    #[test]
    fn a_growth_that_the_system_refuses_is_taken_back() {
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
