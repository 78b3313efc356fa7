//! Tests of guest-heap with real components, which are built from source.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests and their helpers may panic"
)]

mod accounting;
mod allocators;
mod async_calls;
mod async_stores;
mod audit;
mod bypass;
mod c;
mod collected_heap;
mod contexts;
mod control_flow;
mod coverage;
mod fake_python;
mod fixtures;
mod generated_shapes;
mod growth;
mod guest;
mod handle_limits;
mod handles;
mod hostile;
mod interpreted;
mod invalid_input;
mod lowering;
mod modules;
mod named_allocators;
mod offsets;
mod overflow;
mod pass_through;
mod profiler_memory;
mod refusals;
mod resizes;
mod same_behaviour;
mod shared_tables;
mod structure;
mod traps;
mod wat_guest;
