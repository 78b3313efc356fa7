//! The call sites of a function body, and on which of them the calling context is untouched.

use wasmparser::{FunctionBody, Operator};

use super::error::Refusal;
use super::scan::range;

/// What a call calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Callee {
    Function(u32),
    /// Anything in a table with this type.
    Type(u32),
    /// Anything that is referenced.
    Reference,
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    /// The instruction's place in the module.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) callee: Callee,
    /// `unreachable` follows: the call does not come back, such as a panic.
    pub(super) diverges: bool,
    /// It replaces its caller's frame.
    pub(super) tail: bool,
}

/// What matters of a body for knowing which calls may come before which.
#[derive(Clone, Copy, Debug)]
enum Step {
    Block,
    Loop,
    Else,
    End,
    /// A branch that may be taken, to the label this deep.
    MayBranch(u32),
    /// Control does not go on here.
    Stop,
    Call,
    /// Exceptions from inside the block arrive at the label this deep.
    Catch(u32),
}

/// A function body's calls.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) sites: Vec<Site>,
    steps: Vec<Step>,
    /// Functions that the body takes references to.
    pub(super) referenced: Vec<u32>,
    /// Parameters and locals.
    pub(super) locals: u32,
    /// Where the first instruction is.
    pub(super) code: usize,
    /// Legacy exception handling, whose control flow is not followed.
    opaque: bool,
}

impl Calls {
    /// Reads a body of a function with that many parameters.
    pub(super) fn read(body: &FunctionBody<'_>, params: u32) -> Result<Self, Refusal> {
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
            after_call =
                calls.operator(&operator, start..operators.original_position() as usize)?;
        }
        debug_assert!(calls.code <= range(body.range()).end);
        Ok(calls)
    }

    /// Whether it was a call.
    fn operator(
        &mut self,
        operator: &Operator<'_>,
        place: std::ops::Range<usize>,
    ) -> Result<bool, Refusal> {
        let (callee, tail) = match *operator {
            Operator::Call { function_index } => (Callee::Function(function_index), false),
            Operator::ReturnCall { function_index } => (Callee::Function(function_index), true),
            Operator::CallIndirect { type_index, .. } => (Callee::Type(type_index), false),
            Operator::ReturnCallIndirect { type_index, .. } => (Callee::Type(type_index), true),
            Operator::CallRef { .. } => (Callee::Reference, false),
            Operator::ReturnCallRef { .. } => (Callee::Reference, true),
            _ => {
                self.control(operator)?;
                return Ok(false);
            }
        };
        self.steps.push(Step::Call);
        if tail {
            self.steps.push(Step::Stop);
        }
        self.sites.push(Site {
            start: place.start,
            end: place.end,
            callee,
            diverges: false,
            tail,
        });
        // What follows a tail call is never reached, and says nothing of what was called.
        Ok(!tail)
    }

    fn control(&mut self, operator: &Operator<'_>) -> Result<(), Refusal> {
        let step = match operator {
            // An `if` may go straight to its end or else: `control_flow` sees to that.
            Operator::Block { .. } => Step::Block,
            Operator::If { .. } => {
                self.steps.push(Step::Block);
                Step::MayBranch(0)
            }
            Operator::Loop { .. } => Step::Loop,
            Operator::Else => Step::Else,
            Operator::End => Step::End,
            Operator::Br { relative_depth } => {
                self.steps.push(Step::MayBranch(*relative_depth));
                Step::Stop
            }
            Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth }
            | Operator::BrOnCast { relative_depth, .. }
            | Operator::BrOnCastFail { relative_depth, .. } => Step::MayBranch(*relative_depth),
            Operator::BrTable { targets } => {
                for depth in targets.targets() {
                    self.steps.push(Step::MayBranch(depth?));
                }
                self.steps.push(Step::MayBranch(targets.default()));
                Step::Stop
            }
            Operator::Return
            | Operator::Unreachable
            | Operator::Throw { .. }
            | Operator::ThrowRef => Step::Stop,
            Operator::TryTable { try_table } => {
                for catch in &try_table.catches {
                    // Counted from outside the block that begins here.
                    let (wasmparser::Catch::One { label, .. }
                    | wasmparser::Catch::OneRef { label, .. }
                    | wasmparser::Catch::All { label }
                    | wasmparser::Catch::AllRef { label }) = catch;
                    self.steps.push(Step::Catch(*label));
                }
                Step::Block
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
        self.steps.push(step);
        Ok(())
    }

    /// For each site in order, whether one of the sites that `touches` says yes to may have run
    /// before it in the same activation of the function: then the calling context is no longer the
    /// one that the function was entered with.
    pub(super) fn touched_before(&self, touches: impl Fn(usize) -> bool) -> Vec<bool> {
        if self.opaque {
            return vec![true; self.sites.len()];
        }
        let loops = self.touching_loops(&touches);
        let mut loops = loops.into_iter();
        let mut touched = Vec::with_capacity(self.sites.len());
        // What holds here: `None` where control does not come.
        let mut here = Some(false);
        // Of each open block: its start, and what holds where it ends; loops end nowhere.
        let mut open: Vec<Label> = vec![Label::default()];
        for step in &self.steps {
            match *step {
                Step::Block => open.push(Label {
                    at_start: here,
                    at_end: None,
                    is_loop: false,
                }),
                Step::Loop => {
                    let touching = loops.next().unwrap_or(true);
                    here = here.map(|before| before || touching);
                    open.push(Label {
                        at_start: here,
                        at_end: None,
                        is_loop: true,
                    });
                }
                Step::Else => {
                    if let Some(label) = open.last_mut() {
                        label.at_end = join(label.at_end, here);
                        here = label.at_start;
                    }
                }
                Step::End => {
                    if let Some(label) = open.pop() {
                        here = join(here, label.at_end);
                    }
                }
                Step::MayBranch(depth) => branch(&mut open, depth, here),
                Step::Catch(depth) => branch(&mut open, depth, Some(true)),
                Step::Stop => here = None,
                Step::Call => {
                    let site = touched.len();
                    touched.push(here.unwrap_or(true));
                    if touches(site) {
                        here = here.map(|_| true);
                    }
                }
            }
        }
        touched
    }

    /// For each loop in the order of their beginnings, whether a touching site lies within.
    fn touching_loops(&self, touches: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut loops = Vec::new();
        // Of each open block: the loop it is, if it is one, and whether a touching site lies within.
        let mut open: Vec<(Option<usize>, bool)> = Vec::new();
        let mut site = 0;
        for step in &self.steps {
            match step {
                Step::Block => open.push((None, false)),
                Step::Loop => {
                    open.push((Some(loops.len()), false));
                    loops.push(false);
                }
                Step::End => {
                    let (ended, touching) = open.pop().unwrap_or_default();
                    if let Some(it) = ended.and_then(|ended| loops.get_mut(ended)) {
                        *it = touching;
                    }
                    if let Some((_, outer)) = open.last_mut() {
                        *outer |= touching;
                    }
                }
                Step::Call => {
                    if let Some((_, within)) = open.last_mut() {
                        *within |= touches(site);
                    }
                    site += 1;
                }
                _ => {}
            }
        }
        loops
    }
}

#[derive(Clone, Copy, Default)]
struct Label {
    at_start: Option<bool>,
    at_end: Option<bool>,
    is_loop: bool,
}

fn branch(open: &mut [Label], depth: u32, here: Option<bool>) {
    let label = open.iter_mut().rev().nth(depth as usize);
    // What a loop's beginning is reached with has been counted there.
    if let Some(label) = label.filter(|label| !label.is_loop) {
        label.at_end = join(label.at_end, here);
    }
}

fn join(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one || other),
        (one, other) => one.or(other),
    }
}
