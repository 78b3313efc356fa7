//! The host's side of the profiler: it captures the call stacks of new contexts, and reads the heap
//! tables of the instances.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use wasmtime::component::{Linker, WasmList};
use wasmtime::{AsContext, Config, StoreContextMut, WasmBacktrace, WasmBacktraceDetails};

use crate::coverage::Coverage;
use crate::instance_tables::{INDEX_BITS, InstanceTables};
use crate::instrument::{InstrumentedMeta, interface};
use crate::reading::{Context, ContextRecord, LiveSummary, Reading, Totals};

/// Frames that a backtrace has at most. Deeper stacks lose their outermost frames.
const MAX_FRAMES: usize = 64;

/// The outcome of [`Options::check_contexts`](crate::Options::check_contexts).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Allocations whose call stack was compared with the stack of their context.
    pub events: u64,
    /// Comparisons that found different stacks.
    pub mismatches: u64,
    /// The stacks of the first mismatch: that of the context, then that of the allocation.
    pub first_mismatch: Option<[Arc<[u32]>; 2]>,
}

/// The contexts that a reader already knows, for [`Recorder::new_contexts`]. A default cursor knows
/// none.
#[derive(Clone, Debug, Default)]
pub struct ContextCursor(Vec<usize>);

/// Captures the call stacks of an instrumented component's contexts, and reads its heap tables.
///
/// Each store needs a recorder of its own, in the store's data.
pub struct Recorder {
    meta: Arc<InstrumentedMeta>,
    instances: Vec<RecordedInstance>,
    checked: Checked,
}

/// An instrumented core instance.
struct RecordedInstance {
    tables: WasmList<u64>,
    /// Byte ranges in the original component of its core module, and of the modules that share its
    /// heap tables.
    modules: Vec<Range<u32>>,
    /// By the index of a context, for the contexts that the runtime has reported.
    stacks: Vec<Arc<[u32]>>,
}

/// Sets the options that an engine needs for the profiler.
///
/// Backtraces get up to 64 frames. They do not use line tables, which instrumented components do
/// not have.
pub fn configure(config: &mut Config) {
    config.wasm_backtrace_max_frames(NonZeroUsize::new(MAX_FRAMES));
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
}

/// Adds the host interface that instrumented components import.
///
/// It works for synchronous and asynchronous stores. Components that are not instrumented ignore
/// it.
///
/// # Errors
///
/// The linker already has a definition with the name [`HOST_INTERFACE`](crate::HOST_INTERFACE).
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    recorder: fn(&mut T) -> &mut Recorder,
) -> wasmtime::Result<()> {
    let mut host = linker.instance(interface::HOST)?;
    host.func_wrap(
        interface::REGISTER_INSTANCE,
        move |mut store: StoreContextMut<'_, T>, (tables, module): (WasmList<u64>, u32)| {
            Ok((recorder(store.data_mut()).register_instance(tables, module),))
        },
    )?;
    host.func_wrap(
        interface::NEW_CONTEXT,
        move |mut store: StoreContextMut<'_, T>, (instance, index): (u32, u32)| {
            let backtrace = WasmBacktrace::force_capture(&store);
            recorder(store.data_mut()).new_context(instance, index, &backtrace);
            Ok(())
        },
    )
}

impl Recorder {
    /// A recorder for a store that instantiates the component of `meta` once.
    pub fn new(meta: Arc<InstrumentedMeta>) -> Self {
        Self {
            meta,
            instances: Vec::new(),
            checked: Checked::default(),
        }
    }

    /// The side data of the component.
    pub fn meta(&self) -> &Arc<InstrumentedMeta> {
        &self.meta
    }

    /// Reads the sums that the guest itself keeps.
    ///
    /// This takes some nanoseconds, so a host can read them before and after each call. `store` is
    /// the store of this recorder, here and in the other methods.
    pub fn live_summary(&self, store: impl AsContext) -> LiveSummary {
        let mut sum = LiveSummary::default();
        for summary in self.tables(&store).map(|tables| tables.live_summary()) {
            sum.live_bytes = sum.live_bytes.saturating_add(summary.live_bytes);
            sum.overflowed = sum.overflowed.saturating_add(summary.overflowed);
            sum.coverage.add(&summary.coverage);
        }
        sum
    }

    /// Sums over all contexts.
    ///
    /// This takes a few microseconds for a thousand contexts, and well under one microsecond for
    /// the hundred or so contexts of most guests.
    pub fn totals(&self, store: impl AsContext) -> Totals {
        self.sum(&store, |_| {})
    }

    /// Reads the counts of all contexts. It also works after the guest has trapped.
    pub fn read(&self, store: impl AsContext) -> Reading {
        let mut contexts = Vec::new();
        let totals = self.sum(&store, |record| contexts.push(record));
        Reading {
            totals,
            contexts,
            coverage: self.coverage(&store),
        }
    }

    /// What the profiler has seen of the guest's memory. This takes some nanoseconds.
    pub fn coverage(&self, store: impl AsContext) -> Coverage {
        self.live_summary(store).coverage
    }

    fn sum(&self, store: &impl AsContext, mut each: impl FnMut(ContextRecord)) -> Totals {
        let mut totals = Totals::default();
        for tables in self.tables(store) {
            tables.add_header(&mut totals);
            for record in tables.records() {
                totals.add(&record);
                each(record);
            }
        }
        totals
    }

    /// The context with the index of a [`ContextRecord`].
    ///
    /// A context without a captured stack, and an unknown index, give the synthetic context
    /// `unknown`.
    pub fn context(&self, store: impl AsContext, index: u32) -> Context {
        let (number, index) = (
            index >> INDEX_BITS,
            index as usize & ((1 << INDEX_BITS) - 1),
        );
        let instance = self.instances.get(number as usize);
        let tables = self
            .tables(&store)
            .find(|tables| tables.instance() == number);
        let synthetic = tables.map_or(0, |tables| tables.synthetic(index));
        let stack = || instance?.stacks.get(index).cloned();
        if index == 0 || synthetic != 0 {
            let name = self.meta.synthetic_name(synthetic).cloned();
            return Context::Synthetic(name.unwrap_or_else(|| "unknown".into()));
        }
        stack().map_or_else(|| Context::Synthetic("unknown".into()), Context::Stack)
    }

    /// The contexts that are new since the last call with this cursor, with their indices.
    pub fn new_contexts(
        &self,
        store: impl AsContext,
        cursor: &mut ContextCursor,
    ) -> Vec<(u32, Context)> {
        let instances = self.instances.len().max(cursor.0.len());
        cursor.0.resize(instances, 0);
        let mut new = Vec::new();
        for tables in self.tables(&store) {
            let Some(known) = cursor.0.get_mut(tables.instance() as usize) else {
                continue;
            };
            let indices = *known..tables.context_count();
            *known = indices.end;
            new.extend(indices.map(|index| {
                let index = tables.instance() << INDEX_BITS | index as u32;
                (index, self.context(&store, index))
            }));
        }
        new
    }

    /// The outcome of [`Options::check_contexts`](crate::Options::check_contexts). All counts are 0
    /// without that option.
    pub fn checked(&self) -> &Checked {
        &self.checked
    }

    /// An upper bound of the host memory that the recorder takes, in bytes. A stack that several
    /// contexts share counts for each of them.
    pub fn memory_bytes(&self) -> usize {
        let stacks = self.instances.iter().flat_map(|instance| &instance.stacks);
        let stack = |stack: &Arc<[u32]>| {
            size_of_val(stack) + 2 * size_of::<usize>() + size_of_val(&**stack)
        };
        stacks.map(stack).sum()
    }

    fn tables<'a>(&'a self, store: &'a impl AsContext) -> impl Iterator<Item = InstanceTables<'a>> {
        (0..).zip(&self.instances).filter_map(|(number, instance)| {
            InstanceTables::new(instance.tables.as_le_slice(store.as_context()), number)
        })
    }

    fn register_instance(&mut self, tables: WasmList<u64>, module: u32) -> u32 {
        let spans = self.meta.modules().iter();
        let spans = spans.filter(|span| span.tables == module);
        let number = self.instances.len() as u32;
        if self.meta.modules().is_empty() {
            // The component is not instrumented with this side data. It imports the interface by
            // itself, so nothing of what it says is kept.
            return number;
        }
        self.instances.push(RecordedInstance {
            tables,
            modules: spans.map(|span| span.original.clone()).collect(),
            stacks: Vec::new(),
        });
        number
    }

    fn new_context(&mut self, instance: u32, index: u32, backtrace: &WasmBacktrace) {
        let Some(instance) = self.instances.get_mut(instance as usize) else {
            return;
        };
        let offsets = self.meta.offsets();
        let at = |frame: &wasmtime::FrameInfo| u32::try_from(frame.module_offset()?).ok();
        // The frames behind the base of the stack belong to other components and to the host's own
        // adapters, whose offsets count from elsewhere.
        let stack: Arc<[u32]> = backtrace
            .frames()
            .iter()
            .filter_map(at)
            .take_while(|offset| !offsets.begins_stack(*offset))
            .filter_map(|offset| offsets.original(offset))
            .filter(|original| instance.modules.iter().any(|it| it.contains(original)))
            .collect();
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
        // Lower indices without a stack get this stack. They were new during the same call of an
        // import, or they are synthetic, and then `context` looks for the name first.
        instance.stacks.resize(index + 1, stack);
    }
}
