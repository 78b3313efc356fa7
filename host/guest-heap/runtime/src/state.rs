//! The runtime's statics.
//!
//! There is one thread and no re-entrance: a wasm core instance runs one function at a time, and no
//! function of the runtime is interrupted by another one while it holds a reference to a static.

use crate::argument_blocks::ArgumentBlocks;
use crate::contexts::Contexts;
use crate::folds::Folds;
use crate::handles::HandleNumbers;
use crate::late_results::LateResults;
use crate::live::{Bucket, LiveTable, Region, Spill};
use crate::phase::Phase;
use crate::starts::Starts;

const WASM_PAGE: usize = 65_536;

unsafe extern "C" {
    static __heap_base: u8;
}

/// The memory behind the runtime's own data, up to the end of the memory.
pub(crate) struct HeapRegion;

// SAFETY: nothing else uses the memory from the heap base on, since there is no allocator. The
// instrumenter gives the memory one page more than the linker asked for; FIRST_BYTES fit into it.
unsafe impl Region for HeapRegion {
    #[inline(always)]
    fn base(&self) -> *mut Bucket {
        let heap = (&raw const __heap_base).cast_mut();
        heap.wrapping_add(heap.align_offset(align_of::<Bucket>()))
            .cast()
    }

    fn ensure(&mut self, bytes: usize) -> bool {
        let end = self.base() as usize + bytes;
        let size = core::arch::wasm32::memory_size(0) * WASM_PAGE;
        end <= size
            || core::arch::wasm32::memory_grow(0, (end - size).div_ceil(WASM_PAGE)) != usize::MAX
    }
}

pub(crate) static mut CONTEXTS: Contexts = Contexts::new();
pub(crate) static mut FOLDS: Folds = Folds::new();
pub(crate) static mut HANDLE_NUMBERS: HandleNumbers = HandleNumbers::new();
static mut SPILL: Spill = Spill::new();
// SAFETY: nothing else uses SPILL.
pub(crate) static mut LIVE: LiveTable<HeapRegion> =
    unsafe { LiveTable::new(HeapRegion, &raw mut SPILL) };
/// Used only if blocks may be freed where no hook sees it.
pub(crate) static mut STARTS: Starts = Starts::new();
pub(crate) static mut ARGUMENT_BLOCKS: ArgumentBlocks = ArgumentBlocks::new();
pub(crate) static mut LATE_RESULTS: LateResults = LateResults::new();
pub(crate) static mut PHASE: Phase = Phase::new();
/// The calling context of modules that share the heap tables. A single module keeps it in a global.
/// It is not 0 until the host has registered the instance.
#[unsafe(no_mangle)]
pub static mut SHARED_CONTEXT: u64 = 1;
/// 1 while an allocator entry point runs, otherwise 0. Used only if entry points may nest, or if
/// memory may grow without one.
pub(crate) static mut HOOK_ACTIVE: u32 = 0;
/// The block that was allocated last. Used only for a known interpreter.
pub(crate) static mut LAST_BLOCK: u32 = 0;
/// The calling context in which the entry point that runs was called. Used like [`HOOK_ACTIVE`]:
/// code that the entry point calls may change the context.
pub(crate) static mut HOOK_CONTEXT: u64 = 0;
/// Pages of the guest's memories before the growth that is under way.
pub(crate) static mut PAGES_BEFORE_GROWTH: u32 = 0;

/// A mutable reference to one of the statics above.
macro_rules! state {
    ($name:ident) => {
        // SAFETY: there is one thread, and no call leaves this module while the reference lives.
        unsafe { &mut *(&raw mut $crate::state::$name) }
    };
}
pub(crate) use state;
