//! A web page and endpoints over the heaps of WebAssembly guests, for any wasmtime host.
//!
//! A host that profiles its guests with [`guest_heap`] implements [`HeapSource`] and mounts
//! [`router`], as services in Go mount `net/http/pprof`:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use guest_heap::{Recorder, symbols::Symbols};
//! use guest_heap_inspector::{HeapError, HeapReading, HeapSource, Options};
//! use tokio::sync::Mutex;
//! use wasmtime::Store;
//!
//! /// A host with one guest, which it calls while it has the lock.
//! struct Cart {
//!     store: Arc<Mutex<Store<Recorder>>>,
//!     symbols: Arc<Symbols>,
//! }
//!
//! impl HeapSource for Cart {
//!     fn guests(&self) -> Vec<String> {
//!         vec!["cart".to_owned()]
//!     }
//!
//!     async fn read(&self, _guest: &str) -> Result<HeapReading, HeapError> {
//!         let store = self.store.lock().await;
//!         Ok(HeapReading::new(store.data(), &*store, &self.symbols))
//!     }
//! }
//!
//! # async fn serve(cart: Cart, listener: tokio::net::TcpListener) -> std::io::Result<()> {
//! let app = axum::Router::new().merge(guest_heap_inspector::router(cart, Options::default()));
//! axum::serve(listener, app).await
//! # }
//! ```
//!
//! | path | content |
//! |---|---|
//! | `/debug/heap/` | the page: lines, growth, differences, call stacks, flame graph, sources |
//! | `/debug/heap/snapshot` | live bytes by line, function, file or call stack, as JSON |
//! | `/debug/heap/diff` | what has changed in any window of the last 15 minutes, as JSON |
//! | `/debug/heap/history` | live bytes by line over time, as JSON |
//! | `/debug/heap/flamegraph` | live bytes, or their change, by call stack, as SVG |
//! | `/debug/heap/folded` | live bytes by call stack as folded text |
//! | `/debug/heap/metrics` | OpenMetrics text |
//! | `/debug/heap/source` | a part of a source file as JSON, if [`Options::source_roots`] has it |
//! | `/debug/pprof/heap`, `/debug/pprof/allocs` | what Go's handlers of these names answer |
//! | `/debug/pprof/symbol` | the names of addresses in `/debug/pprof/heap?debug=1` |
//!
//! The router does not ask who calls it. A host decides that, by the address that it listens on or
//! with a layer around the router.
//!
//! # Bounds
//!
//! A reading that is younger than [`Options::max_reading_age`] is shared. At most
//! [`Options::max_concurrent_readings`] guests are read at a time, and a reading that takes longer
//! than [`Options::reading_timeout`] is given up. The history of a guest takes at most 2 MiB, and
//! at most [`Options::max_guests`] guests have one.

mod blocking;
pub mod error;
pub mod flamegraph;
mod inspector;
mod options;
mod page;
mod parameters;
pub mod profile;
pub mod query;
mod reports;
mod routes;
mod source;
pub mod source_file;
pub mod stack;

pub use inspector::{GuestVerdict, Inspector};
pub use options::Options;
pub use routes::router;
pub use source::{HeapError, HeapReading, HeapSource, KeptHistory};
