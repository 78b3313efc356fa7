//! The host's side of the profiler: it finds or captures the call stacks of new contexts, and reads
//! the heap tables of the instances.

mod call_tree;
mod context_steps;
mod folds;
mod instance;
mod interpreted;
mod source_report;

use std::num::NonZeroUsize;
use std::sync::Arc;

use wasmtime::component::{Linker, WasmList};
use wasmtime::{AsContext, Config, StoreContextMut, WasmBacktrace, WasmBacktraceDetails};

use crate::coverage::Coverage;
use crate::instance_tables::{FIRST_FOLDED, INDEX_BITS, InstanceTables};
use crate::instrument::{InstrumentedMeta, interface};
use crate::reading::{Context, ContextRecord, Handles, LiveSummary, Reading, Totals};
use instance::{CapturedStack, MAX_FRAMES, RecordedInstance};
use source_report::SourceAnswer;

/// Frames that a backtrace has at most: those of a call stack, and the profiler's own.
const BACKTRACE_FRAMES: usize = MAX_FRAMES + 8;

/// Instances that a recorder records at most. Further ones have no call stacks.
const MAX_INSTANCES: usize = 256;

/// Bytes of call stacks that a recorder keeps at most, for all instances. Contexts that are new
/// afterwards have no call stack.
const MAX_BYTES: usize = 32 << 20;

/// The outcome of [`Options::check_contexts`](crate::Options::check_contexts).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Allocations whose call stack was compared with the stack of their context.
    pub events: u64,
    /// Comparisons that found different stacks. A folded call stack differs only if it is not the
    /// call stack with frames omitted.
    pub mismatches: u64,
    /// Allocations that could not be compared: those of synthetic contexts, of the overflow, and
    /// of results of imports.
    pub uncompared: u64,
    /// The stacks of the first mismatch: that of the context, then that of the allocation.
    pub first_mismatch: Option<[Arc<[u32]>; 2]>,
}

/// The contexts that a reader already knows, for [`Recorder::new_contexts`]. A default cursor knows
/// none.
#[derive(Clone, Debug, Default)]
pub struct ContextCursor(Vec<KnownContexts>);

/// The contexts of an instance that a reader already knows.
#[derive(Clone, Copy, Debug, Default)]
struct KnownContexts {
    /// Those with a record of their own.
    count: usize,
    /// Folded call stacks.
    folded: usize,
}

/// Captures the call stacks of an instrumented component's contexts, and reads its heap tables.
///
/// Each store needs a recorder of its own, in the store's data.
pub struct Recorder {
    meta: Arc<InstrumentedMeta>,
    instances: Vec<RecordedInstance>,
    checked: Checked,
    captures: u64,
    unreadable: u64,
}

/// Sets the options that an engine needs for the profiler.
///
/// Backtraces get up to 72 frames. They do not use line tables, which instrumented components do
/// not have.
pub fn configure(config: &mut Config) {
    config.wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES));
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
        move |mut store: StoreContextMut<'_, T>, (instance, index, context): (u32, u32, u64)| {
            let found = recorder(store.data_mut()).find_context(instance, index, context);
            let record = found.unwrap_or_else(|| {
                let backtrace = WasmBacktrace::force_capture(&store);
                recorder(store.data_mut()).capture_context(instance, index, context, &backtrace)
            });
            Ok((record,))
        },
    )?;
    host.func_wrap(
        interface::NEW_INTERPRETED_CONTEXT,
        move |mut store: StoreContextMut<'_, T>, report: (u32, u32, u64, WasmList<u8>)| {
            let (instance, index, context, window) = report;
            let window = window.as_le_slice(&store).to_vec();
            recorder(store.data_mut()).add_window(instance, &window);
            let answer = recorder(store.data_mut()).source_context(instance, index, context);
            let record = match answer {
                SourceAnswer::Record(record) => u64::from(record),
                SourceAnswer::Wants(address) => interface::WANTS_WINDOW | u64::from(address),
                SourceAnswer::NotInterpreted { context } => {
                    let found = recorder(store.data_mut()).find_context(instance, index, context);
                    u64::from(found.unwrap_or_else(|| {
                        let backtrace = WasmBacktrace::force_capture(&store);
                        recorder(store.data_mut())
                            .capture_context(instance, index, context, &backtrace)
                    }))
                }
            };
            Ok((record,))
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
            captures: 0,
            unreadable: 0,
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
            handles: self.handles(&store),
        }
    }

    /// Reads the handles that the guest has.
    pub fn handles(&self, store: impl AsContext) -> Handles {
        let meta = self.meta.handles();
        let mut handles = Handles {
            are_counted: meta.are_counted,
            gaps: Arc::clone(&meta.gaps),
            ..Handles::default()
        };
        for tables in self.tables(&store) {
            let untracked = tables.untracked_handles();
            handles.untracked = handles.untracked.saturating_add(untracked);
            handles.records.extend(tables.handles(&meta.types));
        }
        handles
    }

    /// What the profiler has seen of the guest's memory. This takes some nanoseconds.
    pub fn coverage(&self, store: impl AsContext) -> Coverage {
        self.live_summary(store).coverage
    }

    fn sum(&self, store: &impl AsContext, mut each: impl FnMut(ContextRecord)) -> Totals {
        let mut totals = Totals {
            unreadable: self.unreadable,
            ..Totals::default()
        };
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
        let tables = self
            .tables(&store)
            .find(|tables| tables.instance() == number);
        let synthetic = tables.map_or(0, |tables| tables.synthetic(index));
        let context = || self.instances.get(number as usize)?.context(index);
        if index == 0 || synthetic != 0 {
            let name = self.meta.synthetic_name(synthetic).cloned();
            return Context::Synthetic(name.unwrap_or_else(|| "unknown".into()));
        }
        context().unwrap_or_else(|| Context::Synthetic("unknown".into()))
    }

    /// The contexts that are new since the last call with this cursor, with their indices.
    pub fn new_contexts(
        &self,
        store: impl AsContext,
        cursor: &mut ContextCursor,
    ) -> Vec<(u32, Context)> {
        let instances = self.instances.len().max(cursor.0.len());
        cursor.0.resize(instances, KnownContexts::default());
        let mut new = Vec::new();
        for tables in self.tables(&store) {
            let Some(known) = cursor.0.get_mut(tables.instance() as usize) else {
                continue;
            };
            let instance = self.instances.get(tables.instance() as usize);
            let folded = instance.map_or(0, RecordedInstance::folded);
            let indices = (known.count..tables.context_count())
                .chain(FIRST_FOLDED + known.folded..FIRST_FOLDED + folded);
            *known = KnownContexts {
                count: tables.context_count(),
                folded,
            };
            new.extend(indices.map(|index| {
                let index = tables.instance() << INDEX_BITS | index as u32;
                (index, self.context(&store, index))
            }));
        }
        new
    }

    /// The outcome of [`Options::check_contexts`](crate::Options::check_contexts). All counts are 0
    /// without that option.
    pub fn checked(&self, store: impl AsContext) -> Checked {
        let unreported = self.tables(&store).map(|tables| tables.unreported());
        let mut checked = self.checked.clone();
        checked.uncompared = unreported.fold(checked.uncompared, u64::saturating_add);
        checked
    }

    /// Backtraces that the recorder has captured. It finds the other call stacks by their contexts,
    /// which takes less than a microsecond; a backtrace takes about 10 microseconds.
    pub fn captures(&self) -> u64 {
        self.captures
    }

    /// The host memory that the recorder takes, in bytes: at most about 32 MiB.
    pub fn memory_bytes(&self) -> usize {
        let instances = self.instances.iter().map(RecordedInstance::memory_bytes);
        instances.sum::<usize>() + self.instances.capacity() * size_of::<RecordedInstance>()
    }

    fn tables<'a>(&'a self, store: &'a impl AsContext) -> impl Iterator<Item = InstanceTables<'a>> {
        (0..).zip(&self.instances).filter_map(|(number, instance)| {
            InstanceTables::new(instance.tables.as_le_slice(store.as_context()), number)
        })
    }

    fn register_instance(&mut self, tables: WasmList<u64>, module: u32) -> u32 {
        if self.meta.modules().is_empty() || self.instances.len() >= MAX_INSTANCES {
            // A component without side data imports the interface by itself, so nothing of what it
            // says is kept.
            return u32::MAX;
        }
        let spans = self.meta.modules().iter();
        let modules = spans.filter(|span| span.tables == module).collect();
        let number = self.instances.len() as u32;
        let share = MAX_BYTES / (self.instances.len() + 1);
        for instance in &mut self.instances {
            instance.set_max_bytes(share);
        }
        let interpreter = self.meta.interpreter(module).cloned();
        self.instances
            .push(RecordedInstance::new(tables, modules, interpreter, share));
        number
    }

    /// Finds the call stack of a context without a backtrace. Returns the index of its record.
    fn find_context(&mut self, instance: u32, index: u32, context: u64) -> Option<u32> {
        let instance = self.instances.get_mut(instance as usize)?;
        if context == 0 || instance.is_known(index) {
            return None;
        }
        instance.find(index, context)
    }

    /// Adds the call stack of a context, or compares it with the known one. Returns the index of
    /// the context's record.
    fn capture_context(
        &mut self,
        instance: u32,
        index: u32,
        context: u64,
        backtrace: &WasmBacktrace,
    ) -> u32 {
        let Some(instance) = self.instances.get_mut(instance as usize) else {
            return 0;
        };
        self.captures += 1;
        let captured = captured_stack(&self.meta, instance, backtrace);
        match instance.compare(index, &captured) {
            Some(Ok(())) => self.checked.events += 1,
            Some(Err(known)) => {
                self.checked.events += 1;
                self.checked.mismatches += 1;
                let stack = captured.sites();
                self.checked.first_mismatch.get_or_insert([known, stack]);
            }
            None => return instance.add(index, context, &captured),
        }
        index
    }
}

/// The frames of a backtrace that belong to the instance's modules, innermost first.
///
/// The frames behind the base of the stack belong to other components and to the host's own
/// adapters, whose offsets count from elsewhere.
fn captured_stack(
    meta: &InstrumentedMeta,
    instance: &RecordedInstance,
    backtrace: &WasmBacktrace,
) -> CapturedStack {
    let offsets = meta.offsets();
    let mut is_cut = backtrace.frames().len() >= BACKTRACE_FRAMES;
    let mut frames = Vec::with_capacity(backtrace.frames().len());
    for frame in backtrace.frames() {
        let Some(offset) = frame.module_offset().and_then(|at| u32::try_from(at).ok()) else {
            continue;
        };
        if offsets.begins_stack(offset) {
            is_cut = false;
            break;
        }
        let in_function = frame.func_offset().and_then(|at| u32::try_from(at).ok());
        let function = offset.saturating_sub(in_function.unwrap_or(0));
        let original = offsets.original(offset);
        frames.extend(original.and_then(|site| instance.frame(site, function)));
    }
    is_cut |= frames.len() > MAX_FRAMES;
    frames.truncate(MAX_FRAMES);
    CapturedStack { frames, is_cut }
}
