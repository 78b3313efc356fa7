//! What the process weighs, what it may weigh, and where that is going.
//!
//! Everything here is about the host's own process: readings from the kernel, the limit that
//! applies, growth and forecast over the last samples, and the ledger that splits resident memory
//! into named parts. Nothing here knows of the wasm engine (only `resident` of what its memories look like
//! to the kernel), of HTTP or of metrics; whoever does takes these plain values and shows them.

pub(crate) mod allocator;
pub(crate) mod byte_size;
pub(crate) mod growth;
pub(crate) mod ledger;
pub(crate) mod limit;
pub(crate) mod process;
pub(crate) mod resident;
pub(crate) mod samples;
pub(crate) mod seldom;
pub(crate) mod watchdog;

#[cfg(test)]
mod alone;
