//! Exact live heap bytes by call stack, for any unmodified WebAssembly component that keeps its
//! function names.
//!
//! [`instrument()`] rewrites a component when it is loaded. What comes out runs in wasmtime as the
//! original does and keeps its own books: each block that its allocator hands out is counted under
//! the call stack that asked for it, until it is freed. Nothing is sampled, nothing is estimated,
//! and no host call is made but for a call stack that is seen for the first time.
//!
//! The host adds its side to the linker with [`add_to_linker`], keeps a [`Recorder`] in the store's
//! data, and reads the books when it likes, even after the guest has trapped:
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
//! A stack is a list of offsets in the *original* component, which its line tables explain.

pub mod diff;
pub mod flamegraph;
pub mod folded;
pub mod history;
pub mod instrument;
pub mod pprof;
pub mod reading;
mod recorder;
pub mod snapshot;
pub mod symbols;

/// The interface that instrumented components import, beside what they imported before.
pub const HOST_INTERFACE: &str = instrument::names::HOST;

pub use instrument::{
    Attribution, FINGERPRINT, InstrumentError, Instrumented, InstrumentedMeta, MetaError,
    ModuleReport, ModuleSpan, OffsetMap, Options, Report, instrument,
};
pub use reading::{ContextRecord, Glance, Reading, Totals};
pub use recorder::{Checked, Context, Recorder, Seen, add_to_linker, configure};
