//! Where a guest has trapped, with the names and lines of the original component.

use guest_heap::InstrumentedMeta;
use guest_heap::symbols::{Frame, FrameKind, Symbols};
use wasmtime::WasmBacktrace;

use crate::engine::of_engine;
use crate::report;

/// Frames of a call stack that are shown, before inlined functions are added.
const MAX_FRAMES: usize = 32;

/// The error of a guest that did not come back.
pub(crate) struct GuestError {
    /// What has happened, in one line.
    pub(crate) reason: String,
    /// Offsets of the call stack in the original component, innermost first.
    offsets: Vec<u32>,
}

impl GuestError {
    /// `meta` is that of the component that ran.
    pub(crate) fn of(error: &anyhow::Error, meta: &InstrumentedMeta) -> Self {
        let backtrace = of_engine(error).and_then(|error| error.downcast_ref::<WasmBacktrace>());
        // The backtrace is one of the causes, and its text has mangled names.
        let text_of_backtrace = backtrace.map(ToString::to_string);
        let causes = error.chain().map(ToString::to_string);
        let causes = causes.filter(|cause| Some(cause) != text_of_backtrace.as_ref());
        let causes: Vec<String> = causes.collect();
        // Functions of the profiler have no offset in the original.
        let offset = |frame: &wasmtime::FrameInfo| {
            let compiled = u32::try_from(frame.module_offset()?).ok()?;
            meta.offsets().original(compiled)
        };
        let frames = backtrace.map(WasmBacktrace::frames).unwrap_or_default();
        Self {
            reason: causes.join(": "),
            offsets: frames.iter().filter_map(offset).take(MAX_FRAMES).collect(),
        }
    }

    /// Whether the guest's code was running, so that there is a call stack.
    pub(crate) fn is_trap(&self) -> bool {
        !self.offsets.is_empty()
    }

    /// The own line in which it happened, and the call stack. Empty without a call stack. It reads
    /// line tables, which can take a while.
    pub(crate) fn call_stack(&self, symbols: &Symbols) -> String {
        let frames = self.offsets.iter();
        let frames: Vec<Frame> = frames
            .flat_map(|offset| symbols.resolve(*offset).to_vec())
            .collect();
        if frames.is_empty() {
            return String::new();
        }
        let own = frames
            .iter()
            .find(|frame| frame.kind == FrameKind::User && frame.file.is_some());
        let own = own.map_or_else(String::new, |frame| {
            format!("  in your code at {}\n", report::frame(frame))
        });
        format!(
            "{own}  call stack, innermost first:\n{}",
            report::trace(&frames, 4)
        )
    }

    /// The reason and the call stack, for a terminal.
    pub(crate) fn describe(&self, symbols: &Symbols) -> String {
        format!("{}\n{}", self.reason, self.call_stack(symbols))
    }
}
