//! The ledger of the growths of the guest's memories: which ones an allocator entry point has made.
//!
//! The instrumented code calls [`growth_begins`] before each `memory.grow` and [`growth_ends`]
//! after it. Both leave the operands as they are, and the difference of the sizes tells whether the
//! growth was refused. Other modules of the component may grow the same memory at other times.

use crate::accounting::{current_context, report};
use crate::contexts::{Header, NEW};
use crate::guest::{
    context, guards, guest_pages, hooks_nest, initial_pages, owns_memory, report_every_event,
    static_bytes,
};
use crate::state::state;

/// Bytes of a wasm page.
const WASM_PAGE: u64 = 65_536;

/// Fills the words of the header that do not change, if the module defines its memories. Modules
/// that share the heap tables share the memory, too, so one of them describes it.
pub(crate) fn describe_memory(header: &mut Header) {
    if owns_memory() != 0 {
        header.describes_memory = 1;
        header.initial_pages = u64::from(initial_pages());
        header.static_bytes = u64::from(static_bytes());
        update_size(header);
    }
}

/// Notes the present size of the memories, if a module has described them.
#[inline(always)]
pub(crate) fn update_size(header: &mut Header) {
    if header.describes_memory != 0 {
        header.memory_pages = u64::from(guest_pages());
    }
}

/// The guest is about to grow a memory.
#[unsafe(no_mangle)]
extern "C" fn growth_begins() {
    *state!(PAGES_BEFORE_GROWTH) = guest_pages();
}

/// The guest has grown a memory, or its growth was refused.
#[unsafe(no_mangle)]
extern "C" fn growth_ends() {
    let pages = guest_pages().wrapping_sub(*state!(PAGES_BEFORE_GROWTH));
    if pages == 0 {
        return;
    }
    let contexts = state!(CONTEXTS);
    update_size(&mut contexts.header);
    contexts.header.grown_pages += u64::from(pages);
    // Without guards it is known that only entry points grow memory.
    if guards() == 0 || *state!(HOOK_ACTIVE) != 0 {
        contexts.header.seen_pages += u64::from(pages);
        let context = if guards() == 0 && hooks_nest() == 0 {
            context()
        } else {
            *state!(HOOK_CONTEXT)
        };
        // An entry point may grow memory more than once.
        if contexts.header.growing_context != context {
            settle();
        }
        let header = &mut state!(CONTEXTS).header;
        header.growing_context = context;
        header.growing_pages += u64::from(pages);
        return;
    }
    let found = current_context(0);
    let index = found & !NEW;
    let [unseen, growths] = &mut state!(CONTEXTS).record(index).unseen;
    *unseen += pages;
    *growths += 1;
    if found != index || report_every_event() != 0 {
        report(found);
    }
}

/// Counts the most recent growth for an entry point in the record of its context. If the entry
/// point has allocated nothing, its context may have no record.
fn settle() {
    let contexts = state!(CONTEXTS);
    let pages = core::mem::take(&mut contexts.header.growing_pages);
    let context = contexts.header.growing_context;
    if pages == 0 {
        return;
    }
    let known = contexts.known(context);
    if let Some(index) = known.or_else(|| state!(FOLDS).find(context)) {
        contexts.record(index).seen_pages += pages;
    }
}
