//! Which source line of a WebAssembly guest holds the memory.

pub mod diff;
pub mod flamegraph;
pub mod folded;
pub mod history;
pub mod pprof;
pub mod reading;
pub mod snapshot;
pub mod symbols;
