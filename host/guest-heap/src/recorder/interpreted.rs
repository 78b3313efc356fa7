//! The source lines of an instance's interpreted program.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::interpreter::{Fault, GuestMemory, Interpreter, Running, RunningCode};
use crate::source_stack::{InterpretedStack, SourceFrame};

/// Bit in the number of a source frame. It tells it from the offset of a call site.
pub(super) const SOURCE_FRAME: u32 = 1 << 31;

/// Bytes that a frame takes in addition to its texts: in the maps and in the list.
const FRAME_BYTES: usize = 160;

/// The source frames of an instance. Each has a number with the bit [`SOURCE_FRAME`].
#[derive(Default)]
pub(super) struct SourceFrames {
    by_code: HashMap<RunningCode, u32>,
    numbers: HashMap<Arc<SourceFrame>, u32>,
    frames: Vec<Arc<SourceFrame>>,
    /// A number of the function of each frame.
    functions: Vec<u32>,
    function_numbers: HashMap<(Arc<str>, Arc<str>, u32), u32>,
    texts: HashSet<Arc<str>>,
    bytes: usize,
}

/// Why the code that runs has no stack of source frames.
pub(super) enum NoStack {
    /// The host has to read the guest's memory at this address first.
    Missing(u32),
    /// No interpreted code runs.
    NotRunning,
    /// The guest's memory has no frames where they should be, or there is no room for more.
    Unreadable,
}

impl From<Fault> for NoStack {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Missing(address) => Self::Missing(address),
            Fault::Unreadable => Self::Unreadable,
        }
    }
}

/// A stack of source frames, by their numbers, innermost first.
#[derive(Debug)]
pub(super) struct NumberedStack {
    pub(super) frames: Vec<u32>,
    pub(super) is_cut: bool,
}

impl SourceFrames {
    /// Reads the stack of the code that runs. If `context` is not 0, it must be the key of that
    /// code: else no interpreted code has allocated.
    pub(super) fn read(
        &mut self,
        interpreter: &Interpreter,
        memory: &impl GuestMemory,
        context: u64,
        max_bytes: usize,
    ) -> Result<NumberedStack, NoStack> {
        let Running { frames, is_cut } = interpreter.running(memory)?;
        if frames.is_empty() || context != 0 && Interpreter::key(&frames) != context {
            return Err(NoStack::NotRunning);
        }
        let mut numbers = Vec::with_capacity(frames.len());
        for running in frames {
            let number = match self.by_code.get(&running) {
                Some(number) => *number,
                None => {
                    let frame = interpreter.frame(memory, running)?;
                    self.add(running, frame, max_bytes)
                        .ok_or(NoStack::Unreadable)?
                }
            };
            numbers.push(number);
        }
        Ok(NumberedStack {
            frames: numbers,
            is_cut,
        })
    }

    fn add(&mut self, running: RunningCode, frame: SourceFrame, max_bytes: usize) -> Option<u32> {
        if self.memory_bytes() + FRAME_BYTES > max_bytes {
            return None;
        }
        let frame = Arc::new(SourceFrame {
            file: self.text(frame.file),
            function: self.text(frame.function),
            line: frame.line,
        });
        let number = match self.numbers.get(&frame) {
            Some(number) => *number,
            None => {
                let number = SOURCE_FRAME | self.frames.len() as u32;
                let function = (
                    Arc::clone(&frame.file),
                    Arc::clone(&frame.function),
                    running.first_line,
                );
                let next = SOURCE_FRAME | self.function_numbers.len() as u32;
                let function = *self.function_numbers.entry(function).or_insert(next);
                self.functions.push(function);
                self.frames.push(Arc::clone(&frame));
                self.numbers.insert(frame, number);
                number
            }
        };
        self.by_code.insert(running, number);
        Some(number)
    }

    fn text(&mut self, text: Arc<str>) -> Arc<str> {
        if let Some(known) = self.texts.get(&text) {
            return Arc::clone(known);
        }
        self.bytes += text.len() + 4 * size_of::<usize>();
        self.texts.insert(Arc::clone(&text));
        text
    }

    /// The frames with their functions, as call stacks are folded by them.
    pub(super) fn with_functions(&self, frames: &[u32]) -> Vec<(u32, u32)> {
        let function = |number: &u32| {
            let function = self.functions.get((number & !SOURCE_FRAME) as usize);
            (*number, function.copied().unwrap_or(*number))
        };
        frames.iter().map(function).collect()
    }

    /// The stack with these numbers.
    pub(super) fn stack(&self, frames: &[u32], is_cut: bool) -> InterpretedStack {
        let frame = |number: &u32| self.frames.get((number & !SOURCE_FRAME) as usize).cloned();
        InterpretedStack::new(frames.iter().filter_map(frame).collect(), is_cut)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes + self.by_code.len() * FRAME_BYTES
    }
}
