//! Frames, and the one place that a stack is attributed to.

use std::sync::Arc;

/// Whose code a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameKind {
    /// The code that somebody is working on: what a report should name.
    User,
    /// Named as infrastructure by the options, such as an SDK.
    Infrastructure,
    /// A library fetched by a package manager.
    Registry,
    /// Generated bindings and their run-time support.
    Bindings,
    /// The language's standard library, libc, or a runtime without line tables.
    Std,
    /// The allocator itself and what leads straight into it.
    Allocator,
}

/// One function on a stack, inlined or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The demangled name.
    pub function: Arc<str>,
    /// The source file without the prefixes of the machine that compiled it.
    pub file: Option<Arc<str>>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
    /// Whose code it is.
    pub kind: FrameKind,
}

/// A frame before its texts are shared with those that are known.
#[derive(Debug)]
pub(super) struct NewFrame {
    pub(super) function: String,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) column: Option<u32>,
    pub(super) kind: FrameKind,
}

impl NewFrame {
    /// A frame of which nothing is known but where it lies.
    pub(super) fn nameless(offset: u32) -> Self {
        Self {
            function: format!("wasm offset {offset:#x}"),
            file: None,
            line: None,
            column: None,
            kind: FrameKind::User,
        }
    }
}

/// What an allocation is attributed to. Two stacks with equal sites hold memory for the same line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    /// `file:line`; the function's name where no line is known; the text of a context that has no stack.
    pub location: Arc<str>,
    /// The function that holds the line.
    pub function: Arc<str>,
    /// The source file.
    pub file: Option<Arc<str>>,
    /// The line, from 1.
    pub line: Option<u32>,
}

/// The frame that names a stack: the innermost of the user's own. Failing that the innermost of what is nearest to the user,
/// in the order of [`FrameKind`].
///
/// Chains are asked for one by one, so what lies outside that frame is never resolved.
pub(super) fn attributed(chains: impl Iterator<Item = Arc<[Frame]>>) -> Option<Frame> {
    let mut best: Option<Frame> = None;
    for chain in chains {
        for frame in chain.iter() {
            if best.as_ref().is_none_or(|best| frame.kind < best.kind) {
                best = Some(frame.clone());
            }
            if frame.kind == FrameKind::User {
                return best;
            }
        }
    }
    best
}
