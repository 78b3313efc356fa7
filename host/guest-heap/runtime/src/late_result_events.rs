//! Results that the host lowers after an asynchronous call of an import has returned.
//!
//! Such a call returns a subtask and leaves the address of its results with the host. The host
//! lowers the results while no code of the guest runs, and tells the guest with an event. Then the
//! instrumented code walks through the results, and their blocks move to the context of the call.

use crate::accounting::report;
use crate::contexts::NEW;
use crate::handle_events::context_of_call;
use crate::late_results::Call;
use crate::phase::IMPORT_RESULTS;
use crate::state::state;
use crate::transitions::{attribute_lowered, move_lowered_block};

/// The event that says that the state of a subtask has changed.
const SUBTASK: u32 = 1;

/// States of a subtask that has ended: it has returned its results, or it is cancelled.
const RETURNED: u32 = 2;
const CANCELLED_BEFORE_RETURNED: u32 = 4;

/// Bits of the state in the status that an asynchronous call returns.
const STATE_BITS: u32 = 4;

/// An asynchronous call of an import has returned this status. `results` is 0 if its results need
/// no memory.
#[unsafe(no_mangle)]
extern "C" fn call_started(status: u32, pointer: u32, results: u32) {
    let late = state!(LATE_RESULTS);
    let subtask = status >> STATE_BITS;
    let Some(call) = late.calls.get_mut(subtask as usize) else {
        return;
    };
    // The component model gives the number of a dropped subtask out again.
    call.results = 0;
    if results != 0 && subtask != 0 {
        let found = context_of_call();
        *call = Call {
            context: found & !NEW,
            pointer,
            results,
        };
        if found & NEW != 0 {
            report(found);
        }
    }
}

/// The guest gets an event. Returns the number of the results that have arrived, or 0. The
/// instrumented code then walks through these results.
#[unsafe(no_mangle)]
extern "C" fn results_arrive(event: u32, subtask: u32, status: u32) -> u32 {
    attribute_lowered(IMPORT_RESULTS);
    let late = state!(LATE_RESULTS);
    let has_ended = (RETURNED..=CANCELLED_BEFORE_RETURNED).contains(&status);
    let call = late.calls.get_mut(subtask as usize);
    let Some(call) = call.filter(|_| event == SUBTASK && has_ended) else {
        return 0;
    };
    late.current = *call;
    call.results = 0;
    if status == RETURNED {
        late.current.results
    } else {
        0
    }
}

/// The address of the results that have arrived.
#[unsafe(no_mangle)]
extern "C" fn results_pointer() -> u32 {
    state!(LATE_RESULTS).current.pointer
}

/// A synchronous call of an import has returned, and other calls ran in the meantime. The
/// instrumented code then walks through its results.
#[unsafe(no_mangle)]
extern "C" fn results_of_call() {
    attribute_lowered(IMPORT_RESULTS);
    let found = context_of_call();
    state!(LATE_RESULTS).current.context = found & !NEW;
    if found & NEW != 0 {
        report(found);
    }
}

/// The results have a block at this address.
#[unsafe(no_mangle)]
extern "C" fn result_block(pointer: u32) {
    if pointer != 0 {
        move_lowered_block(pointer, state!(LATE_RESULTS).current.context);
    }
}

/// The results have a handle.
#[unsafe(no_mangle)]
extern "C" fn result_handle(handle: u32, ty: u32) {
    let context = state!(LATE_RESULTS).current.context;
    let handles = &mut state!(CONTEXTS).handles;
    handles.made(state!(HANDLE_NUMBERS), handle, context, ty);
}
