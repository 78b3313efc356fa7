//! The calls of imports that have not returned their results.

/// Numbers of subtasks that are followed. The results of others keep the name that they got when
/// they were lowered.
const MAX_SUBTASKS: usize = 1 << 13;

/// A call that has not returned its results.
#[derive(Clone, Copy)]
pub struct Call {
    /// Index of its context.
    pub context: u32,
    /// Address of its results.
    pub pointer: u32,
    /// The number by which the instrumented code knows the type of the results; 0 for no call.
    pub results: u32,
}

/// The calls that have not returned their results, by the number of their subtask.
pub struct LateResults {
    pub calls: [Call; MAX_SUBTASKS],
    /// The call whose results the instrumented code walks through.
    pub current: Call,
}

impl LateResults {
    /// No calls, all zero.
    pub const fn new() -> Self {
        const NONE: Call = Call {
            context: 0,
            pointer: 0,
            results: 0,
        };
        Self {
            calls: [NONE; MAX_SUBTASKS],
            current: NONE,
        }
    }
}
