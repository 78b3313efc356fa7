//! What the process weighs, what it may weigh, and where that is going.
//!
//! Everything here is about the host's own process: readings from the kernel, the limit that
//! applies, growth and forecast over the last samples, and the ledger that splits resident memory
//! into named parts. Nothing here knows of the wasm engine (only `resident` of what its memories look like
//! to the kernel), of HTTP or of metrics; whoever does takes these plain values and shows them.

pub mod allocator;
pub mod byte_size;
pub mod cached_reading;
pub mod limit;
pub mod process;
pub mod resident;
pub mod watchdog;

#[cfg(test)]
mod subprocess_test;
