//! Call stacks of a program that an interpreter in the guest runs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A call in the source of an interpreted program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceFrame {
    /// The source file as the program names it, such as `/0/app.py` or `<string>`. At most 512
    /// characters.
    pub file: Arc<str>,
    /// The qualified name of the function, such as `Job.run`. At most 512 characters.
    pub function: Arc<str>,
    /// The line, from 1. An instruction without a line has the first line of its function.
    pub line: u32,
}

/// The innermost calls of an interpreted program, innermost first.
#[derive(Clone, Debug)]
pub struct InterpretedStack {
    hash: u64,
    frames: Box<[Arc<SourceFrame>]>,
    is_cut: bool,
}

impl InterpretedStack {
    /// A stack of these frames. `is_cut` says whether there were further outer frames.
    pub fn new(frames: Vec<Arc<SourceFrame>>, is_cut: bool) -> Self {
        let mut hasher = DefaultHasher::new();
        (&frames, is_cut).hash(&mut hasher);
        Self {
            hash: hasher.finish(),
            frames: frames.into(),
            is_cut,
        }
    }

    /// The frames, innermost first.
    pub fn frames(&self) -> &[Arc<SourceFrame>] {
        &self.frames
    }

    /// Whether further outer frames are not in the stack. They may be different ones each time.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Bytes of memory that the stack takes, without the frames that it shares.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.frames) + 2 * size_of::<usize>()
    }
}

impl PartialEq for InterpretedStack {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.is_cut == other.is_cut && self.frames == other.frames
    }
}

impl Eq for InterpretedStack {}

impl Hash for InterpretedStack {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}
