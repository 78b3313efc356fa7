//! Emits code that passes each handle of a value to the runtime.

use wasm_encoder::{BlockType, InstructionSink, MemArg, MemArgTarget};

use super::shape::{MAX_LISTS, Shape};

/// Locals that loops over lists need.
pub(super) const LIST_LOCALS: u32 = 2 * MAX_LISTS;

/// A place with handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In parameters, or in a result, from this local on.
    Flat(u32, Shape),
    /// In memory, at the address in this local.
    Memory(u32, Shape),
}

/// What happens to a handle, with the function of the runtime that counts it.
#[derive(Clone, Copy)]
pub(super) enum Call {
    Made(u32),
    Ended(u32),
    /// With the number of the synthetic context.
    Argument(u32, u32),
    /// The functions for the handles and for the blocks of a result. Handles may have been counted
    /// already.
    Result(Option<u32>, u32),
}

/// Emits code that passes each handle of a value to the runtime.
pub(super) struct Emitter<'c, 'b> {
    pub(super) code: &'c mut InstructionSink<'b>,
    pub(super) call: Call,
    /// Types of the locals that flat values are in. Further locals are i32.
    pub(super) types: &'c [wasmparser::ValType],
}

impl Emitter<'_, '_> {
    pub(super) fn place(&mut self, place: &Place, lists: u32) {
        match place {
            Place::Flat(first, shape) => self.flat(shape, *first, lists),
            Place::Memory(pointer, shape) => self.memory(shape, *pointer, 0, lists),
        }
    }

    /// Counts the handle of this type on the stack.
    pub(super) fn count(&mut self, ty: u32) {
        match self.call {
            Call::Made(function) => self.code.i32_const(ty as i32).call(function),
            Call::Ended(function) => self.code.call(function),
            Call::Result(Some(function), _) => self.code.i32_const(ty as i32).call(function),
            Call::Result(None, _) => self.code.drop(),
            Call::Argument(function, synthetic) => self
                .code
                .i32_const(ty as i32)
                .i32_const(synthetic as i32)
                .call(function),
        };
    }

    /// Passes on the address of the block on the stack.
    fn block(&mut self) {
        match self.call {
            Call::Result(_, function) => self.code.call(function),
            _ => self.code.drop(),
        };
    }

    /// Pushes a flat value as i32. The payload of a variant may be in a wider local.
    fn local(&mut self, local: u32) {
        self.code.local_get(local);
        if self.types.get(local as usize) == Some(&wasmparser::ValType::I64) {
            self.code.i32_wrap_i64();
        }
    }

    /// A flat value from this local on. `lists` is the first free local for lists.
    pub(super) fn flat(&mut self, shape: &Shape, first: u32, lists: u32) {
        match shape {
            Shape::Handle(ty) => {
                self.local(first);
                self.count(*ty);
            }
            Shape::Block => {
                self.local(first);
                self.block();
            }
            Shape::List { element, size } => {
                self.local(first);
                self.code.local_set(lists);
                self.local(first + 1);
                self.list(element, *size, lists);
            }
            Shape::Parts(parts) => {
                for part in parts {
                    self.flat(&part.shape, first + part.flat, lists);
                }
            }
            Shape::Variant { cases, .. } => {
                for (number, case) in cases {
                    self.local(first);
                    self.code.i32_const(*number as i32).i32_eq();
                    self.code.if_(BlockType::Empty);
                    self.flat(case, first + 1, lists);
                    self.code.end();
                }
            }
        }
    }

    /// A value in memory, at the address in a local plus an offset.
    pub(super) fn memory(&mut self, shape: &Shape, pointer: u32, offset: u32, lists: u32) {
        match shape {
            Shape::Handle(ty) => {
                self.load(pointer, offset, 4);
                self.count(*ty);
            }
            Shape::Block => {
                self.load(pointer, offset, 4);
                self.block();
            }
            Shape::List { element, size } => {
                self.load(pointer, offset, 4);
                self.code.local_set(lists);
                self.load(pointer, offset.saturating_add(4), 4);
                self.list(element, *size, lists);
            }
            Shape::Parts(parts) => {
                for part in parts {
                    let offset = offset.saturating_add(part.offset);
                    self.memory(&part.shape, pointer, offset, lists);
                }
            }
            Shape::Variant {
                tag_bytes,
                payload,
                cases,
            } => {
                for (number, case) in cases {
                    self.load(pointer, offset, *tag_bytes);
                    self.code.i32_const(*number as i32).i32_eq();
                    self.code.if_(BlockType::Empty);
                    self.memory(case, pointer, offset.saturating_add(*payload), lists);
                    self.code.end();
                }
            }
        }
    }

    /// The elements of a list, whose address is in the local `at` and whose length on the stack.
    fn list(&mut self, element: &Shape, size: u32, at: u32) {
        let left = at + 1;
        let code = &mut self.code;
        code.local_set(left);
        code.block(BlockType::Empty).loop_(BlockType::Empty);
        code.local_get(left).i32_eqz().br_if(1);
        self.memory(element, at, 0, at + 2);
        let code = &mut self.code;
        code.local_get(at).i32_const(size as i32).i32_add();
        code.local_set(at);
        code.local_get(left).i32_const(1).i32_sub().local_set(left);
        code.br(0).end().end();
    }

    /// Loads an integer of this many bytes from the guest's memory.
    fn load(&mut self, pointer: u32, offset: u32, bytes: u32) {
        let place = MemArg {
            offset: u64::from(offset),
            align: 0,
            target: MemArgTarget::Memory(0),
            ordering: None,
        };
        self.code.local_get(pointer);
        match bytes {
            1 => self.code.i32_load8_u(place),
            2 => self.code.i32_load16_u(place),
            _ => self.code.i32_load(place),
        };
    }
}
