//! Bounds of the static data in a module's first memory.

use super::scan::CoreModule;

/// Bytes of a wasm page, as exponent of two.
const PAGE_LOG2: u32 = 16;

/// The initial memory of a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StaticData {
    /// Pages of the memories that the module defines. A memory that another module defines is in no
    /// count, so that each memory counts once.
    pub(super) initial_pages: u32,
    /// Bytes of static data and stack, at least.
    ///
    /// It is the end of the data segments, of the stack or of the data according to the linker's
    /// symbols, whichever is last. Data that is zero at first is in no segment, so static data may
    /// end later. Constant addresses in code are no help: the start of an allocator writes to
    /// constant addresses at the end of the initial memory.
    pub(super) bytes: u32,
    /// End of the data segments. The heap of an initialised program, from which a snapshot was
    /// taken, lies below it.
    pub(super) segments_end: u32,
}

impl StaticData {
    pub(super) fn of(module: &CoreModule<'_>) -> Self {
        let segments_end = u32::try_from(module.data_end).unwrap_or(u32::MAX);
        if module.imports_memory {
            return Self {
                segments_end,
                ..Self::default()
            };
        }
        let first = module.memories.first();
        let first_bytes = first.map_or(0, |memory| {
            let log2 = memory.page_size_log2.unwrap_or(PAGE_LOG2);
            memory.initial.saturating_mul(1 << log2)
        });
        let pages = module.memories.iter().map(|memory| {
            let log2 = memory.page_size_log2.unwrap_or(PAGE_LOG2);
            memory.initial >> PAGE_LOG2.saturating_sub(log2)
        });
        let bytes = [
            Some(segments_end),
            module.stack_pointer,
            module.data_end_symbol,
        ]
        .into_iter()
        .flatten()
        .filter(|end| u64::from(*end) <= first_bytes)
        .max();
        Self {
            initial_pages: u32::try_from(pages.sum::<u64>()).unwrap_or(u32::MAX),
            bytes: bytes.unwrap_or(0),
            segments_end,
        }
    }
}
