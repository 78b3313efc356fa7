//! Counts the memory of a store and denies growth beyond its limit: linear memories, the heaps of
//! garbage-collected objects, and tables.
//!
//! None of them shrinks while an instance lives, so the count is a high-water mark, not the live
//! bytes.

use std::sync::Arc;

use guest_heap::InstrumentedMeta;
use wasmtime::ResourceLimiterAsync;

use crate::settings::WASM32_MEMORY_MAX;

/// The most elements of one table.
const MAX_TABLE_ELEMENTS: usize = 1 << 20;

/// Bytes of the host for each element of a table.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// The most memories of a component, with one of the profiler for each module that allocates. Each
/// one reserves 4 GiB of address space, so all together take less than 1 % of what a process has.
const MAX_MEMORIES: usize = 64;

/// The most tables of a component.
const MAX_TABLES: usize = 256;

/// The most core instances of a component. A composed Python component has about a hundred.
const MAX_INSTANCES: usize = 1000;

/// Bytes of memory from which an instance is [`Size::Large`]. Filling it takes about 20 ms.
const LARGE_BYTES: u64 = 64 << 20;

/// Bytes of memory from which an instance is [`Size::Huge`]. Filling it takes about 150 ms.
const HUGE_BYTES: u64 = 512 << 20;

/// How much memory one instruction can work on. No clock interrupts a `memory.fill`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Size {
    /// No instruction takes long.
    Small,
    /// One instruction can take as long as a quick request may wait.
    Large,
    /// One instruction can take too long for any request.
    Huge,
}

/// One denied growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denied {
    /// Bytes before the growth.
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
    table_bytes: u64,
    grows: u64,
    denials: u64,
    denied: Option<Denied>,
    /// Bytes that the growth in progress adds; subtracted again if the system denies it.
    pending: u64,
    /// The same for tables.
    pending_table: u64,
}

impl Limiter {
    /// A limiter that lets all memories and tables together grow to `limit` bytes.
    pub(crate) fn new(limit: u64, meta: Arc<InstrumentedMeta>) -> Self {
        Limiter {
            limit,
            meta,
            profiler_bytes: 0,
            linear_bytes: 0,
            table_bytes: 0,
            grows: 0,
            denials: 0,
            denied: None,
            pending: 0,
            pending_table: 0,
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

    /// Bytes of all memories and tables, with those of the profiler.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.used().saturating_add(self.profiler_bytes)
    }

    /// How much memory one instruction can work on.
    pub(crate) fn size(&self) -> Size {
        match self.total_bytes() {
            HUGE_BYTES.. => Size::Huge,
            LARGE_BYTES.. => Size::Large,
            _ => Size::Small,
        }
    }

    /// Bytes that count against the limit.
    fn used(&self) -> u64 {
        self.linear_bytes.saturating_add(self.table_bytes)
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
            had: self.used(),
            requested,
        });
    }
}

impl Limiter {
    fn grow_memory(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let added = desired.saturating_sub(current) as u64;
        self.pending = 0;
        if self.meta.is_profiler_memory(maximum) {
            self.profiler_bytes = self.profiler_bytes.saturating_add(added);
            return true;
        }
        let requested = self.used().saturating_add(added);
        if requested > self.limit
            || maximum.is_some_and(|m| desired > m)
            || desired as u64 > WASM32_MEMORY_MAX
        {
            self.deny(requested);
            return false;
        }
        self.linear_bytes = self.linear_bytes.saturating_add(added);
        self.pending = added;
        self.grows += 1;
        true
    }

    fn grow_table(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        self.pending_table = 0;
        if desired > MAX_TABLE_ELEMENTS || maximum.is_some_and(|m| desired > m) {
            return false;
        }
        let added = (desired.saturating_sub(current) as u64).saturating_mul(TABLE_ELEMENT_BYTES);
        let requested = self.used().saturating_add(added);
        if requested > self.limit {
            self.deny(requested);
            return false;
        }
        self.table_bytes = self.table_bytes.saturating_add(added);
        self.pending_table = added;
        true
    }

    fn memory_denied_by_system(&mut self) {
        if self.pending > 0 {
            let requested = self.used();
            self.linear_bytes = self.linear_bytes.saturating_sub(self.pending);
            self.pending = 0;
            self.grows = self.grows.saturating_sub(1);
            self.deny(requested);
        }
    }

    /// Yields when a growth has made the instance large or huge: the caller sees that the call is
    /// not done, and goes on with it on its own thread.
    async fn yield_if_above(&self, size: Size) {
        if self.size() > size {
            tokio::task::yield_now().await;
        }
    }
}

#[wasmtime_wasi::async_trait]
impl ResourceLimiterAsync for Limiter {
    async fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let size = self.size();
        let granted = self.grow_memory(current, desired, maximum);
        self.yield_if_above(size).await;
        Ok(granted)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // The limiter granted it, but the system denied it.
        self.memory_denied_by_system();
        Ok(())
    }

    async fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let size = self.size();
        let granted = self.grow_table(current, desired, maximum);
        self.yield_if_above(size).await;
        Ok(granted)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_bytes = self.table_bytes.saturating_sub(self.pending_table);
        self.pending_table = 0;
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
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
        assert!(l.grow_memory(0, 4 * PAGE, None));
        assert!(l.grow_memory(0, 4 * PAGE, None));
        assert_eq!(l.linear_bytes(), 8 * PAGE as u64);
        assert!(!l.grow_memory(4 * PAGE, 7 * PAGE, None));
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
        assert!(l.grow_memory(0, PAGE, None));
        assert!(l.grow_memory(PAGE, 3 * PAGE, None));
        l.memory_denied_by_system();
        assert_eq!(
            (l.linear_bytes(), l.grows(), l.denials()),
            (PAGE as u64, 1, 1)
        );
    }

    #[test]
    fn tables_count_against_the_same_limit() {
        let mut l = limiter(20 * PAGE as u64);
        assert!(l.grow_memory(0, 10 * PAGE, None));
        // 8 bytes for each element: 8 pages.
        assert!(l.grow_table(0, PAGE, None));
        assert!(!l.grow_table(0, PAGE, None));
        assert!(l.take_denied().is_some());
        assert!(!l.grow_memory(10 * PAGE, 13 * PAGE, None));
        assert!(l.grow_memory(10 * PAGE, 12 * PAGE, None));
        assert_eq!(l.linear_bytes(), 12 * PAGE as u64);
        assert!(!l.grow_table(0, MAX_TABLE_ELEMENTS + 1, None));
        assert!(!l.grow_table(0, 2, Some(1)));
    }

    #[test]
    fn more_than_the_declared_maximum_is_denied() {
        let mut l = limiter(u64::MAX);
        assert!(!l.grow_memory(PAGE, 3 * PAGE, Some(2 * PAGE)));
        assert!(l.take_denied().is_some());
    }
}
