//! Finds the call sites of a function body and the sites that grow memory, and the sites at which
//! the calling context is still the one that the function was entered with.

use wasmparser::{FunctionBody, Operator};

use super::constants::{Accesses, ConstantTracker};
use super::error::Refusal;
use super::scan::{CoreModule, usize_range};

/// The target of a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Callee {
    /// A direct call of the function with this index.
    Function(u32),
    /// A call through a table: any referenced function of the type with this index.
    Type(u32),
    /// A call by reference: any referenced function.
    Reference,
    /// No call: the site grows a memory.
    Growth,
}

/// A call instruction, or one that grows a memory. Offsets count from the start of the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallSite {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) callee: Callee,
    /// `unreachable` follows, so the call does not return. A panic is such a call.
    pub(super) diverges: bool,
    /// A tail call, which replaces its caller's frame.
    pub(super) tail: bool,
    /// The last argument of this direct call is the constant 0. `sbrk(0)` only asks for the end of
    /// the heap.
    pub(super) passes_zero: bool,
}

impl CallSite {
    /// The function that a direct call calls.
    pub(super) fn function(&self) -> Option<u32> {
        match self.callee {
            Callee::Function(function) => Some(function),
            _ => None,
        }
    }
}

/// An instruction that calls or changes the control flow. Depths of labels count as in wasm.
#[derive(Clone, Copy, Debug)]
enum FlowOp {
    Block,
    Loop,
    Else,
    End,
    /// Control may branch to the label at this depth.
    MayBranch(u32),
    /// Control does not continue behind this instruction.
    Stop,
    Call,
    /// Exceptions from inside the next block arrive at the label at this depth.
    Catch(u32),
}

/// The calls of a function body.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) sites: Vec<CallSite>,
    flow: Vec<FlowOp>,
    /// Functions that the body takes references to.
    pub(super) referenced: Vec<u32>,
    /// Constant addresses that the body accesses.
    pub(super) accesses: Accesses,
    /// Number of parameters and locals.
    pub(super) locals: u32,
    /// Offset of the first instruction in the module.
    pub(super) code: usize,
    /// Whether the body has legacy exception handling or another construct whose control flow this
    /// module does not follow.
    opaque: bool,
}

impl Calls {
    /// Reads the bodies of all functions that a module defines.
    pub(super) fn read_all(module: &CoreModule<'_>) -> Result<Vec<Self>, Refusal> {
        let mut calls = Vec::with_capacity(module.bodies.len());
        for (body, function) in module.bodies.iter().zip(module.first_defined()..) {
            let params = module
                .signature(function)
                .map_or(0, |ty| ty.params().len() as u32);
            calls.push(Self::read(module, body, params)?);
        }
        Ok(calls)
    }

    /// Reads the body of a function with `params` parameters in `module`.
    pub(super) fn read(
        module: &CoreModule<'_>,
        body: &FunctionBody<'_>,
        params: u32,
    ) -> Result<Self, Refusal> {
        let mut constants = ConstantTracker::new(module);
        let mut calls = Self {
            locals: params,
            ..Self::default()
        };
        for group in body.get_locals_reader()? {
            calls.locals = calls.locals.saturating_add(group?.0);
        }
        let mut operators = body.get_operators_reader()?;
        calls.code = operators.original_position() as usize;
        let mut after_call = false;
        while !operators.eof() {
            let start = operators.original_position() as usize;
            let operator = operators.read()?;
            if after_call && matches!(operator, Operator::Unreachable) {
                calls
                    .sites
                    .last_mut()
                    .into_iter()
                    .for_each(|site| site.diverges = true);
            }
            let passes_zero =
                matches!(operator, Operator::Call { .. }) && constants.top() == Some(0);
            constants.operator(&operator);
            after_call = calls.operator(
                &operator,
                start..operators.original_position() as usize,
                passes_zero,
            )?;
        }
        calls.accesses = constants.finish();
        debug_assert!(calls.code <= usize_range(body.range()).end);
        Ok(calls)
    }

    /// Adds an instruction at these offsets. Returns whether an `unreachable` behind it would mean
    /// that the call diverges.
    fn operator(
        &mut self,
        operator: &Operator<'_>,
        offsets: std::ops::Range<usize>,
        passes_zero: bool,
    ) -> Result<bool, Refusal> {
        let (callee, tail) = match *operator {
            Operator::Call { function_index } => (Callee::Function(function_index), false),
            Operator::ReturnCall { function_index } => (Callee::Function(function_index), true),
            Operator::CallIndirect { type_index, .. } => (Callee::Type(type_index), false),
            Operator::ReturnCallIndirect { type_index, .. } => (Callee::Type(type_index), true),
            Operator::CallRef { .. } => (Callee::Reference, false),
            Operator::ReturnCallRef { .. } => (Callee::Reference, true),
            Operator::MemoryGrow { .. } => (Callee::Growth, false),
            _ => {
                self.control(operator)?;
                return Ok(false);
            }
        };
        self.flow.push(FlowOp::Call);
        if tail {
            self.flow.push(FlowOp::Stop);
        }
        self.sites.push(CallSite {
            start: offsets.start,
            end: offsets.end,
            callee,
            diverges: false,
            tail,
            passes_zero,
        });
        // Code behind a tail call is never reached, so it says nothing about the callee.
        Ok(!tail && !matches!(callee, Callee::Growth))
    }

    /// Whether the body itself grows a memory.
    pub(super) fn grows(&self) -> bool {
        let mut sites = self.sites.iter();
        sites.any(|site| matches!(site.callee, Callee::Growth))
    }

    fn control(&mut self, operator: &Operator<'_>) -> Result<(), Refusal> {
        let op = match operator {
            Operator::Block { .. } => FlowOp::Block,
            Operator::If { .. } => {
                // Control may skip the first branch.
                self.flow.push(FlowOp::Block);
                FlowOp::MayBranch(0)
            }
            Operator::Loop { .. } => FlowOp::Loop,
            Operator::Else => FlowOp::Else,
            Operator::End => FlowOp::End,
            Operator::Br { relative_depth } => {
                self.flow.push(FlowOp::MayBranch(*relative_depth));
                FlowOp::Stop
            }
            Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth }
            | Operator::BrOnCast { relative_depth, .. }
            | Operator::BrOnCastFail { relative_depth, .. } => FlowOp::MayBranch(*relative_depth),
            Operator::BrTable { targets } => {
                for depth in targets.targets() {
                    self.flow.push(FlowOp::MayBranch(depth?));
                }
                self.flow.push(FlowOp::MayBranch(targets.default()));
                FlowOp::Stop
            }
            Operator::Return
            | Operator::Unreachable
            | Operator::Throw { .. }
            | Operator::ThrowRef => FlowOp::Stop,
            Operator::TryTable { try_table } => {
                for catch in &try_table.catches {
                    // The depth counts from outside of the block that begins here.
                    let (wasmparser::Catch::One { label, .. }
                    | wasmparser::Catch::OneRef { label, .. }
                    | wasmparser::Catch::All { label }
                    | wasmparser::Catch::AllRef { label }) = catch;
                    self.flow.push(FlowOp::Catch(*label));
                }
                FlowOp::Block
            }
            Operator::Try { .. }
            | Operator::Catch { .. }
            | Operator::CatchAll
            | Operator::Delegate { .. }
            | Operator::Rethrow { .. }
            | Operator::BrOnCastDescEq { .. }
            | Operator::BrOnCastDescEqFail { .. }
            | Operator::Resume { .. }
            | Operator::ResumeThrow { .. } => {
                self.opaque = true;
                return Ok(());
            }
            Operator::RefFunc { function_index } => {
                self.referenced.push(*function_index);
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.flow.push(op);
        Ok(())
    }

    /// For each site in order: whether a site that changes the calling context may have run before
    /// it in the same activation of the function. Then the calling context is no longer the one
    /// that the function was entered with.
    ///
    /// `changes` says which sites change the calling context, by their position in `sites`.
    pub(super) fn changed_before(&self, changes: impl Fn(usize) -> bool) -> Vec<bool> {
        if self.opaque {
            return vec![true; self.sites.len()];
        }
        let loops = self.changing_loops(&changes);
        let mut loops = loops.into_iter();
        let mut changed = Vec::with_capacity(self.sites.len());
        // Whether the context may have changed here; `None` in unreachable code.
        let mut here = Some(false);
        let mut open: Vec<OpenBlock> = vec![OpenBlock::default()];
        for op in &self.flow {
            match *op {
                FlowOp::Block => open.push(OpenBlock {
                    at_start: here,
                    at_end: None,
                    is_loop: false,
                }),
                FlowOp::Loop => {
                    let changing = loops.next().unwrap_or(true);
                    here = here.map(|before| before || changing);
                    open.push(OpenBlock {
                        at_start: here,
                        at_end: None,
                        is_loop: true,
                    });
                }
                FlowOp::Else => {
                    if let Some(block) = open.last_mut() {
                        block.at_end = join(block.at_end, here);
                        here = block.at_start;
                    }
                }
                FlowOp::End => {
                    if let Some(block) = open.pop() {
                        here = join(here, block.at_end);
                    }
                }
                FlowOp::MayBranch(depth) => branch(&mut open, depth, here),
                FlowOp::Catch(depth) => branch(&mut open, depth, Some(true)),
                FlowOp::Stop => here = None,
                FlowOp::Call => {
                    let site = changed.len();
                    changed.push(here.unwrap_or(true));
                    if changes(site) {
                        here = here.map(|_| true);
                    }
                }
            }
        }
        changed
    }

    /// For each loop, in the order of their starts: whether a site inside it changes the context.
    fn changing_loops(&self, changes: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut loops = Vec::new();
        // For each open block: its number if it is a loop, and whether a site inside it changes the
        // context.
        let mut open: Vec<(Option<usize>, bool)> = Vec::new();
        let mut site = 0;
        for op in &self.flow {
            match op {
                FlowOp::Block => open.push((None, false)),
                FlowOp::Loop => {
                    open.push((Some(loops.len()), false));
                    loops.push(false);
                }
                FlowOp::End => {
                    let (ended, changing) = open.pop().unwrap_or_default();
                    if let Some(it) = ended.and_then(|ended| loops.get_mut(ended)) {
                        *it = changing;
                    }
                    if let Some((_, outer)) = open.last_mut() {
                        *outer |= changing;
                    }
                }
                FlowOp::Call => {
                    if let Some((_, within)) = open.last_mut() {
                        *within |= changes(site);
                    }
                    site += 1;
                }
                _ => {}
            }
        }
        loops
    }
}

/// An open block, and whether the context may have changed at its start and at its end.
#[derive(Clone, Copy, Default)]
struct OpenBlock {
    at_start: Option<bool>,
    /// Never set for a loop, to whose end no branch leads.
    at_end: Option<bool>,
    is_loop: bool,
}

fn branch(open: &mut [OpenBlock], depth: u32, here: Option<bool>) {
    let block = open.iter_mut().rev().nth(depth as usize);
    // `changing_loops` covers the branches to the start of a loop.
    if let Some(block) = block.filter(|block| !block.is_loop) {
        block.at_end = join(block.at_end, here);
    }
}

fn join(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one || other),
        (one, other) => one.or(other),
    }
}
