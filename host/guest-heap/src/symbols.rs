//! From offsets in a component to source lines.
//!
//! A [`Symbols`] is made once per component from its *original* bytes and keeps only the function names and the sections that
//! line lookups read. Nothing is parsed before the first lookup in a module; every answer is kept, so a lookup costs its
//! few microseconds once. [`Symbols::memory_bytes`] says what all that holds, and [`Symbols::release_parsed`] gives back the
//! largest part once no new offsets come in.

mod classify;
mod dwarf_limits;
mod frame;
mod function_name;
mod known;
mod lines;
mod module;
mod options;
mod packed;
mod source_path;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use frame::{Frame, FrameKind, Site};
pub use options::SymbolOptions;

use crate::reading::Context;
use classify::Classifier;
use frame::NewFrame;
use known::Known;
use lines::{Lines, RawFrame};
use module::Module;

/// What parsed DWARF takes in memory for each byte of `.debug_info` and `.debug_line`, at most: measured with a counting
/// allocator after every line of a module was looked up (`tests/memory.rs`).
const PARSED_BYTES_PER_SECTION_BYTE: usize = 3;

/// Why a component's symbols cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SymbolsError {
    /// The bytes are not a valid component or module.
    #[error("not a readable component: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// Offsets are kept in 32 bits.
    #[error("the component is larger than 4 GiB")]
    TooLarge,
}

/// How finely a component can be attributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// No names: functions are shown by their offset.
    Offsets,
    /// Function names without line tables.
    Functions,
    /// Source lines.
    Lines,
}

/// The symbols of one component. Shared between threads; a lookup of what is known takes a read lock only.
pub struct Symbols {
    build: u64,
    classifier: Classifier,
    modules: Vec<Module>,
    parsed: Mutex<HashMap<usize, Option<Lines>>>,
    known: RwLock<Known>,
}

impl Symbols {
    /// Reads the component's structure. The bytes can be dropped afterwards.
    ///
    /// # Errors
    /// When the bytes are no component or module. Missing names or debug information are no error: see [`Symbols::detail`].
    pub fn new(component: &[u8], options: SymbolOptions) -> Result<Self, SymbolsError> {
        let scan = module::scan(component)?;
        let mut hasher = DefaultHasher::new();
        component.hash(&mut hasher);
        Ok(Self {
            build: hasher.finish(),
            classifier: Classifier::new(options, &scan.interfaces),
            modules: scan.modules,
            parsed: Mutex::default(),
            known: RwLock::default(),
        })
    }

    /// Tells components apart: call stacks can be compared only within one.
    pub fn build(&self) -> u64 {
        self.build
    }

    /// The best that any module of the component offers for code that is not a library's. Reads the list of compilation units,
    /// which costs what a first lookup costs.
    pub fn detail(&self) -> Detail {
        let mut parsed = self.parsed();
        let of_module = |(index, module): (usize, &Module)| {
            let lines = Self::lines(&mut parsed, index, module);
            match (
                lines.is_some_and(|lines| lines.roots.has_workspace()),
                module.has_names(),
            ) {
                (true, _) => Detail::Lines,
                (false, true) => Detail::Functions,
                (false, false) => Detail::Offsets,
            }
        };
        self.modules
            .iter()
            .enumerate()
            .map(of_module)
            .max()
            .unwrap_or(Detail::Offsets)
    }

    /// The inline chain at an offset of the component, innermost first, never empty.
    ///
    /// About 5 µs for an offset not seen before, and some milliseconds for the first in a module.
    pub fn resolve(&self, offset: u32) -> Arc<[Frame]> {
        if let Some(frames) = self.known().frames(offset) {
            return Arc::clone(frames);
        }
        let chain = self.look_up(offset);
        self.known_mut().add_frames(offset, chain)
    }

    /// Every frame of a context, innermost first. A context without a stack is one frame of its own name.
    pub fn frames(&self, context: &Context) -> Vec<Frame> {
        match context {
            Context::Stack(stack) => stack
                .iter()
                .flat_map(|offset| self.resolve(*offset).to_vec())
                .collect(),
            Context::Synthetic(text) => {
                vec![Frame {
                    function: Arc::clone(text),
                    file: None,
                    line: None,
                    column: None,
                    kind: FrameKind::User,
                }]
            }
        }
    }

    /// What a context is attributed to: the innermost frame that is the user's own.
    pub fn site(&self, context: &Context) -> Arc<Site> {
        if let Some((_, site)) = self.known().site(context) {
            return site;
        }
        match context {
            Context::Stack(stack) => {
                let chains = stack.iter().map(|offset| self.resolve(*offset));
                match frame::attributed(chains) {
                    Some(frame) => self.known_mut().add_stack(stack, &frame),
                    None => self.known_mut().add_special(&Arc::from("(no stack)")),
                }
            }
            Context::Synthetic(text) => self.known_mut().add_special(text),
        }
    }

    /// The sites of many contexts, with one lock for all that are known, each with the copy of the context that is shared.
    pub(crate) fn sites(&self, contexts: Vec<Context>) -> Vec<(Context, Arc<Site>)> {
        let known: Vec<Option<(Context, Arc<Site>)>> = {
            let known = self.known();
            contexts.iter().map(|context| known.site(context)).collect()
        };
        let attributed = |(known, context): (Option<(Context, Arc<Site>)>, Context)| {
            known.unwrap_or_else(|| {
                let site = self.site(&context);
                (context, site)
            })
        };
        known.into_iter().zip(contexts).map(attributed).collect()
    }

    /// Drops what was parsed for lookups and keeps every answer. The next offset that was never seen pays the set-up
    /// again. Tells whether there was anything to drop.
    pub fn release_parsed(&self) -> bool {
        !mem::take(&mut *self.parsed()).is_empty()
    }

    /// Bytes held: the kept sections and names, what is parsed (an upper estimate), and the answers.
    pub fn memory_bytes(&self) -> usize {
        let kept: usize = self.modules.iter().map(Module::memory_bytes).sum();
        let of_parsed = |(index, lines): (&usize, &Option<Lines>)| {
            let (sections, parsed) = self.modules.get(*index)?.section_bytes();
            Some(lines.as_ref()?.memory_bytes() + sections + parsed * PARSED_BYTES_PER_SECTION_BYTE)
        };
        let parsed: usize = self.parsed().iter().filter_map(of_parsed).sum();
        kept + parsed + self.known().memory_bytes()
    }

    fn look_up(&self, offset: u32) -> Vec<NewFrame> {
        let index = self
            .modules
            .partition_point(|module| module.code.start <= offset);
        let module = index
            .checked_sub(1)
            .and_then(|index| Some((index, self.modules.get(index)?)));
        let Some((index, module)) = module.filter(|(_, module)| offset < module.code.end) else {
            return vec![NewFrame::nameless(offset)];
        };
        let symbol = module.function_name(offset);
        let mut parsed = self.parsed();
        let Some(lines) = Self::lines(&mut parsed, index, module) else {
            return vec![self.frame_without_line(symbol, offset, false)];
        };
        let chain = lines.frames(u64::from(offset - module.code.start));
        if chain.is_empty() {
            return vec![self.frame_without_line(symbol, offset, lines.roots.has_workspace())];
        }
        // The last of a chain is the function that the symbol names; the others are inlined in it.
        let outermost = chain.len() - 1;
        let frames = chain.into_iter().enumerate();
        frames
            .map(|(position, raw)| {
                self.frame(raw, symbol.filter(|_| position == outermost), offset, lines)
            })
            .collect()
    }

    /// The parsed line tables of a module. Debug information that cannot be read is as good as none.
    fn lines<'a>(
        parsed: &'a mut HashMap<usize, Option<Lines>>,
        index: usize,
        module: &Module,
    ) -> Option<&'a mut Lines> {
        let open = || module.has_lines().then(|| Lines::open(module)).flatten();
        parsed.entry(index).or_insert_with(open).as_mut()
    }

    fn frame_without_line(&self, symbol: Option<&str>, offset: u32, has_lines: bool) -> NewFrame {
        let Some(function) = symbol.map(function_name::demangle) else {
            return NewFrame::nameless(offset);
        };
        let kind = self.classifier.kind(&function, None, has_lines);
        NewFrame {
            function,
            file: None,
            line: None,
            column: None,
            kind,
        }
    }

    fn frame(
        &self,
        raw: RawFrame,
        symbol: Option<&str>,
        offset: u32,
        lines: &mut Lines,
    ) -> NewFrame {
        let source = raw
            .file
            .as_deref()
            .map(|file| lines.source(file, self.classifier.options()));
        let Some(function) = function_name::best(raw.function.as_deref(), symbol, source.as_ref())
        else {
            return NewFrame::nameless(offset);
        };
        let lifted = raw
            .function
            .zip(symbol)
            .is_some_and(|(name, symbol)| function_name::is_lifted(&name, symbol));
        let kind = if lifted {
            FrameKind::Bindings
        } else {
            self.classifier
                .kind(&function, source.as_ref(), lines.roots.has_workspace())
        };
        NewFrame {
            function,
            file: source.map(|source| source.shown),
            line: raw.line,
            column: raw.column,
            kind,
        }
    }

    fn parsed(&self) -> MutexGuard<'_, HashMap<usize, Option<Lines>>> {
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}
