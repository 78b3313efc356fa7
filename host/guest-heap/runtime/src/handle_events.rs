//! The functions that the wrappers of imports and exports call when the guest gets handles or ends
//! them.

use crate::contexts::{FULL, NEW};
use crate::guest::key;
use crate::state::state;
use crate::transitions::{IMPORTS_MASK, PHASE_SHIFT, synthetic_index};

/// An import has returned a handle. It belongs to the calling context.
#[unsafe(no_mangle)]
extern "C" fn handle_made(handle: u32, ty: u32) {
    let found = context_of_call();
    let index = found & !NEW;
    state!(CONTEXTS)
        .handles
        .made(state!(HANDLE_NUMBERS), handle, index, ty);
    if found != index {
        crate::accounting::report(found);
    }
}

/// The index of the context of the current call of an import. A context without a record is not
/// folded: its handles count in the overflow.
pub(crate) fn context_of_call() -> u32 {
    let context = key(0);
    let contexts = state!(CONTEXTS);
    match contexts.find(context) {
        Some(index) => index,
        None => match contexts.search(context) {
            FULL => 0,
            found => found,
        },
    }
}

/// The host has passed a handle as an argument. `synthetic` is the context of the arguments.
#[unsafe(no_mangle)]
extern "C" fn handle_argument(handle: u32, ty: u32, synthetic: u32) {
    let index = synthetic_index(synthetic);
    let handles = &mut state!(CONTEXTS).handles;
    handles.made(state!(HANDLE_NUMBERS), handle, index, ty);
}

/// The guest is about to drop a handle or to pass it on.
#[unsafe(no_mangle)]
extern "C" fn handle_ended(handle: u32) {
    let handles = &mut state!(CONTEXTS).handles;
    handles.ended(state!(HANDLE_NUMBERS), handle);
}

/// Returns to the phase of a call that was suspended in an import, so that the handles of its
/// results are counted as its own. `before` is the result of `import_suspends`.
#[unsafe(no_mangle)]
extern "C" fn handles_begin(before: u32) {
    let phase = state!(PHASE);
    phase.current = before >> PHASE_SHIFT;
    phase.active_imports = (before & IMPORTS_MASK).saturating_sub(1);
}

/// The handles after [`handles_begin`] are counted.
#[unsafe(no_mangle)]
extern "C" fn handles_end(before: u32) {
    state!(PHASE).active_imports = before & IMPORTS_MASK;
}
