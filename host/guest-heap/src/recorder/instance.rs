//! The call stacks of one instrumented core instance.

use std::ops::Range;
use std::sync::Arc;

use wasmtime::component::WasmList;

use super::call_tree::{CallTree, Frame, Position};
use super::folds::Folds;
use super::interpreted::{NumberedStack, SOURCE_FRAME, SourceFrames};
use crate::instance_tables::FIRST_FOLDED;
use crate::instrument::{ModuleSpan, module_salt, site_id};
use crate::interpreter::{Interpreter, Windows};
use crate::reading::Context;
use crate::source_stack::InterpretedStack;

/// Frames that a call stack has at most. Deeper ones lose their outermost frames.
pub(super) const MAX_FRAMES: usize = 64;

/// Bytes of memory that an activation of the call tree takes, with its place in a map.
const ACTIVATION_BYTES: usize = 64;

/// An instrumented core instance.
pub(super) struct RecordedInstance {
    pub(super) tables: WasmList<u64>,
    /// Its core module, and those that share its heap tables.
    modules: Vec<RecordedModule>,
    /// By the index of a context, for the contexts that the runtime has reported.
    stacks: Vec<Stack>,
    tree: CallTree,
    folds: Folds,
    pub(super) interpreter: Option<Interpreter>,
    /// The source frames of an interpreted program.
    pub(super) source: SourceFrames,
    /// What the host has read of the guest's memory for the context that is being reported.
    pub(super) windows: Windows,
    /// The address of the next part that it has to read.
    pub(super) wanted: Option<u32>,
    /// Bytes of the call stacks that are not in the tree.
    captured_bytes: usize,
    max_bytes: usize,
}

struct RecordedModule {
    /// Byte range in the original component.
    range: Range<u32>,
    salt: u64,
    pass_through: Arc<[u32]>,
}

/// A call stack from a backtrace.
pub(super) struct CapturedStack {
    /// Innermost first, at most [`MAX_FRAMES`].
    pub(super) frames: Vec<Frame>,
    /// Whether outer frames may be missing.
    pub(super) is_cut: bool,
}

impl CapturedStack {
    pub(super) fn sites(&self) -> Arc<[u32]> {
        self.frames.iter().map(|frame| frame.site).collect()
    }

    fn functions(&self) -> Vec<(u32, u32)> {
        let frames = self.frames.iter();
        frames.map(|frame| (frame.site, frame.function)).collect()
    }
}

/// The call stack of a context.
#[derive(Clone)]
enum Stack {
    InTree(Position),
    /// One that the tree cannot have.
    Captured(Arc<[u32]>),
    /// That of an interpreted program.
    Interpreted(Arc<InterpretedStack>),
    /// There was no memory for it.
    Unknown,
}

/// The call stack that is known for a context, if it differs.
type Comparison = Result<(), Arc<[u32]>>;

impl RecordedInstance {
    /// An instance with these modules. The call stacks take at most `max_bytes`.
    pub(super) fn new(
        tables: WasmList<u64>,
        modules: Vec<&ModuleSpan>,
        interpreter: Option<Interpreter>,
        max_bytes: usize,
    ) -> Self {
        let module = |span: &ModuleSpan| RecordedModule {
            range: span.original.clone(),
            salt: module_salt(span.index),
            pass_through: Arc::clone(&span.pass_through),
        };
        let modules = modules.into_iter().filter(|span| span.tracks_calls);
        Self {
            tables,
            modules: modules.map(module).collect(),
            stacks: Vec::new(),
            tree: CallTree::new(MAX_FRAMES),
            folds: Folds::default(),
            interpreter,
            source: SourceFrames::default(),
            windows: Windows::default(),
            wanted: None,
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
        let mut modules = self.modules.iter();
        let module = modules.find(|module| module.range.contains(&site))?;
        let start = site - module.range.start;
        let passes = module.pass_through.binary_search(&start).is_ok();
        Some(Frame {
            site,
            function,
            id: (!passes).then(|| site_id(u64::from(start), module.salt)),
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
    pub(super) fn compare(&self, index: u32, captured: &CapturedStack) -> Option<Comparison> {
        let known = self.known(index)?;
        let is_same = match self.folded_number(index) {
            Some(number) => self.folds.includes(number, &captured.functions()),
            None => known == captured.sites(),
        };
        Some(if is_same { Ok(()) } else { Err(known) })
    }

    /// The same for a stack of source frames.
    pub(super) fn compare_source(&self, index: u32, stack: &NumberedStack) -> Option<Comparison> {
        let known = self.known(index)?;
        let is_same = match (self.folded_number(index), self.stacks.get(index as usize)) {
            (Some(number), _) => {
                let frames = self.source.with_functions(&stack.frames);
                self.folds.includes(number, &frames)
            }
            (None, Some(Stack::Interpreted(known))) => {
                known.frames() == self.source.stack(&stack.frames, stack.is_cut).frames()
            }
            (None, _) => false,
        };
        Some(if is_same { Ok(()) } else { Err(known) })
    }

    /// Call sites of the context with this index, if it is known. Source frames are no call sites.
    fn known(&self, index: u32) -> Option<Arc<[u32]>> {
        if !self.is_known(index) {
            return None;
        }
        match self.context(index as usize)? {
            Context::Stack(stack) => Some(stack),
            Context::Interpreted(_) | Context::Synthetic(_) => Some([].into()),
        }
    }

    /// Adds a captured call stack. Index 0 folds it. Returns the index of the context's record.
    pub(super) fn add(&mut self, index: u32, context: u64, captured: &CapturedStack) -> u32 {
        let limit = self.max_activations();
        if index == 0 {
            if context != 0 {
                self.tree
                    .insert_temporarily(context, &captured.frames, captured.is_cut, limit);
            }
            return self.fold(&captured.functions());
        }
        let position = (context != 0).then(|| {
            self.tree
                .insert(context, &captured.frames, captured.is_cut, limit)
        });
        let stack = match position.flatten() {
            Some(position) => Stack::InTree(position),
            None => self.captured(captured.sites()),
        };
        self.set_stack(index, stack);
        index
    }

    /// Adds a stack of source frames. Index 0 folds it. Returns the index of the context's record.
    pub(super) fn add_source(&mut self, index: u32, stack: &NumberedStack) -> u32 {
        if index == 0 {
            return self.fold(&self.source.with_functions(&stack.frames));
        }
        let stack = self.source.stack(&stack.frames, stack.is_cut);
        let bytes = stack.memory_bytes();
        let stack = if self.captured_bytes + bytes > self.max_bytes / 2 {
            Stack::Unknown
        } else {
            self.captured_bytes += bytes;
            Stack::Interpreted(Arc::new(stack))
        };
        self.set_stack(index, stack);
        index
    }

    fn fold(&mut self, frames: &[(u32, u32)]) -> u32 {
        let number = self.folds.fold(frames);
        number.map_or(0, |number| (FIRST_FOLDED + number) as u32)
    }

    /// The context with this index.
    pub(super) fn context(&self, index: usize) -> Option<Context> {
        if let Some(number) = index.checked_sub(FIRST_FOLDED) {
            let stack = self.folds.stack(number)?;
            return Some(match stack.first() {
                // Outer frames may have been cut.
                Some(first) if first & SOURCE_FRAME != 0 => {
                    Context::Interpreted(Arc::new(self.source.stack(stack, true)))
                }
                _ => Context::Stack(Arc::clone(stack)),
            });
        }
        Some(match self.stacks.get(index)? {
            Stack::InTree(position) => Context::Stack(self.tree.sites(*position).into()),
            Stack::Captured(stack) => Context::Stack(Arc::clone(stack)),
            Stack::Interpreted(stack) => Context::Interpreted(Arc::clone(stack)),
            Stack::Unknown => return None,
        })
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

    /// Bytes that source frames may take.
    pub(super) fn max_source_bytes(&self) -> usize {
        self.max_bytes / 4
    }

    /// Bytes of memory that the call stacks take.
    pub(super) fn memory_bytes(&self) -> usize {
        self.stacks.capacity() * size_of::<Stack>()
            + self.captured_bytes
            + self.tree.memory_bytes()
            + self.folds.memory_bytes()
            + self.source.memory_bytes()
    }
}
