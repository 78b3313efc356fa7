//! The place of the calling context.

use wasm_encoder::{InstructionSink, MemArg, MemArgTarget};

/// Where the calling context is.
#[derive(Clone, Copy, Debug)]
pub(super) enum ContextPlace {
    /// In the global with this index.
    Global(u32),
    /// In the profiler's memory, at an address that all modules with the same heap tables share. An
    /// imported global would move the indices of the module's own globals.
    Memory {
        /// Index of the memory in the module.
        memory: u32,
        address: u32,
    },
}

impl ContextPlace {
    fn argument(memory: u32, address: u32) -> MemArg {
        MemArg {
            offset: u64::from(address),
            align: 3,
            target: MemArgTarget::Memory(memory),
            ordering: None,
        }
    }

    pub(super) fn get(self, code: &mut InstructionSink<'_>) {
        match self {
            Self::Global(global) => code.global_get(global),
            Self::Memory { memory, address } => {
                code.i32_const(0).i64_load(Self::argument(memory, address))
            }
        };
    }

    /// Sets the context to the value that `value` pushes.
    pub(super) fn set(
        self,
        code: &mut InstructionSink<'_>,
        value: impl FnOnce(&mut InstructionSink<'_>),
    ) {
        match self {
            Self::Global(global) => {
                value(code);
                code.global_set(global);
            }
            Self::Memory { memory, address } => {
                code.i32_const(0);
                value(code);
                code.i64_store(Self::argument(memory, address));
            }
        }
    }
}
