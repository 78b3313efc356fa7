//! Exact live heap bytes by call stack, for any unmodified WebAssembly component that keeps its
//! function names.
//!
//! [`instrument()`] rewrites a component when a host loads it. The instrumented component runs in
//! wasmtime like the original, and counts its own allocations: it attributes each block to the call
//! stack that allocated it, until the block is freed. The counts are exact; the profiler neither
//! samples nor estimates. It calls the host only when a call stack allocates for the first time.
//!
//! The host adds the profiler's interface to its linker with [`add_to_linker`], and keeps a
//! [`Recorder`] in the store's data. It can read the counts at any time between calls, also after
//! the guest has trapped:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use guest_heap::{Context, Options, Recorder, instrument};
//! use wasmtime::component::{Component, Linker};
//! use wasmtime::{Config, Engine, Store};
//!
//! let instrumented = instrument(&std::fs::read("guest.wasm")?, &Options::default())?;
//! let mut config = Config::new();
//! guest_heap::configure(&mut config);
//! let engine = Engine::new(&config)?;
//! let component = Component::new(&engine, &instrumented.component)?;
//! let mut linker: Linker<Recorder> = Linker::new(&engine);
//! guest_heap::add_to_linker(&mut linker, |recorder| recorder)?;
//! let mut store = Store::new(&engine, Recorder::new(instrumented.meta.clone()));
//! let instance = linker.instantiate(&mut store, &component)?;
//! instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
//!
//! let reading = store.data().read(&store);
//! println!("{} bytes live", reading.totals.live_bytes);
//! for record in &reading.contexts {
//!     if let Context::Stack(frames) = store.data().context(&store, record.index) {
//!         println!("{} bytes: {frames:x?}", record.live_bytes());
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! A stack is a list of offsets in the *original* component. [`symbols::Symbols`] resolves them to
//! source lines, and the other modules build reports from them:
//!
//! - [`snapshot`]: a reading in which every context has its source line, grouped by line, function,
//!   file or call stack;
//! - [`diff`]: what grew and what shrank since a baseline;
//! - [`history`]: the last 15 minutes in at most 2 MiB;
//! - [`verdict`]: whether the guest leaks, or what else holds its memory;
//! - [`flamegraph`], [`folded`] and [`pprof`]: output formats.

mod collected_heap;
pub mod coverage;
pub mod diff;
pub mod flamegraph;
pub mod folded;
pub mod history;
mod instance_tables;
pub mod instrument;
mod interpreter;
mod numbers;
pub mod pprof;
pub mod reading;
mod recorder;
pub mod snapshot;
mod source_stack;
pub mod symbols;
pub mod verdict;

/// Name of the interface that instrumented components import in addition to their own imports.
pub const HOST_INTERFACE: &str = instrument::interface::HOST;

/// Whether an import is an interface of the profiler, of any version.
///
/// Only instrumented components may import one. A component that imports one by itself could fill
/// the host's memory or report a false heap: [`instrument()`] leaves it unchanged with
/// [`Attribution::Off`], and a host should refuse it.
pub fn is_profiler_interface(import: &str) -> bool {
    import.starts_with(instrument::interface::PACKAGE)
}

pub use collected_heap::JAVASCRIPT_HEAP;
pub use coverage::{Coverage, LiveRange};
pub use instrument::{
    Attribution, DeclarationError, EntryKind, FINGERPRINT, HandleMeta, InstrumentError,
    Instrumented, InstrumentedMeta, MetaError, Missing, ModuleReport, ModuleSpan, OffsetMap,
    Options, Report, embed_declarations, instrument,
};
pub use numbers::grouped;
pub use reading::{Context, ContextRecord, HandleRecord, Handles, LiveSummary, Reading, Totals};
pub use recorder::{Checked, ContextCursor, Recorder, add_to_linker, configure};
pub use source_stack::{InterpretedStack, SourceFrame};
