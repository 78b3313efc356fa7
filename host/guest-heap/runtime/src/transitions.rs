//! The functions that the instrumented module calls at its borders: the connector once, export
//! wrappers around each export, and instrumented code around each call of an import.

use crate::accounting::{current_context, insert_live, report};
use crate::contexts::{Contexts, LAYOUT_VERSION, MAX_CONTEXTS, NEW};
use crate::growth::{describe_memory, update_size};
use crate::guest::{report_context, set_context, suspends_calls};
use crate::phase::{ARGUMENTS, INITIALISING, OUTSIDE, RUNNING, synthetic_context};
use crate::state::state;

/// Address of the context table in the runtime's memory.
#[unsafe(no_mangle)]
extern "C" fn heap_tables() -> u32 {
    let contexts = state!(CONTEXTS);
    contexts.header.layout = LAYOUT_VERSION;
    contexts.header.table_bytes = state!(LIVE).bytes() as u64;
    describe_memory(&mut contexts.header);
    &raw const *contexts as u32
}

/// Number of 64-bit words that the host reads from [`heap_tables`] on.
#[unsafe(no_mangle)]
extern "C" fn heap_table_words() -> u32 {
    Contexts::SHARED_WORDS as u32
}

/// Instantiation is complete: the host has registered the heap tables under this number.
#[unsafe(no_mangle)]
extern "C" fn registered(instance: u32) {
    let phase = state!(PHASE);
    phase.instance = instance;
    phase.current = OUTSIDE;
    phase.active_imports = 0;
    // The global had another value during initialisation, so later allocations by the same path get
    // contexts of their own.
    set_context(0);
    state!(ARGUMENT_BLOCKS).take();
}

/// Sets the calling context that modules with the same heap tables share.
#[unsafe(no_mangle)]
extern "C" fn set_shared_context(context: u64) {
    *state!(SHARED_CONTEXT) = context;
}

/// The host has called an export. `arguments` is the synthetic context of its arguments.
#[unsafe(no_mangle)]
extern "C" fn export_begins(arguments: u32) {
    let phase = state!(PHASE);
    if phase.enter(RUNNING) == OUTSIDE || suspends_calls() != 0 {
        // An import that ended in an exception has not returned.
        phase.active_imports = 0;
    }
    attribute_lowered(arguments);
}

/// Moves all blocks that the host has lowered since the last event to a synthetic context.
#[inline(always)]
pub(crate) fn attribute_lowered(synthetic: u32) {
    if !state!(ARGUMENT_BLOCKS).is_empty() {
        attribute_arguments(synthetic);
    }
}

#[cold]
#[inline(never)]
fn attribute_arguments(synthetic: u32) {
    move_lowered_blocks(synthetic_index(synthetic));
}

/// The index of the synthetic context with this number.
pub(crate) fn synthetic_index(synthetic: u32) -> u32 {
    let found = state!(CONTEXTS).search_synthetic(synthetic_context(synthetic));
    let index = found & !NEW;
    if index != 0 {
        // Index 0 is the overflow, which has a name of its own.
        state!(CONTEXTS).record(index).synthetic = u64::from(synthetic);
    }
    index
}

/// Moves all blocks that the host has lowered since the last event to a context.
fn move_lowered_blocks(index: u32) {
    for &pointer in state!(ARGUMENT_BLOCKS).take() {
        move_lowered_block(pointer, index);
    }
}

/// Moves a block to a context.
pub(crate) fn move_lowered_block(pointer: u32, index: u32) {
    if let Some(block) = state!(LIVE).set_context_of_recent(pointer, index) {
        state!(CONTEXTS).move_block(block.context, index, block.size);
    } else if let Some(block) = state!(LIVE).remove(pointer) {
        state!(CONTEXTS).move_block(block.context, index, block.size);
        insert_live(pointer, block.size, index);
    }
}

/// Enters the synthetic context of a post-return function. Returns the previous phase for
/// [`phase_ends`].
#[unsafe(no_mangle)]
extern "C" fn phase_begins(synthetic: u32) -> u32 {
    state!(PHASE).enter(synthetic)
}

/// Like [`phase_begins`], but for an export that the component does not lift: it enters the
/// synthetic context only when no known export runs.
#[unsafe(no_mangle)]
extern "C" fn entry_begins(synthetic: u32) -> u32 {
    let phase = state!(PHASE);
    if phase.current == OUTSIDE {
        phase.current = synthetic;
        return OUTSIDE;
    }
    phase.current
}

/// Returns to the phase before [`phase_begins`] or [`entry_begins`].
#[unsafe(no_mangle)]
extern "C" fn phase_ends(before: u32) {
    state!(PHASE).current = before;
}

/// An export returns to the host.
#[unsafe(no_mangle)]
extern "C" fn export_ends() {
    update_size(&mut state!(CONTEXTS).header);
    state!(PHASE).enter(OUTSIDE);
}

/// The guest is about to call an import.
#[unsafe(no_mangle)]
extern "C" fn import_begins() {
    state!(PHASE).active_imports += 1;
}

/// The import has returned. The blocks of its results belong to the context of its call.
#[unsafe(no_mangle)]
extern "C" fn import_ends() {
    let phase = state!(PHASE);
    phase.active_imports = phase.active_imports.wrapping_sub(1);
    if (phase.pending != 0 || phase.pending_fold != 0) && phase.active_imports == 0 {
        report_pending();
    }
}

/// Reports the contexts that were new during a call of an import. The host captures the call stack
/// of the call: it cannot find it by the context, which includes the frames of `cabi_realloc`.
#[cold]
#[inline(never)]
fn report_pending() {
    let phase = state!(PHASE);
    let index = core::mem::take(&mut phase.pending);
    if index != 0 {
        report_context(phase.instance, index - 1, 0);
    }
    let context = core::mem::take(&mut phase.pending_fold);
    if context != 0 {
        let index = report_context(phase.instance, 0, 0);
        state!(FOLDS).insert(context, index);
    }
}

/// Bit of the phase in the result of [`import_suspends`]. The bits below are the active imports.
pub(crate) const PHASE_SHIFT: u32 = 16;
/// The bits of the active imports.
pub(crate) const IMPORTS_MASK: u32 = (1 << PHASE_SHIFT) - 1;

/// The guest is about to call an import, and other calls may run before it returns. Returns the
/// state for [`import_resumes`].
#[unsafe(no_mangle)]
extern "C" fn import_suspends() -> u32 {
    let phase = state!(PHASE);
    let state = phase.current << PHASE_SHIFT | phase.active_imports & IMPORTS_MASK;
    phase.active_imports += 1;
    state
}

/// The import of [`import_suspends`] has returned, and the calling context is that of its call. All
/// blocks that the host has lowered since the last event belong to it.
#[unsafe(no_mangle)]
extern "C" fn import_resumes(state: u32) {
    let phase = state!(PHASE);
    phase.current = state >> PHASE_SHIFT;
    phase.active_imports = state & IMPORTS_MASK;
    if !state!(ARGUMENT_BLOCKS).is_empty() {
        attribute_results();
    }
}

#[cold]
#[inline(never)]
fn attribute_results() {
    let found = current_context(0);
    move_lowered_blocks(found & !NEW);
    report(found);
}

/// Result of [`lowering_begins`]: the host lowers results of a known call of an import, or the
/// instance is in a synthetic context.
const RESULTS: u32 = 0;
/// Result of [`lowering_begins`]: the host lowers arguments.
const CALL_ARGUMENTS: u32 = 1;
/// Result of [`lowering_begins`]: the host lowers results of an import whose call the instrumenter
/// could not see.
const UNSEEN_RESULTS: u32 = 2;
/// Bit in the result of [`lowering_begins`]: calls may be suspended, so the next event tells which
/// call the block belongs to. The bits below are the phase to return to.
const NEXT_EVENT: u32 = 1 << 31;

/// `cabi_realloc` is about to run for the host. Returns the purpose for [`lowering_ends`].
#[unsafe(no_mangle)]
extern "C" fn lowering_begins() -> u32 {
    let phase = state!(PHASE);
    if suspends_calls() != 0 && phase.current != INITIALISING {
        let before = core::mem::replace(&mut phase.current, ARGUMENTS);
        set_context(synthetic_context(ARGUMENTS));
        return NEXT_EVENT | before;
    }
    match (phase.current, phase.active_imports) {
        (OUTSIDE, _) => {
            phase.current = ARGUMENTS;
            set_context(synthetic_context(ARGUMENTS));
            CALL_ARGUMENTS
        }
        (RUNNING, 0) => {
            // The runtime must not call the host now, so a new context gets a name and no stack.
            phase.current = ARGUMENTS;
            UNSEEN_RESULTS
        }
        _ => RESULTS,
    }
}

/// `cabi_realloc` has returned the block at `pointer`, which may be null for an argument without
/// bytes.
#[unsafe(no_mangle)]
extern "C" fn lowering_ends(pointer: u32, purpose: u32) {
    match purpose {
        CALL_ARGUMENTS => {
            state!(PHASE).current = OUTSIDE;
            // The address 0 marks a free lane in the live table.
            if pointer != 0 {
                state!(ARGUMENT_BLOCKS).push(pointer);
            }
        }
        UNSEEN_RESULTS => state!(PHASE).current = RUNNING,
        _ if purpose & NEXT_EVENT != 0 => {
            state!(PHASE).current = purpose & !NEXT_EVENT;
            if pointer != 0 {
                state!(ARGUMENT_BLOCKS).push(pointer);
            }
        }
        _ => {}
    }
}

const _: () = assert!(MAX_CONTEXTS <= u16::MAX as usize);
const _: () = assert!(INITIALISING != OUTSIDE);
