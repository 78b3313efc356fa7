//! Process memory: readings, limits, watchdog, allocator.
//!
//! Everything here is about the host's own process, and every value is plain data. This crate knows
//! neither the wasm engine nor HTTP nor metrics. The one exception is [`wasm_memories`], which
//! knows how a wasm memory looks in the kernel's list of mappings.

pub mod allocator;
pub mod byte_size;
pub mod cached_reading;
pub mod limit;
pub mod process;
pub mod wasm_memories;
pub mod watchdog;

#[cfg(test)]
mod subprocess_test;
