//! The host's side: call stacks of new contexts, and the books of the instances.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use wasmtime::component::{Linker, WasmList};
use wasmtime::{AsContext, Config, StoreContextMut, WasmBacktrace, WasmBacktraceDetails};

use crate::instrument::{InstrumentedMeta, names};
use crate::reading::{Book, ContextRecord, Glance, INDEX_BITS, Reading, Totals};

/// Frames that are captured. Deeper stacks are cut at the outer end.
const MAX_FRAMES: usize = 64;

/// What a context stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// A call stack: offsets in the original component, innermost first. The profiler's own frames
    /// and those of other core modules are not among them.
    Stack(Arc<[u32]>),
    /// What has no call stack of its own: `arguments of leak#on-request`, `initialisation`,
    /// `overflow`.
    Special(Arc<str>),
}

/// The outcome of [`Options::check_contexts`](crate::Options::check_contexts).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Allocations whose stack was compared with that of its context.
    pub events: u64,
    /// Those that differed.
    pub mismatches: u64,
    /// The first of them: the context's stack, and the other one.
    pub first_mismatch: Option<[Arc<[u32]>; 2]>,
}

/// Which contexts a reader has been told of. Starts empty.
#[derive(Clone, Debug, Default)]
pub struct Seen(Vec<usize>);

/// Receives what an instrumented component tells, and reads its books. One for each store, in the
/// store's data.
pub struct Recorder {
    meta: Arc<InstrumentedMeta>,
    instances: Vec<Instance>,
    checked: Checked,
}

/// An instrumented core instance.
struct Instance {
    books: WasmList<u64>,
    /// Where its module lies in the original component.
    module: Range<u32>,
    /// By a context's index, as far as the host has been told.
    stacks: Vec<Arc<[u32]>>,
}

/// Sets what the recorder needs of an engine: backtraces of up to 64 frames, without the line
/// tables, which instrumented components do not have.
pub fn configure(config: &mut Config) {
    config.wasm_backtrace_max_frames(NonZeroUsize::new(MAX_FRAMES));
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
}

/// Adds what instrumented components import. Works for synchronous and asynchronous stores, and does
/// no harm to a component that is not instrumented.
///
/// # Errors
///
/// The linker has a definition of that name already.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    recorder: fn(&mut T) -> &mut Recorder,
) -> wasmtime::Result<()> {
    let mut host = linker.instance(names::HOST)?;
    host.func_wrap(
        names::ANNOUNCE,
        move |mut store: StoreContextMut<'_, T>, (books, module): (WasmList<u64>, u32)| {
            Ok((recorder(store.data_mut()).announce(books, module),))
        },
    )?;
    host.func_wrap(
        names::CONTEXT,
        move |mut store: StoreContextMut<'_, T>, (book, index): (u32, u32)| {
            let backtrace = WasmBacktrace::force_capture(&store);
            recorder(store.data_mut()).new_context(book, index, &backtrace);
            Ok(())
        },
    )
}

impl Recorder {
    /// For a store that is going to instantiate the component that `meta` belongs to, once.
    pub fn new(meta: Arc<InstrumentedMeta>) -> Self {
        Self {
            meta,
            instances: Vec::new(),
            checked: Checked::default(),
        }
    }

    /// What belongs to the component.
    pub fn meta(&self) -> &Arc<InstrumentedMeta> {
        &self.meta
    }

    /// The sums that are kept as such: it takes some nanoseconds to read them, so they can be read before and after each
    /// call. `store` is the one that the recorder belongs to.
    pub fn glance(&self, store: impl AsContext) -> Glance {
        let mut sum = Glance::default();
        for book in self.opened(&store).map(|book| book.glance()) {
            sum.live_bytes = sum.live_bytes.saturating_add(book.live_bytes);
            sum.overflowed = sum.overflowed.saturating_add(book.overflowed);
        }
        sum
    }

    /// Sums over all contexts. Takes a few microseconds for a thousand contexts, and well under one
    /// for the hundred or so that most guests have.
    pub fn totals(&self, store: impl AsContext) -> Totals {
        self.sum(&store, |_| {})
    }

    /// The books as they are now.
    pub fn read(&self, store: impl AsContext) -> Reading {
        let mut contexts = Vec::new();
        let totals = self.sum(&store, |record| contexts.push(record));
        Reading { totals, contexts }
    }

    fn sum(&self, store: &impl AsContext, mut each: impl FnMut(ContextRecord)) -> Totals {
        let mut totals = Totals::default();
        for book in self.opened(store) {
            book.add_header(&mut totals);
            for record in book.records() {
                totals.add(&record);
                each(record);
            }
        }
        totals
    }

    /// What a context stands for, by the index that a [`ContextRecord`] has.
    pub fn context(&self, store: impl AsContext, index: u32) -> Context {
        let (number, index) = (
            index >> INDEX_BITS,
            index as usize & ((1 << INDEX_BITS) - 1),
        );
        let instance = self.instances.get(number as usize);
        let book = self.opened(&store).find(|book| book.number() == number);
        let special = book.map_or(0, |book| book.special(index));
        let stack = || instance?.stacks.get(index).cloned();
        if index == 0 || special != 0 {
            let name = self.meta.special(special).cloned();
            return Context::Special(name.unwrap_or_else(|| "unknown".into()));
        }
        stack().map_or_else(|| Context::Special("unknown".into()), Context::Stack)
    }

    /// The contexts that have come up since `seen` was last given to this, with their indices.
    pub fn new_contexts(&self, store: impl AsContext, seen: &mut Seen) -> Vec<(u32, Context)> {
        seen.0.resize(self.instances.len().max(seen.0.len()), 0);
        let mut new = Vec::new();
        for book in self.opened(&store) {
            let Some(seen) = seen.0.get_mut(book.number() as usize) else {
                continue;
            };
            let indices = *seen..book.contexts();
            *seen = indices.end;
            new.extend(indices.map(|index| {
                let index = book.number() << INDEX_BITS | index as u32;
                (index, self.context(&store, index))
            }));
        }
        new
    }

    /// What checking the contexts has found, where that was asked for.
    pub fn checked(&self) -> &Checked {
        &self.checked
    }

    /// Bytes of the host's memory that the recorder takes, at most; stacks that contexts share count
    /// for each.
    pub fn memory_bytes(&self) -> usize {
        let stacks = self.instances.iter().flat_map(|instance| &instance.stacks);
        let stack = |stack: &Arc<[u32]>| {
            size_of_val(stack) + 2 * size_of::<usize>() + size_of_val(&**stack)
        };
        stacks.map(stack).sum()
    }

    fn opened<'a>(&'a self, store: &'a impl AsContext) -> impl Iterator<Item = Book<'a>> {
        (0..).zip(&self.instances).filter_map(|(number, instance)| {
            Book::new(instance.books.as_le_slice(store.as_context()), number)
        })
    }

    fn announce(&mut self, books: WasmList<u64>, module: u32) -> u32 {
        let span = self.meta.modules().iter().find(|span| span.index == module);
        let number = self.instances.len() as u32;
        self.instances.push(Instance {
            books,
            module: span.map_or(0..0, |span| span.original.clone()),
            stacks: Vec::new(),
        });
        number
    }

    fn new_context(&mut self, book: u32, index: u32, backtrace: &WasmBacktrace) {
        let Some(instance) = self.instances.get_mut(book as usize) else {
            return;
        };
        let offsets = self.meta.offsets();
        let frames = backtrace.frames().iter().filter_map(|frame| {
            let offset = u32::try_from(frame.module_offset()?).ok()?;
            offsets
                .original(offset)
                .filter(|original| instance.module.contains(original))
        });
        let stack: Arc<[u32]> = frames.collect();
        let index = (index as usize).min((1 << INDEX_BITS) - 1);
        if let Some(known) = instance.stacks.get(index) {
            self.checked.events += 1;
            if **known != *stack {
                self.checked.mismatches += 1;
                self.checked
                    .first_mismatch
                    .get_or_insert([known.clone(), stack]);
            }
            return;
        }
        // What is new before this one came up during the same call of an import, or has a name,
        // which is asked for first.
        instance.stacks.resize(index + 1, stack);
    }
}
