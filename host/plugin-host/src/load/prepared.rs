//! Compiled code that is mapped but not linked yet.

use std::sync::Arc;

use guest_heap::InstrumentedMeta;
use wasmtime::component::Component;

use crate::load::cache::{CacheEntry, UsedFile};

/// A component's machine code, from the cache or from the compiler.
pub(super) struct Prepared {
    pub(super) component: Component,
    pub(super) meta: Arc<InstrumentedMeta>,
    /// Its files in the cache.
    pub(super) used: Vec<UsedFile>,
}

impl Prepared {
    /// The code of an entry. `meta` is the entry's side data.
    pub(super) fn of(entry: CacheEntry, meta: Arc<InstrumentedMeta>) -> Self {
        Prepared {
            component: entry.component,
            meta,
            used: vec![entry.used],
        }
    }
}
