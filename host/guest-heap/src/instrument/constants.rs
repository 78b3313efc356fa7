//! Follows constants through straight-line code, to find the constant addresses that a function
//! loads from and stores to.
//!
//! The analysis forgets everything at a branch, so it misses some addresses. It does not follow
//! control flow: a local that is constant on one path counts as constant behind it. An access with
//! an unknown base and a large offset counts as an access of the address that is the offset: that
//! is how compilers access an array in static data.

use std::collections::HashMap;

use wasmparser::{
    BlockType, ContType, FrameKind, FuncType, MemArg, MemArgTarget, ModuleArity, Operator, RefType,
    SubType,
};

use super::scan::CoreModule;

/// Addresses below this one are offsets of fields rather than static data: linkers leave the first
/// kilobyte free.
const FIRST_STATIC_ADDRESS: u32 = 1024;

/// Constant addresses in the first memory that a function accesses, without duplicates.
#[derive(Default)]
pub(super) struct Accesses {
    pub(super) loads: Vec<u32>,
    pub(super) stores: Vec<u32>,
    /// Constants in locals, which may be such addresses.
    pub(super) kept: Vec<u32>,
}

/// Follows the constants of one function.
pub(super) struct ConstantTracker<'m> {
    module: &'m CoreModule<'m>,
    /// The operand stack; `None` for a value that is not known.
    stack: Vec<Option<u32>>,
    locals: HashMap<u32, u32>,
    accesses: Accesses,
}

impl<'m> ConstantTracker<'m> {
    pub(super) fn new(module: &'m CoreModule<'m>) -> Self {
        Self {
            module,
            stack: Vec::new(),
            locals: HashMap::new(),
            accesses: Accesses::default(),
        }
    }

    /// The value on top of the stack, if it is a constant.
    pub(super) fn top(&self) -> Option<u32> {
        self.stack.last().copied().flatten()
    }

    /// Passes an instruction.
    pub(super) fn operator(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::I32Const { value } => self.stack.push(Some(*value as u32)),
            Operator::LocalGet { local_index } => {
                self.stack.push(self.locals.get(local_index).copied());
            }
            Operator::LocalSet { local_index } => {
                let value = self.pop();
                self.set(*local_index, value);
            }
            Operator::LocalTee { local_index } => self.set(*local_index, self.top()),
            Operator::GlobalGet { global_index } => {
                let value = self.module.constant_globals.get(global_index);
                self.stack.push(value.copied());
            }
            Operator::I32Add => {
                let (right, left) = (self.pop(), self.pop());
                let sum = left
                    .zip(right)
                    .map(|(left, right)| left.wrapping_add(right));
                self.stack.push(sum);
            }
            Operator::I32Load { memarg }
            | Operator::I64Load { memarg }
            | Operator::F32Load { memarg }
            | Operator::F64Load { memarg }
            | Operator::I32Load8S { memarg }
            | Operator::I32Load8U { memarg }
            | Operator::I32Load16S { memarg }
            | Operator::I32Load16U { memarg }
            | Operator::I64Load8S { memarg }
            | Operator::I64Load8U { memarg }
            | Operator::I64Load16S { memarg }
            | Operator::I64Load16U { memarg }
            | Operator::I64Load32S { memarg }
            | Operator::I64Load32U { memarg } => {
                let base = self.pop();
                self.accesses.loads.extend(address(base, memarg));
                self.stack.push(None);
            }
            Operator::I32Store { memarg }
            | Operator::I64Store { memarg }
            | Operator::F32Store { memarg }
            | Operator::F64Store { memarg }
            | Operator::I32Store8 { memarg }
            | Operator::I32Store16 { memarg }
            | Operator::I64Store8 { memarg }
            | Operator::I64Store16 { memarg }
            | Operator::I64Store32 { memarg } => {
                self.pop();
                let base = self.pop();
                self.accesses.stores.extend(address(base, memarg));
            }
            Operator::Call { function_index } => match self.module.signature(*function_index) {
                Some(ty) => self.replace(ty.params().len(), ty.results().len()),
                None => self.stack.clear(),
            },
            _ => match operator.operator_arity(&NoTypes) {
                Some((params, results)) => self.replace(params as usize, results as usize),
                None => self.stack.clear(),
            },
        }
    }

    /// The accesses of the instructions so far.
    pub(super) fn finish(mut self) -> Accesses {
        let Accesses {
            loads,
            stores,
            kept,
        } = &mut self.accesses;
        for addresses in [loads, stores, kept] {
            addresses.sort_unstable();
            addresses.dedup();
        }
        self.accesses
    }

    fn pop(&mut self) -> Option<u32> {
        self.stack.pop().flatten()
    }

    fn set(&mut self, local: u32, value: Option<u32>) {
        self.accesses
            .kept
            .extend(value.filter(|value| *value >= FIRST_STATIC_ADDRESS));
        match value {
            Some(value) => self.locals.insert(local, value),
            None => self.locals.remove(&local),
        };
    }

    fn replace(&mut self, params: usize, results: usize) {
        let rest = self.stack.len().saturating_sub(params);
        self.stack.truncate(rest);
        self.stack.resize(rest + results, None);
    }
}

/// The address of an access, if it is in static data.
fn address(base: Option<u32>, memarg: &MemArg) -> Option<u32> {
    if !matches!(memarg.target, MemArgTarget::Memory(0)) {
        return None;
    }
    let address = base.unwrap_or(0).wrapping_add(memarg.offset as u32);
    (address >= FIRST_STATIC_ADDRESS).then_some(address)
}

/// Knows no types: instructions whose arity depends on a type have no known arity. These are the
/// instructions of the control flow.
struct NoTypes;

impl ModuleArity for NoTypes {
    fn sub_type_at(&self, _: u32) -> Option<&SubType> {
        None
    }

    fn tag_type_arity(&self, _: u32) -> Option<(u32, u32)> {
        None
    }

    fn type_index_of_function(&self, _: u32) -> Option<u32> {
        None
    }

    fn func_type_of_cont_type(&self, _: &ContType) -> Option<&FuncType> {
        None
    }

    fn sub_type_of_ref_type(&self, _: &RefType) -> Option<&SubType> {
        None
    }

    fn control_stack_height(&self) -> u32 {
        0
    }

    fn label_block(&self, _: u32) -> Option<(BlockType, FrameKind)> {
        None
    }
}
