//! The call stacks of one instrumented core instance.

use std::ops::Range;
use std::sync::Arc;

use wasmtime::component::WasmList;

use super::call_tree::{CallTree, Frame, Position};
use super::folds::Folds;
use crate::instance_tables::FIRST_FOLDED;
use crate::instrument::site_id;

/// Frames that a backtrace has at most. Deeper stacks lose their outermost frames.
pub(super) const MAX_FRAMES: usize = 64;

/// Bytes of memory that an activation of the call tree takes, with its place in a map.
const ACTIVATION_BYTES: usize = 64;

/// An instrumented core instance.
pub(super) struct RecordedInstance {
    pub(super) tables: WasmList<u64>,
    /// Byte range of its core module in the original component.
    module: Range<u32>,
    /// See [`site_id`].
    salt: u64,
    /// By the index of a context, for the contexts that the runtime has reported.
    stacks: Vec<Stack>,
    tree: CallTree,
    folds: Folds,
    /// Bytes of the call stacks that are not in the tree.
    captured_bytes: usize,
    max_bytes: usize,
}

/// The call stack of a context.
#[derive(Clone)]
enum Stack {
    InTree(Position),
    /// One that the tree cannot have.
    Captured(Arc<[u32]>),
    /// There was no memory for it.
    Unknown,
}

/// The call stack that is known for a context, if it differs.
type Comparison = Result<(), Arc<[u32]>>;

impl RecordedInstance {
    /// An instance of the module at this range of the original component. `salt` belongs to the
    /// module. The call stacks take at most `max_bytes`.
    pub(super) fn new(
        tables: WasmList<u64>,
        module: Range<u32>,
        salt: u64,
        max_bytes: usize,
    ) -> Self {
        Self {
            tables,
            module,
            salt,
            stacks: Vec::new(),
            tree: CallTree::new(MAX_FRAMES),
            folds: Folds::default(),
            captured_bytes: 0,
            max_bytes,
        }
    }

    pub(super) fn set_max_bytes(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// The frame for a call site, which is an offset in the original component. `None` in another
    /// module.
    pub(super) fn frame(&self, site: u32, function: u32) -> Option<Frame> {
        self.module.contains(&site).then(|| Frame {
            site,
            function,
            id: site_id(u64::from(site - self.module.start), self.salt),
        })
    }

    /// Whether the call stack of the context with this index is known.
    pub(super) fn is_known(&self, index: u32) -> bool {
        index != 0
            && ((index as usize) < self.stacks.len()
                || self
                    .folded_number(index)
                    .is_some_and(|number| number < self.folds.len()))
    }

    /// Searches the call stack of a context that is not known. Index 0 folds the call stack.
    /// Returns the index of the context's record.
    pub(super) fn find(&mut self, index: u32, context: u64) -> Option<u32> {
        let found = self.tree.search(context)?;
        let limit = self.max_activations();
        if index == 0 {
            let frames = self.tree.frames(&found);
            self.tree.keep_temporarily(&found, limit);
            return Some(self.fold(&frames));
        }
        let stack = match self.tree.keep(&found, limit) {
            Some(position) => Stack::InTree(position),
            None => {
                let frames = self.tree.frames(&found);
                self.captured(frames.iter().map(|(site, _)| *site).collect())
            }
        };
        self.set_stack(index, stack);
        Some(index)
    }

    /// Compares a captured call stack with the one of a context that is known.
    pub(super) fn compare(&self, index: u32, frames: &[Frame]) -> Option<Comparison> {
        if !self.is_known(index) {
            return None;
        }
        let known = self.stack(index as usize)?;
        let is_same = match self.folded_number(index) {
            Some(number) => self.folds.includes(number, &functions(frames)),
            None => known.iter().eq(frames.iter().map(|frame| &frame.site)),
        };
        Some(if is_same { Ok(()) } else { Err(known) })
    }

    /// Adds a captured call stack. Index 0 folds it. Returns the index of the context's record.
    pub(super) fn add(&mut self, index: u32, context: u64, frames: &[Frame]) -> u32 {
        let limit = self.max_activations();
        if index == 0 {
            if context != 0 {
                self.tree.insert_temporarily(context, frames, limit);
            }
            return self.fold(&functions(frames));
        }
        let position = (context != 0).then(|| self.tree.insert(context, frames, limit));
        let stack = match position.flatten() {
            Some(position) => Stack::InTree(position),
            None => self.captured(frames.iter().map(|frame| frame.site).collect()),
        };
        self.set_stack(index, stack);
        index
    }

    fn fold(&mut self, frames: &[(u32, u32)]) -> u32 {
        let number = self.folds.fold(frames);
        number.map_or(0, |number| (FIRST_FOLDED + number) as u32)
    }

    /// The call stack of the context with this index.
    pub(super) fn stack(&self, index: usize) -> Option<Arc<[u32]>> {
        if let Some(number) = index.checked_sub(FIRST_FOLDED) {
            return self.folds.stack(number).cloned();
        }
        match self.stacks.get(index)? {
            Stack::InTree(position) => Some(self.tree.sites(*position).into()),
            Stack::Captured(stack) => Some(Arc::clone(stack)),
            Stack::Unknown => None,
        }
    }

    /// Number of folded call stacks.
    pub(super) fn folded(&self) -> usize {
        self.folds.len()
    }

    fn folded_number(&self, index: u32) -> Option<usize> {
        (index as usize).checked_sub(FIRST_FOLDED)
    }

    fn set_stack(&mut self, index: u32, stack: Stack) {
        let index = index as usize;
        if index < FIRST_FOLDED {
            // Lower indices without a stack get this stack. They were new during the same call of
            // an import, or they are synthetic, and then the name is used instead.
            self.stacks.resize(index + 1, stack);
        }
    }

    fn captured(&mut self, stack: Arc<[u32]>) -> Stack {
        let bytes = size_of_val(&*stack) + 2 * size_of::<usize>();
        if self.captured_bytes + bytes > self.max_bytes / 2 {
            return Stack::Unknown;
        }
        self.captured_bytes += bytes;
        Stack::Captured(stack)
    }

    /// Activations that the tree may have: half of the memory is for other things.
    fn max_activations(&self) -> usize {
        self.max_bytes / 2 / ACTIVATION_BYTES
    }

    /// Bytes of memory that the call stacks take.
    pub(super) fn memory_bytes(&self) -> usize {
        self.stacks.capacity() * size_of::<Stack>()
            + self.captured_bytes
            + self.tree.memory_bytes()
            + self.folds.memory_bytes()
    }
}

fn functions(frames: &[Frame]) -> Vec<(u32, u32)> {
    let functions = frames.iter().map(|frame| (frame.site, frame.function));
    functions.collect()
}
