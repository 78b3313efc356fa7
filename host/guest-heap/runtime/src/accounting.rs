//! Counts allocations and frees in the context table and in the live table.

use crate::block::Block;
use crate::contexts::{FULL, NEW};
use crate::guest::{key, misses_frees, report_context, report_every_event, segments_end};
use crate::phase::{NewContext, synthetic_context};
use crate::state::state;

/// The index of the context of an allocation: `pointer` is the new block, or 0. A new context gets
/// a record, and [`NEW`] is set in its index. If the table is full, the context is folded.
#[inline(always)]
pub(crate) fn current_context(pointer: u32) -> u32 {
    let context = key(pointer);
    match state!(CONTEXTS).find(context) {
        Some(index) => index,
        None => add_context(context),
    }
}

#[cold]
#[inline(never)]
fn add_context(context: u64) -> u32 {
    match state!(CONTEXTS).search(context) {
        FULL => fold(context),
        found => found,
    }
}

/// The index of a context that the full context table does not have, for one allocation. [`NEW`] is
/// set only in the index of a synthetic context, which has a record of its own.
fn fold(context: u64) -> u32 {
    let known = state!(FOLDS).find(context);
    let index = match (state!(PHASE).new_context(), known) {
        (NewContext::Synthetic(synthetic), _) => {
            state!(CONTEXTS).search_synthetic(synthetic_context(synthetic))
        }
        (_, Some(index)) => index,
        (NewContext::Capture, None) => {
            let index = report_context(state!(PHASE).instance, 0, context);
            state!(FOLDS).insert(context, index)
        }
        (NewContext::CaptureAfterImport, None) => {
            state!(PHASE).pending_fold = context;
            0
        }
    };
    state!(CONTEXTS).header.overflowed += 1;
    index
}

/// Adds a block to the live table.
#[inline(always)]
pub(crate) fn insert_live(pointer: u32, size: u32, index: u32) {
    if misses_frees() != 0 {
        note_start(pointer, size);
    }
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

/// Notes where a new block starts. The live blocks that it overlaps were freed unseen.
#[inline(never)]
fn note_start(pointer: u32, size: u32) {
    let live = |start| state!(LIVE).size(start);
    while let Some(start) = state!(STARTS).overlapped(pointer, size, live) {
        free_unseen(start);
    }
    state!(STARTS).insert(pointer, size);
}

/// Like [`note_start`], for a block that has grown in place from `old` bytes to `size`.
#[inline(never)]
fn note_growth_in_place(pointer: u32, old: u32, size: u32) {
    let old = old.max(1);
    let live = |start| state!(LIVE).size(start);
    while let Some(more) = size.checked_sub(old).filter(|more| *more > 0)
        && let Some(start) = state!(STARTS).after(pointer.wrapping_add(old), more, live)
    {
        free_unseen(start);
    }
    state!(STARTS).insert(pointer, size);
}

/// Counts a live block as freed, because the allocator has handed out its memory again.
fn free_unseen(pointer: u32) {
    if let Some(block) = remove_live(pointer) {
        state!(CONTEXTS).free(block.context, block.size);
        state!(CONTEXTS).header.reused_blocks += 1;
    }
}

/// Removes a block from the live table.
#[inline(always)]
fn remove_live(pointer: u32) -> Option<Block> {
    if misses_frees() != 0 {
        state!(STARTS).remove(pointer);
    }
    state!(LIVE).remove(pointer)
}

/// Whether the live table has a block at this address.
pub(crate) fn is_live(pointer: u32) -> bool {
    state!(LIVE).size(pointer).is_some()
}

/// Counts a new block in the current context.
#[inline(always)]
pub(crate) fn count_allocation(pointer: u32, size: u32) {
    let found = current_context(pointer);
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
    match remove_live(pointer) {
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
    let found = current_context(new);
    let index = found & !NEW;
    state!(CONTEXTS).allocate(index, size);
    let mut before = None;
    if old == new {
        before = state!(LIVE).replace(new, size, index);
        if misses_frees() != 0
            && let Some(block) = before
        {
            note_growth_in_place(new, block.size, size);
        }
    } else if old != 0 {
        before = remove_live(old);
    }
    if old != new || before.is_none() {
        if old == new {
            before = remove_live(new);
        }
        if old != 0 && before.is_none() {
            count_unknown_free(old);
        }
        insert_live(new, size, index);
    }
    if let Some(block) = before {
        state!(CONTEXTS).free(block.context, block.size);
        state!(CONTEXTS).resize(index, block.context, block.size.min(size));
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
    let is_new = found != index;
    if !is_new && report_every_event() == 0 {
        return;
    }
    match state!(PHASE).new_context() {
        // The overflow has no call stack.
        NewContext::Capture if index != 0 => {
            let instance = state!(PHASE).instance;
            if is_new {
                let context = state!(CONTEXTS).record(index).context;
                report_context(instance, index, context);
            }
            if report_every_event() != 0 {
                // The host compares the call stack with the one that it has for the context.
                report_context(instance, index, 0);
            }
            return;
        }
        NewContext::CaptureAfterImport if is_new => {
            let pending = &mut state!(PHASE).pending;
            *pending = (*pending).max(index + 1);
        }
        NewContext::Synthetic(synthetic) if is_new => {
            state!(CONTEXTS).record(index).synthetic = u64::from(synthetic);
        }
        _ => {}
    }
    state!(CONTEXTS).checks.unreported += u64::from(report_every_event());
}
