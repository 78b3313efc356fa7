//! Frames, and the frame that a stack is attributed to.

use std::sync::Arc;

/// Whose code a frame is.
///
/// The variants are ordered: a stack is attributed to its innermost frame of the first kind in this
/// list that occurs in the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameKind {
    /// The user's own code, which reports should name.
    User,
    /// Code that [`SymbolOptions`](super::SymbolOptions) marks as infrastructure, such as an SDK.
    Infrastructure,
    /// A library that a package manager has fetched.
    Registry,
    /// Generated bindings and their runtime support.
    Bindings,
    /// The language's standard library, libc, or a linked runtime without line tables.
    Std,
    /// The allocator, and the functions that call it directly for every allocation.
    Allocator,
}

/// A function on a call stack, inlined or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The demangled name, or `wasm offset 0x…` for a function without a name.
    pub function: Arc<str>,
    /// The source file, without the folders of the machine that compiled it.
    pub file: Option<Arc<str>>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
    /// Whose code the function is.
    pub kind: FrameKind,
}

/// A frame whose texts are not in the cache yet.
#[derive(Debug)]
pub(super) struct NewFrame {
    pub(super) function: String,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) column: Option<u32>,
    pub(super) kind: FrameKind,
}

impl NewFrame {
    /// A frame with a known offset and no name.
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

/// The source line that a context is attributed to. Several contexts can have the same site.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    /// `file:line`, or the function's name if the line is unknown, or the name of a synthetic
    /// context.
    pub location: Arc<str>,
    /// The function that contains the line.
    pub function: Arc<str>,
    /// The source file. `None` if the line is unknown.
    pub file: Option<Arc<str>>,
    /// The line, from 1.
    pub line: Option<u32>,
}

/// The frame that a stack is attributed to: the innermost frame of the user's own code. If there is
/// none, the innermost frame of the first [`FrameKind`] that occurs in the stack.
///
/// `chains` has the frames of each offset, innermost first. The function resolves one after the
/// other, so it never resolves offsets outside of the user's innermost frame.
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
