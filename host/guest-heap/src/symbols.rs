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
mod code_pattern;
mod compressed_section;
mod dwarf;
mod dwarf_limits;
mod entry_points;
mod error;
mod frame;
mod function_name;
mod function_ranges;
mod interpreted;
mod layout;
mod module;
mod options;
mod packages;
mod resolver;
mod source_path;
mod units;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

pub use code_pattern::PatternError;
pub use error::SymbolsError;
pub use frame::{Frame, FrameKind, FrameRun, Site, fold};
pub use options::SymbolOptions;

use crate::collected_heap::{self, JAVASCRIPT_HEAP};
use crate::interpreter::{Detection, Interpreter};
use crate::reading::Context;
use crate::source_stack::SourceFrame;
use cache::{ARGUMENTS, SymbolCache};
use classify::Classifier;
use dwarf::ParsedDwarf;
use frame::NewFrame;
use module::ModuleSymbols;
use resolver::Resolver;

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

/// Whether lines can be shown, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineTables {
    /// There are none for the user's code.
    Missing,
    /// They describe other code: a tool such as `wasm-opt` has changed the module after it was
    /// linked. No line of them is shown.
    Outdated,
    /// They belong to the code.
    Present,
}

impl LineTables {
    /// `missing`, `outdated` or `present`.
    pub fn name(self) -> &'static str {
        match self {
            LineTables::Missing => "missing",
            LineTables::Outdated => "outdated",
            LineTables::Present => "present",
        }
    }

    /// What to do to see lines. `None` if they are there.
    pub fn advice(self) -> Option<&'static str> {
        match self {
            LineTables::Missing => Some(
                "no line tables: build with `debug = \"line-tables-only\"` and `strip = false` \
                 (Rust) or `-g` (C)",
            ),
            LineTables::Outdated => Some(
                "the line tables do not fit the code, so no lines are shown: a tool such as \
                 wasm-opt has changed the code after it was linked",
            ),
            LineTables::Present => None,
        }
    }
}

/// The symbols of one component.
///
/// Threads can share it. A lookup in the cache takes only a read lock.
pub struct Symbols {
    build: u64,
    resolver: Resolver,
    modules: Vec<ModuleSymbols>,
    /// By the module's position. `None` if the module has no usable line tables.
    parsed: Mutex<HashMap<usize, Option<ParsedDwarf>>>,
    cache: RwLock<SymbolCache>,
    line_tables: OnceLock<LineTables>,
    /// Whether the component has an interpreter that says which lines of its program run.
    has_interpreter: bool,
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
            resolver: Resolver::new(Classifier::new(options, &component_symbols.interfaces)),
            modules: component_symbols.modules,
            parsed: Mutex::default(),
            cache: RwLock::default(),
            line_tables: OnceLock::new(),
            has_interpreter: has_interpreter(component),
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
        if self.line_tables() == LineTables::Present {
            Detail::Lines
        } else if self.modules.iter().any(ModuleSymbols::has_names) {
            Detail::Functions
        } else {
            Detail::Offsets
        }
    }

    /// Whether a core module of the component has usable line tables for code that is not a
    /// library's, or an interpreter whose program's lines are known. The first call takes as long
    /// as [`Symbols::detail`].
    pub fn line_tables(&self) -> LineTables {
        *self.line_tables.get_or_init(|| self.find_line_tables())
    }

    fn find_line_tables(&self) -> LineTables {
        if self.has_interpreter {
            return LineTables::Present;
        }
        let mut parsed = self.parsed();
        let of_module = |(index, module): (usize, &ModuleSymbols)| match Self::dwarf(
            &mut parsed,
            index,
            module,
        ) {
            Some(dwarf) if !dwarf.fits => LineTables::Outdated,
            Some(dwarf) if dwarf.packages.has_own() => LineTables::Present,
            _ => LineTables::Missing,
        };
        let modules = self.modules.iter().enumerate();
        modules.map(of_module).max().unwrap_or(LineTables::Missing)
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

    /// The frame of a call in an interpreted program, as the only element.
    pub fn resolve_source(&self, source: &Arc<SourceFrame>) -> Arc<[Frame]> {
        if let Some(frames) = self.cache().source_frame(source) {
            return Arc::clone(frames);
        }
        let frame = self.resolver.source_frame(source);
        self.cache_mut().add_source_frame(source, frame)
    }

    /// All frames of a context, innermost first. A synthetic context has one frame with its name.
    pub fn frames(&self, context: &Context) -> Vec<Frame> {
        match context {
            Context::Stack(stack) => stack
                .iter()
                .flat_map(|offset| self.resolve(*offset).to_vec())
                .collect(),
            Context::Interpreted(stack) => {
                let frames = stack.frames().iter();
                let mut frames: Vec<Frame> = frames
                    .flat_map(|frame| self.resolve_source(frame).to_vec())
                    .collect();
                frames.extend(stack.is_cut().then(outer_frames));
                frames
            }
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
            Context::Stack(stack) if self.takes_chunk(stack) => {
                let mut cache = self.cache_mut();
                cache.add_synthetic_stack(stack, JAVASCRIPT_HEAP)
            }
            Context::Stack(stack) => {
                let chains = stack.iter().map(|offset| self.resolve(*offset));
                match frame::attributed(chains) {
                    Some(frame) if frame.kind == FrameKind::Bindings => {
                        let arguments = self.arguments_of(stack);
                        let mut cache = self.cache_mut();
                        match arguments {
                            Some(name) => cache.add_synthetic_stack(stack, &name),
                            None => cache.add_stack(stack, &frame),
                        }
                    }
                    Some(frame) => self.cache_mut().add_stack(stack, &frame),
                    None => self.cache_mut().add_synthetic(&Arc::from("(no stack)")),
                }
            }
            Context::Interpreted(stack) => {
                let frames = stack.frames().iter();
                match frame::attributed(frames.map(|frame| self.resolve_source(frame))) {
                    Some(frame) => self.cache_mut().add_interpreted(stack, &frame),
                    None => self.cache_mut().add_synthetic(&Arc::from("(no stack)")),
                }
            }
            Context::Synthetic(text) => self.cache_mut().add_synthetic(text),
        }
    }

    /// Whether a collector takes a chunk of its heap in this stack.
    fn takes_chunk(&self, stack: &[u32]) -> bool {
        let names = stack.iter().take(collected_heap::MAX_DEPTH);
        let mut names = names.filter_map(|offset| {
            let (_, module) = self.module_at(*offset)?;
            module.function_name(*offset)
        });
        names.any(collected_heap::takes_chunk)
    }

    /// The name of the context of arguments, for a stack in which an export's bindings allocate
    /// without own code: they take apart the arguments that the host has lowered.
    fn arguments_of(&self, stack: &[u32]) -> Option<Arc<str>> {
        let (_, module) = self.module_at(*stack.last()?)?;
        let symbol = module.function_name(*stack.last()?)?;
        let export = module.is_export(symbol).then_some(symbol)?;
        Some(format!("{ARGUMENTS}{}", function_name::short_export(export)).into())
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
        let Some((index, module)) = self.module_at(offset) else {
            return vec![NewFrame::nameless(offset)];
        };
        let mut parsed = self.parsed();
        let dwarf = Self::dwarf(&mut parsed, index, module);
        self.resolver.frames(module, dwarf, offset)
    }

    fn module_at(&self, offset: u32) -> Option<(usize, &ModuleSymbols)> {
        let index = self
            .modules
            .partition_point(|module| module.code.start <= offset)
            .checked_sub(1)?;
        let module = self.modules.get(index)?;
        (offset < module.code.end).then_some((index, module))
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

/// The frame that stands for the outer frames that a stack omits.
fn outer_frames() -> Frame {
    Frame {
        function: interpreted::OUTER_FRAMES.into(),
        file: None,
        line: None,
        column: None,
        kind: FrameKind::Std,
    }
}

/// Whether a component has an interpreter that says which lines of its program run.
fn has_interpreter(component: &[u8]) -> bool {
    let modules = module::core_modules(component);
    matches!(Interpreter::find(modules.into_iter()), Detection::Found(_))
}
