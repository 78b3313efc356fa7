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
    /// Code that [`SymbolOptions`](super::SymbolOptions) marks as infrastructure, such as an SDK or
    /// a wrapper of `malloc`.
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

impl FrameKind {
    /// `own`, `infrastructure`, `library`, `bindings`, `standard` or `allocator`.
    pub fn name(self) -> &'static str {
        match self {
            FrameKind::User => "own",
            FrameKind::Infrastructure => "infrastructure",
            FrameKind::Registry => "library",
            FrameKind::Bindings => "bindings",
            FrameKind::Std => "standard",
            FrameKind::Allocator => "allocator",
        }
    }
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

/// Neighbouring frames of a stack that readers see as one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameRun<'a> {
    /// A frame of the user's own code.
    Own(&'a Frame),
    /// Frames of libraries, generated bindings, infrastructure and the allocator between own
    /// frames, innermost first. There is at least one.
    Libraries(&'a [Frame]),
}

/// Splits a stack, innermost frame first, into own frames and runs of other frames.
pub fn fold(frames: &[Frame]) -> impl Iterator<Item = FrameRun<'_>> {
    frames
        .chunk_by(|a, b| a.kind != FrameKind::User && b.kind != FrameKind::User)
        .map(|run| match run {
            [frame] if frame.kind == FrameKind::User => FrameRun::Own(frame),
            run => FrameRun::Libraries(run),
        })
}

/// Stack frames outside of a frame of own code in which an allocator is looked for.
const MAX_ALLOCATOR_FRAMES: usize = 3;

/// The frame that a stack is attributed to: the innermost frame of the user's own code. If there is
/// none, the innermost frame of the first [`FrameKind`] that occurs in the stack.
///
/// Own code that an allocator calls is a part of the allocator, such as a global allocator that
/// counts.
///
/// `chains` has the frames of each offset, innermost first. The function resolves one after the
/// other, and few offsets outside of the user's innermost frame.
pub(super) fn attributed(chains: impl Iterator<Item = Arc<[Frame]>>) -> Option<Frame> {
    let mut best: Option<Frame> = None;
    let mut looked_past = 0;
    for chain in chains {
        for frame in chain.iter() {
            let is_found = best
                .as_ref()
                .is_some_and(|best| best.kind == FrameKind::User);
            if frame.kind == FrameKind::Allocator && (is_found || best.is_none()) {
                best = Some(frame.clone());
                looked_past = 0;
            } else if best.as_ref().is_none_or(|best| frame.kind < best.kind) {
                best = Some(frame.clone());
            }
        }
        if best
            .as_ref()
            .is_some_and(|best| best.kind == FrameKind::User)
        {
            if looked_past == MAX_ALLOCATOR_FRAMES {
                break;
            }
            looked_past += 1;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, kind: FrameKind) -> Frame {
        Frame {
            function: function.into(),
            file: None,
            line: None,
            column: None,
            kind,
        }
    }

    fn attributed_to(kinds: &[(&str, FrameKind)]) -> String {
        let chains = kinds
            .iter()
            .map(|(name, kind)| Arc::from([frame(name, *kind)]));
        attributed(chains).unwrap().function.to_string()
    }

    #[test]
    fn own_code_inside_the_allocator_is_skipped() {
        use FrameKind::{Allocator, Registry, Std, User};
        let counting = [
            ("dlmalloc", Allocator),
            ("count", User),
            ("__rust_alloc", Allocator),
            ("grow", Std),
            ("keep", User),
            ("run", User),
        ];
        assert_eq!(attributed_to(&counting), "keep");
        assert_eq!(attributed_to(&counting[1..]), "keep");
        // Libraries are chosen only without own code.
        assert_eq!(attributed_to(&[("a", Std), ("b", Registry)]), "b");
        // An allocator far outside has nothing to do with the allocation.
        let far = [
            &[("keep", User)][..],
            &[("run", User); 9],
            &[("new", Allocator)],
        ]
        .concat();
        assert_eq!(attributed_to(&far), "keep");
    }

    #[test]
    fn other_frames_fold_between_own_frames() {
        use FrameKind::{Allocator, Bindings, Std, User};
        let frames = [
            frame("malloc", Allocator),
            frame("push", Std),
            frame("keep", User),
            frame("run", User),
            frame("export_run", Bindings),
        ];
        let runs: Vec<FrameRun> = fold(&frames).collect();
        assert_eq!(
            runs,
            [
                FrameRun::Libraries(&frames[..2]),
                FrameRun::Own(&frames[2]),
                FrameRun::Own(&frames[3]),
                FrameRun::Libraries(&frames[4..]),
            ]
        );
        assert_eq!(fold(&[]).count(), 0);
    }
}
