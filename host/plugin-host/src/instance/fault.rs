//! Turns the error of a failed call into a [`Fault`]: its kind, its reason and its call stack.

use std::time::Duration;

use guest_heap::OffsetMap;
use wasmtime::{Trap, WasmBacktrace};

use crate::error::{Fault, FaultKind, Frame, with_causes};
use crate::guest_text;
use crate::instance::store_state::StoreState;

/// Frames kept of a fault's call stack, before inlined functions are added.
const MAX_FRAMES: usize = 32;

/// The fault of a call that did not return in time.
pub(crate) fn timed_out(deadline: Duration) -> Fault {
    Fault {
        kind: FaultKind::Deadline,
        reason: format!("did not return within {} ms", deadline.as_millis()),
        backtrace: Vec::new(),
    }
}

/// The fault of a call that ended with an error.
pub(crate) fn from_error(
    state: &mut StoreState,
    error: &wasmtime::Error,
    deadline: Duration,
) -> Fault {
    let backtrace = error
        .downcast_ref::<WasmBacktrace>()
        .map(|backtrace| frames(backtrace, state.recorder.meta().offsets()))
        .unwrap_or_default();
    let trap = error.downcast_ref::<Trap>();
    let stderr = state.log.take_last_stderr();
    let (kind, reason) = match (trap, state.limiter.take_denied()) {
        (Some(Trap::Interrupt), _) => {
            return Fault {
                backtrace,
                ..timed_out(deadline)
            };
        }
        // A guest that is denied memory mostly aborts with a plain `unreachable`. Only the limiter
        // knows the cause.
        (_, Some(denied)) => (
            FaultKind::MemoryLimit,
            format!(
                "memory limit: had {}, requested {}, the limit is {}",
                mebibytes(denied.had),
                mebibytes(denied.requested),
                mebibytes(state.limiter.limit())
            ),
        ),
        (Some(Trap::StackOverflow), None) => (
            FaultKind::StackOverflow,
            "call stack exhausted: the recursion is too deep".into(),
        ),
        (Some(trap @ Trap::UnreachableCodeReached), None) => {
            (FaultKind::Unreachable, trap_reason(trap, &stderr))
        }
        (Some(trap), None) => (FaultKind::Trap, trap_reason(trap, &stderr)),
        (None, None) => (FaultKind::Host, with_causes(error)),
    };
    Fault {
        kind,
        reason,
        backtrace,
    }
}

/// The trap with the last lines of stderr, where a Rust guest prints its panic message.
fn trap_reason(trap: &Trap, stderr: &[String]) -> String {
    let lines = stderr
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty() && !line.starts_with("note:"));
    let lines = lines.collect::<Vec<_>>().join(" ");
    if lines.is_empty() {
        trap.to_string()
    } else {
        guest_text::keep(&format!("{trap}: {lines}"))
    }
}

/// The guest's call stack with offsets in the original component, which its symbols refer to.
/// Frames of the profiler have no such offset and are left out.
fn frames(backtrace: &WasmBacktrace, offsets: &OffsetMap) -> Vec<Frame> {
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => guest_text::keep_name(&format!("{:#}", rustc_demangle::demangle(name))),
        None => format!("function {}", frame.func_index()),
    };
    let frame = |f: &wasmtime::FrameInfo| {
        let compiled = f.module_offset().and_then(|o| u32::try_from(o).ok());
        let offset = match compiled {
            None => None,
            Some(compiled) => Some(offsets.original(compiled)?),
        };
        Some(Frame {
            function: name(f),
            offset,
            location: None,
            own: false,
        })
    };
    let frames = backtrace.frames().iter().filter_map(frame);
    frames.take(MAX_FRAMES).collect()
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}
