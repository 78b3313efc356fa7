//! Resolves offsets in a component to functions and source lines.
//!
//! Make one [`Symbols`] per component from the *original* bytes. It keeps only the function names
//! and the debug sections that line lookups read. It parses the debug sections of a core module on
//! the first lookup in that module, and caches every result: only the first lookup of an offset
//! takes a few microseconds.
//!
//! [`Symbols::memory_bytes`] returns the memory that all of this takes. The parsed debug sections
//! are the largest part. [`Symbols::release_parsed`] frees them when no new offsets are expected.

mod cache;
mod classify;
mod compressed_section;
mod dwarf;
mod dwarf_limits;
mod entry_points;
mod error;
mod frame;
mod function_name;
mod layout;
mod module;
mod options;
mod packages;
mod source_path;
mod units;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use error::SymbolsError;
pub use frame::{Frame, FrameKind, Site};
pub use options::SymbolOptions;

use crate::reading::Context;
use cache::SymbolCache;
use classify::Classifier;
use dwarf::{DwarfFrame, ParsedDwarf};
use frame::NewFrame;
use module::ModuleSymbols;

/// Upper bound of the memory that parsed DWARF takes for each byte of `.debug_info` and
/// `.debug_line`. `tests/memory.rs` measures it with a counting allocator, after a lookup of every
/// line of a module.
const PARSED_BYTES_PER_SECTION_BYTE: usize = 3;

/// The precision with which a component's offsets can be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// There are no function names: a function is shown by its offset.
    Offsets,
    /// There are function names, but no line tables.
    Functions,
    /// There are line tables: offsets resolve to source lines.
    Lines,
}

/// The symbols of one component.
///
/// Threads can share it. A lookup in the cache takes only a read lock.
pub struct Symbols {
    build: u64,
    classifier: Classifier,
    modules: Vec<ModuleSymbols>,
    /// By the module's position. `None` if the module has no usable line tables.
    parsed: Mutex<HashMap<usize, Option<ParsedDwarf>>>,
    cache: RwLock<SymbolCache>,
}

impl Symbols {
    /// Reads the names and copies the debug sections of a component or core module.
    ///
    /// # Errors
    ///
    /// The bytes are not a component or core module, or are larger than 4 GiB. Missing names or
    /// debug information are not an error: see [`Symbols::detail`].
    pub fn new(component: &[u8], options: SymbolOptions) -> Result<Self, SymbolsError> {
        let component_symbols = module::read_component(component)?;
        let mut hasher = DefaultHasher::new();
        component.hash(&mut hasher);
        Ok(Self {
            build: hasher.finish(),
            classifier: Classifier::new(options, &component_symbols.interfaces),
            modules: component_symbols.modules,
            parsed: Mutex::default(),
            cache: RwLock::default(),
        })
    }

    /// A hash of the component's bytes. Call stacks are comparable only within one build.
    pub fn build(&self) -> u64 {
        self.build
    }

    /// The best precision that a core module of the component offers for code that is not a
    /// library's.
    ///
    /// It reads the list of compilation units of each module, which takes as long as a first
    /// lookup.
    pub fn detail(&self) -> Detail {
        let mut parsed = self.parsed();
        let of_module = |(index, module): (usize, &ModuleSymbols)| {
            let dwarf = Self::dwarf(&mut parsed, index, module);
            match (
                dwarf.is_some_and(|dwarf| dwarf.packages.has_own()),
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

    /// The frames at an offset in bytes from the start of the component: the function there and the
    /// functions inlined at that place, innermost first. There is at least one frame.
    ///
    /// A new offset takes about 5 µs, and the first one in a module some milliseconds.
    pub fn resolve(&self, offset: u32) -> Arc<[Frame]> {
        if let Some(frames) = self.cache().frames(offset) {
            return Arc::clone(frames);
        }
        let chain = self.look_up(offset);
        self.cache_mut().add_frames(offset, chain)
    }

    /// All frames of a context, innermost first. A synthetic context has one frame with its name.
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

    /// The site that a context is attributed to: that of the innermost frame of the user's own
    /// code.
    pub fn site(&self, context: &Context) -> Arc<Site> {
        if let Some((_, site)) = self.cache().site(context) {
            return site;
        }
        match context {
            Context::Stack(stack) => {
                let chains = stack.iter().map(|offset| self.resolve(*offset));
                match frame::attributed(chains) {
                    Some(frame) => self.cache_mut().add_stack(stack, &frame),
                    None => self.cache_mut().add_synthetic(&Arc::from("(no stack)")),
                }
            }
            Context::Synthetic(text) => self.cache_mut().add_synthetic(text),
        }
    }

    /// The sites of many contexts, and for each the shared copy of its context. It locks the cache
    /// once for all contexts in it.
    pub(crate) fn sites(&self, contexts: Vec<Context>) -> Vec<(Context, Arc<Site>)> {
        let cached: Vec<Option<(Context, Arc<Site>)>> = {
            let cache = self.cache();
            contexts.iter().map(|context| cache.site(context)).collect()
        };
        let attributed = |(cached, context): (Option<(Context, Arc<Site>)>, Context)| {
            cached.unwrap_or_else(|| {
                let site = self.site(&context);
                (context, site)
            })
        };
        cached.into_iter().zip(contexts).map(attributed).collect()
    }

    /// Frees the parsed debug sections and keeps the cached results. The next lookup of a new
    /// offset parses the sections of its module again. Returns whether there was anything to free.
    pub fn release_parsed(&self) -> bool {
        !mem::take(&mut *self.parsed()).is_empty()
    }

    /// Bytes of memory that the symbols take: compressed sections, names, parsed sections (an upper
    /// bound) and cached results.
    pub fn memory_bytes(&self) -> usize {
        let kept: usize = self.modules.iter().map(ModuleSymbols::memory_bytes).sum();
        let of_parsed = |(index, dwarf): (&usize, &Option<ParsedDwarf>)| {
            let (sections, parsed) = self.modules.get(*index)?.section_bytes();
            Some(dwarf.as_ref()?.memory_bytes() + sections + parsed * PARSED_BYTES_PER_SECTION_BYTE)
        };
        let parsed: usize = self.parsed().iter().filter_map(of_parsed).sum();
        kept + parsed + self.cache().memory_bytes()
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
        let Some(dwarf) = Self::dwarf(&mut parsed, index, module) else {
            return vec![self.frame_without_line(symbol, offset, false)];
        };
        let chain = dwarf.frames(u64::from(offset - module.code.start));
        if chain.is_empty() {
            return vec![self.frame_without_line(symbol, offset, dwarf.packages.has_own())];
        }
        // The symbol names the outermost frame; the others are inlined in it.
        let outermost = chain.len() - 1;
        let frames = chain.into_iter().enumerate();
        frames
            .map(|(position, frame)| {
                self.frame(
                    frame,
                    symbol.filter(|_| position == outermost),
                    offset,
                    dwarf,
                )
            })
            .collect()
    }

    /// The parsed DWARF of a module. A module whose DWARF cannot be read counts as one without.
    fn dwarf<'a>(
        parsed: &'a mut HashMap<usize, Option<ParsedDwarf>>,
        index: usize,
        module: &ModuleSymbols,
    ) -> Option<&'a mut ParsedDwarf> {
        let open = || {
            module
                .has_lines()
                .then(|| ParsedDwarf::open(module))
                .flatten()
        };
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
        frame: DwarfFrame,
        symbol: Option<&str>,
        offset: u32,
        dwarf: &mut ParsedDwarf,
    ) -> NewFrame {
        let source = frame
            .file
            .as_deref()
            .map(|file| dwarf.source(file, self.classifier.options()));
        let Some(function) =
            function_name::full_name(frame.function.as_deref(), symbol, source.as_ref())
        else {
            return NewFrame::nameless(offset);
        };
        let lifted = frame
            .function
            .zip(symbol)
            .is_some_and(|(name, symbol)| function_name::is_lifted(&name, symbol));
        let kind = if lifted {
            FrameKind::Bindings
        } else {
            self.classifier
                .kind(&function, source.as_ref(), dwarf.packages.has_own())
        };
        NewFrame {
            function,
            file: source.map(|source| source.shown),
            line: frame.line,
            column: frame.column,
            kind,
        }
    }

    fn parsed(&self) -> MutexGuard<'_, HashMap<usize, Option<ParsedDwarf>>> {
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> RwLockReadGuard<'_, SymbolCache> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache_mut(&self) -> RwLockWriteGuard<'_, SymbolCache> {
        self.cache.write().unwrap_or_else(PoisonError::into_inner)
    }
}
