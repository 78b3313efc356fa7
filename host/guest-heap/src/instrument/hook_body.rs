//! Writes the hooks of entry points with a signature of their own.
//!
//! The runtime has a hook for each entry point of C and of Rust. Other entry points differ in where
//! the size and the pointer are, so their hooks are written here and call the runtime.

use wasm_encoder::{BlockType, Encode, InstructionSink};

use super::context_place::ContextPlace;
use super::entry_point::{Pointer, Role, Shape, Size};
use super::error::Refusal;
use super::link_runtime::LinkedRuntime;

/// What a hook needs to know about its function and its module.
pub(super) struct HookedFunction {
    pub(super) params: u32,
    pub(super) has_result: bool,
    /// The function that has the original body.
    pub(super) original: u32,
    /// Where the calling context is.
    pub(super) place: ContextPlace,
    /// Whether another entry point may call this one, or the other way round.
    pub(super) hooks_nest: bool,
}

/// Functions of the runtime.
pub(super) struct RuntimeCalls {
    is_active: u32,
    enter: u32,
    leave: u32,
    live_of: u32,
    allocated: u32,
    freed: u32,
    reallocated: u32,
}

impl RuntimeCalls {
    pub(super) fn of(runtime: &LinkedRuntime) -> Result<Self, Refusal> {
        Ok(Self {
            is_active: runtime.export("shaped_is_active")?,
            enter: runtime.export("shaped_enter")?,
            leave: runtime.export("shaped_leave")?,
            live_of: runtime.export("shaped_live_of")?,
            allocated: runtime.export("shaped_allocated")?,
            freed: runtime.export("shaped_freed")?,
            reallocated: runtime.export("shaped_reallocated")?,
        })
    }
}

/// The body of the hook, with its locals.
pub(super) fn hook_body(
    shape: &Shape,
    function: &HookedFunction,
    runtime: &RuntimeCalls,
) -> Vec<u8> {
    let mut body = Vec::new();
    // Two groups of locals: three i32 and one i64.
    2_u32.encode(&mut body);
    body.extend([3, 0x7F, 1, 0x7E]);
    let mut hook = HookWriter {
        shape,
        function,
        runtime,
        result: function.params,
        old: function.params + 1,
        scratch: function.params + 2,
        context: function.params + 3,
        code: InstructionSink::new(&mut body),
    };
    hook.write();
    body
}

struct HookWriter<'a, 's> {
    shape: &'a Shape,
    function: &'a HookedFunction,
    runtime: &'a RuntimeCalls,
    /// Locals.
    result: u32,
    old: u32,
    scratch: u32,
    context: u32,
    code: InstructionSink<'s>,
}

impl HookWriter<'_, '_> {
    fn write(&mut self) {
        if self.function.hooks_nest {
            self.code.call(self.runtime.is_active).if_(BlockType::Empty);
            self.original();
            self.code.return_().end();
        }
        match self.shape.role {
            Role::Allocates { .. } => {}
            // The block may be handed out again before the original returns.
            Role::Frees { pointer } => {
                self.pointer(pointer);
                self.code.call(self.runtime.freed);
            }
            Role::Reallocates { pointer, .. } | Role::Resizes { pointer, .. } => {
                self.pointer(pointer);
                self.code.local_set(self.old);
            }
        }
        self.run_original();
        match self.shape.role {
            Role::Frees { .. } => {}
            Role::Allocates { size } => {
                self.code.local_get(self.result).if_(BlockType::Empty);
                self.new_block();
                self.size(size);
                self.code.call(self.runtime.allocated).end();
            }
            Role::Reallocates { size, .. } => {
                self.code.local_get(self.old);
                self.new_block();
                self.code.local_get(size).call(self.runtime.reallocated);
            }
            Role::Resizes { size, .. } => {
                if self.function.has_result {
                    self.code.local_get(self.result).if_(BlockType::Empty);
                }
                self.code
                    .local_get(self.old)
                    .local_get(self.old)
                    .local_get(size)
                    .call(self.runtime.reallocated);
                if self.function.has_result {
                    self.code.end();
                }
            }
        }
        if self.function.has_result {
            self.code.local_get(self.result);
        }
        self.code.end();
    }

    /// Calls the original body with the parameters.
    fn original(&mut self) {
        for param in 0..self.function.params {
            self.code.local_get(param);
        }
        self.code.call(self.function.original);
    }

    /// Runs the original body. The functions that it calls may change the calling context, so the
    /// hook restores it.
    fn run_original(&mut self) {
        self.function.place.get(&mut self.code);
        self.code.local_set(self.context);
        if self.function.hooks_nest {
            self.code.call(self.runtime.enter);
        }
        self.original();
        if self.function.has_result {
            self.code.local_set(self.result);
        }
        if self.function.hooks_nest {
            self.code.call(self.runtime.leave);
        }
        let context = self.context;
        self.function.place.set(&mut self.code, |code| {
            code.local_get(context);
        });
    }

    /// Pushes the address of the block that a parameter points to; 0 for a null pointer.
    fn pointer(&mut self, pointer: Pointer) {
        let (first, second) = pointer.positions();
        self.code.local_get(first);
        if let Some(second) = second {
            self.code.local_get(second).call(self.runtime.live_of);
        }
        self.bias();
    }

    /// Pushes the address of the returned block; 0 for a null pointer.
    fn new_block(&mut self) {
        self.code.local_get(self.result);
        self.bias();
    }

    /// Adds the bias to a pointer that is not null.
    fn bias(&mut self) {
        if self.shape.bias == 0 {
            return;
        }
        let bias = self.shape.bias as i32;
        self.code
            .local_tee(self.scratch)
            .i32_const(bias)
            .i32_add()
            .i32_const(0)
            .local_get(self.scratch)
            .select();
    }

    fn size(&mut self, size: Size) {
        match size {
            Size::At(at) => self.code.local_get(at),
            Size::Product(count, size) => self.code.local_get(count).local_get(size).i32_mul(),
        };
    }
}
