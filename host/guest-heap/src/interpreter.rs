//! An interpreter in a guest: where it is, which code of its program runs, and at which line.
//!
//! The rest of the crate knows three things about an interpreter:
//!
//! - [`Interpreter::find`] recognises it in the data of a component, or says why it cannot be used;
//! - [`Interpreter::constant`] gives the runtime the constants with which it makes the key of an
//!   allocation from the frames of the interpreter, and [`Interpreter::key`] computes the same key;
//! - [`Interpreter::running`] and [`Interpreter::frame`] read the frames and their source lines in
//!   the guest's memory.
//!
//! The guest may write anything into its memory. So the number of frames, steps and bytes is
//! bounded, and every load is checked.

mod cpython;
mod detect;
mod line_table;
mod memory;
mod texts;

#[cfg(test)]
mod tests;

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

use crate::source_stack::SourceFrame;
use cpython::Offsets;
pub(crate) use detect::Detection;
pub(crate) use memory::{Fault, GuestMemory, Windows};

/// Frames that make up a key unless the options say otherwise.
pub(crate) const DEFAULT_DEPTH: u32 = 8;
/// Frames that make up a key at most.
pub(crate) const MAX_DEPTH: u32 = 64;

/// Steps through the list of frames for each frame of the key, as in the runtime.
const STEPS_PER_FRAME: u32 = 4;

/// The factor of the runtime between two frames.
const MULTIPLIER: u64 = 0x9E6C_63D0_876A_9A47;

/// An interpreter whose frames can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// As `PY_VERSION_HEX`.
    version: u32,
    /// Address of the interpreter's state, `_PyRuntime`.
    runtime: u32,
    /// End of the data from which the guest starts.
    snapshot_end: u32,
    /// Frames that make up a key, 1 to 64.
    depth: u32,
    offsets: Offsets,
}

/// Code that runs: a frame of the interpreter, by the numbers that are in the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RunningCode {
    /// Address of the code object.
    pub(crate) code: u32,
    /// Address of the instruction.
    instruction: u32,
    /// Line at which the code begins.
    pub(crate) first_line: u32,
}

/// The code that runs, innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) frames: Vec<RunningCode>,
    /// Whether there are further outer frames.
    pub(crate) is_cut: bool,
}

impl Interpreter {
    /// Finds the interpreter of a component in the bytes of its core modules.
    pub(crate) fn find<'a>(modules: impl Iterator<Item = &'a [u8]>) -> Detection {
        detect::find(modules)
    }

    /// Sets how many frames make up a key.
    pub(crate) fn with_depth(mut self, depth: u32) -> Self {
        self.depth = depth.clamp(1, MAX_DEPTH);
        self
    }

    /// The version for readers, such as `CPython 3.14.0`.
    pub(crate) fn name(&self) -> String {
        cpython::name(self.version)
    }

    /// The value of a constant that the runtime imports under this name.
    pub(crate) fn constant(&self, import: &str) -> Option<u32> {
        let offsets = &self.offsets;
        Some(match import {
            "py_interpreters" => self.runtime + offsets.interpreters,
            "py_threads" => offsets.threads,
            "py_current_frame" => offsets.current_frame,
            "py_previous" => offsets.previous,
            "py_executable" => offsets.executable,
            "py_instruction" => offsets.instruction,
            "py_owner" => offsets.owner,
            "py_first_own_frame" => u32::from(cpython::FIRST_OWN_FRAME),
            "py_frame_bytes" => offsets.frame_bytes(),
            "py_first_line" => offsets.first_line,
            "py_depth" => self.depth,
            "py_type" => offsets.ob_type,
            "py_object_size" => offsets.ob_type + 4,
            "py_type_flags" => offsets.type_flags,
            "py_basic_size" => offsets.type_name + 4,
            "py_item_size" => offsets.type_name + 8,
            "py_snapshot_end" => self.snapshot_end,
            _ => return None,
        })
    }

    /// Reads which code runs. There is none before the interpreter starts, and in code of other
    /// languages that it has not called.
    pub(crate) fn running(&self, memory: &impl GuestMemory) -> Result<Running, Fault> {
        let offsets = &self.offsets;
        let mut running = Running::default();
        let interpreter = memory.word(self.runtime, offsets.interpreters)?;
        if interpreter == 0 {
            return Ok(running);
        }
        let thread = memory.word(interpreter, offsets.threads)?;
        if thread == 0 {
            return Ok(running);
        }
        let mut frame = memory.word(thread, offsets.current_frame)?;
        let mut steps = self.depth * STEPS_PER_FRAME;
        // The runtime, too, stops at a frame that is not in the memory.
        while frame != 0 && steps > 0 && memory.contains(frame, offsets.frame_bytes()) {
            steps -= 1;
            if memory.byte(frame, offsets.owner)? < cpython::FIRST_OWN_FRAME {
                if running.frames.len() as u32 == self.depth {
                    running.is_cut = true;
                    break;
                }
                let code = memory.word(frame, offsets.executable)? & !3;
                let first_line = match memory.word(code, offsets.first_line) {
                    Err(Fault::Unreadable) => 0,
                    line => line?,
                };
                running.frames.push(RunningCode {
                    code,
                    instruction: memory.word(frame, offsets.instruction)?,
                    first_line,
                });
            }
            frame = memory.word(frame, offsets.previous)?;
        }
        Ok(running)
    }

    /// The key that the runtime makes of these frames.
    pub(crate) fn key(frames: &[RunningCode]) -> u64 {
        let key = frames.iter().fold(0_u64, |key, frame| {
            let line = frame.code ^ (frame.first_line << 4);
            let place = u64::from(line) << 32 | u64::from(frame.instruction);
            let key = (key ^ place).wrapping_mul(MULTIPLIER);
            key ^ key >> 29
        });
        let key = key.wrapping_mul(MULTIPLIER);
        key ^ key >> 32
    }

    /// Reads the source line of a frame.
    pub(crate) fn frame(
        &self,
        memory: &impl GuestMemory,
        running: RunningCode,
    ) -> Result<SourceFrame, Fault> {
        let offsets = &self.offsets;
        let RunningCode {
            code, first_line, ..
        } = running;
        let start = code.checked_add(offsets.instructions);
        let unit = start.and_then(|start| running.instruction.checked_sub(start));
        let unit = unit.ok_or(Fault::Unreadable)? / cpython::UNIT_BYTES;
        let table = memory.word(code, offsets.line_table)?;
        let bytes = memory.word(table, offsets.bytes_size)?;
        let table = table
            .checked_add(offsets.bytes_start)
            .ok_or(Fault::Unreadable)?;
        let line = line_table::line_at(memory, table, bytes, first_line, unit)?;
        let text = |offset| texts::read(memory, offsets, memory.word(code, offset)?);
        Ok(SourceFrame {
            file: text(offsets.file_name)?.into(),
            function: text(offsets.qualified_name)?.into(),
            line,
        })
    }

    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        for number in [self.version, self.runtime, self.snapshot_end, self.depth] {
            number.encode(bytes);
        }
        for number in self.offsets.to_numbers() {
            number.encode(bytes);
        }
    }

    pub(crate) fn decode(reader: &mut BinaryReader<'_>) -> wasmparser::Result<Self> {
        let [version, runtime, snapshot_end, depth] = numbers(reader)?;
        Ok(Self {
            version,
            runtime,
            snapshot_end,
            depth,
            offsets: Offsets::from_numbers(numbers(reader)?),
        })
    }
}

fn numbers<const N: usize>(reader: &mut BinaryReader<'_>) -> wasmparser::Result<[u32; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = reader.read_var_u32()?;
    }
    Ok(numbers)
}
