//! What a call that failed died of, and where.

use std::time::Duration;

use guest_heap::OffsetMap;
use wasmtime::{Trap, WasmBacktrace};

use super::StoreState;
use crate::error::{Fault, FaultKind, Frame};
use crate::load::loader::chain;

/// Frames of a fault that are kept.
const FRAMES_MAX: usize = 32;

/// A call that did not come back in time.
pub(crate) fn too_long(deadline: Duration) -> Fault {
    Fault {
        kind: FaultKind::Deadline,
        reason: format!("did not return within {} ms", deadline.as_millis()),
        backtrace: Vec::new(),
    }
}

/// Says in one sentence what a failed call died of.
pub(crate) fn fault(state: &mut StoreState, error: &wasmtime::Error, deadline: Duration) -> Fault {
    let backtrace = error
        .downcast_ref::<WasmBacktrace>()
        .map(|backtrace| frames(backtrace, state.recorder.meta().offsets()))
        .unwrap_or_default();
    let trap = error.downcast_ref::<Trap>();
    let last_words = state.log.take_last_stderr();
    let (kind, reason) = match (trap, state.limiter.take_denied()) {
        (Some(Trap::Interrupt), _) => {
            return Fault {
                backtrace,
                ..too_long(deadline)
            };
        }
        // A guest that is refused memory mostly aborts with a plain `unreachable`: the limiter knows better.
        (_, Some(denied)) => (
            FaultKind::MemoryLimit,
            format!(
                "memory limit: had {} of linear memory, wanted {}, may have {}",
                mebibytes(denied.had),
                mebibytes(denied.wanted),
                mebibytes(state.limiter.limit())
            ),
        ),
        (Some(Trap::StackOverflow), None) => (
            FaultKind::StackOverflow,
            "call stack exhausted: it recursed too deep".into(),
        ),
        (Some(trap @ Trap::UnreachableCodeReached), None) => {
            (FaultKind::Unreachable, explain(trap, &last_words))
        }
        (Some(trap), None) => (FaultKind::Trap, explain(trap, &last_words)),
        (None, None) => (FaultKind::Host, chain(error)),
    };
    Fault {
        kind,
        reason,
        backtrace,
    }
}

fn explain(trap: &Trap, last_words: &[String]) -> String {
    let said = last_words
        .iter()
        .map(|l| l.trim())
        .filter(|l| !l.is_empty() && !l.starts_with("note:"));
    let said = said.collect::<Vec<_>>().join(" ");
    if said.is_empty() {
        trap.to_string()
    } else {
        format!("{trap}: {said}")
    }
}

/// The guest's call stack with the offsets that its own symbols know. Frames of the profiler are left out.
fn frames(backtrace: &WasmBacktrace, offsets: &OffsetMap) -> Vec<Frame> {
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
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
    frames.take(FRAMES_MAX).collect()
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}
