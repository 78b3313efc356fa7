//! Counts allocations and frees in the context table and in the live table.

use crate::contexts::NEW;
use crate::guest::{context, report_context, report_every_event, segments_end};
use crate::phase::NewContext;
use crate::state::state;

/// Adds a block to the live table.
#[inline(always)]
pub(crate) fn insert_live(pointer: u32, size: u32, index: u32) {
    if !state!(LIVE).insert(pointer, size, index) {
        insert_live_slow(pointer, size, index);
    }
}

#[cold]
#[inline(never)]
fn insert_live_slow(pointer: u32, size: u32, index: u32) {
    let live = state!(LIVE);
    let contexts = state!(CONTEXTS);
    let kept = live.insert_slow(pointer, size, index);
    while let Some(block) = live.take_reused() {
        contexts.free(block.context, block.size);
        contexts.header.reused_blocks += 1;
    }
    contexts.header.table_bytes = live.bytes() as u64;
    contexts.header.lost_objects += live.take_dropped();
    if !kept {
        contexts.header.lost_objects += 1;
        contexts.header.lost_bytes += u64::from(size);
        contexts.free(index, size);
    }
}

/// Counts a new block in the current context.
#[inline(always)]
pub(crate) fn count_allocation(pointer: u32, size: u32) {
    let found = state!(CONTEXTS).find(context());
    let index = found & !NEW;
    state!(CONTEXTS).allocate(index, size);
    insert_live(pointer, size, index);
    if found != index || report_every_event() != 0 {
        report(found);
    }
}

/// Counts the free of a block in the context that the block belongs to.
#[inline(always)]
pub(crate) fn count_free(pointer: u32) {
    match state!(LIVE).remove(pointer) {
        Some(block) => state!(CONTEXTS).free(block.context, block.size),
        None => count_unknown_free(pointer),
    }
}

#[cold]
#[inline(never)]
fn count_unknown_free(pointer: u32) {
    let header = &mut state!(CONTEXTS).header;
    if pointer < segments_end() {
        header.snapshot_frees += 1;
    } else {
        header.unknown_frees += 1;
    }
}

/// Counts the reallocation of a block from `old`, which may be null, to `new`, which is not.
#[inline(always)]
pub(crate) fn count_realloc(old: u32, new: u32, size: u32) {
    let found = state!(CONTEXTS).find(context());
    let index = found & !NEW;
    state!(CONTEXTS).allocate(index, size);
    let in_place = if old == new {
        state!(LIVE).replace(new, size, index)
    } else {
        if old != 0 {
            count_free(old);
        }
        None
    };
    match in_place {
        Some(block) => state!(CONTEXTS).free(block.context, block.size),
        None => {
            if old == new {
                count_free(new);
            }
            insert_live(new, size, index);
        }
    }
    if found != index || report_every_event() != 0 {
        report(found);
    }
}

/// Reports a new context to the host, or notes its name. `found` is the result of
/// [`find`](crate::contexts::Contexts::find).
#[cold]
#[inline(never)]
pub(crate) fn report(found: u32) {
    let index = found & !NEW;
    match state!(PHASE).new_context() {
        NewContext::Capture => report_context(state!(PHASE).instance, index),
        NewContext::CaptureAfterImport => {
            let pending = &mut state!(PHASE).pending;
            *pending = (*pending).max(index + 1);
        }
        NewContext::Synthetic(synthetic) if found != index => {
            state!(CONTEXTS).record(index).synthetic = u64::from(synthetic);
        }
        NewContext::Synthetic(_) => {}
    }
}
