//! The part of guest-heap that runs inside the guest.
//!
//! The instrumenter links this crate into the guest's core module, with a memory of its own. The
//! functions of `hooks` replace the guest's allocator entry points. They keep exact counts of
//! allocations and frees for each calling context: a 64-bit value that the instrumented code
//! computes and that identifies the whole call stack.
//!
//! - [`contexts`]: calling context → index, and for each index what was allocated and freed. The
//!   host reads this table in place.
//! - [`folds`]: the contexts that found the context table full.
//! - [`handles`]: number of a live handle → the context that has got it.
//! - [`live`]: address of a live block → its size and its context.
//! - [`starts`]: the starts of live blocks, to find the ones that a new block overlaps.
//! - `hooks` (wasm only): the replacements of the allocator entry points.
//! - `growth` (wasm only): the ledger of the growths of the guest's memories.
//! - `handle_events` (wasm only): the functions that count handles.
//! - `late_results`, `late_result_events` (wasm only): results of asynchronous calls of imports.
//! - `interpreter` (wasm only): contexts of a program that an interpreter runs.
//! - `transitions` (wasm only): the functions that export wrappers and instrumented calls of
//!   imports call.
//!
//! The crate has no allocator and cannot trap, and linking resolves all of its imports. When the
//! profiler gets no memory, it loses blocks and counts them; the guest is not affected.
#![cfg_attr(target_arch = "wasm32", no_std)]

pub mod block;
pub mod contexts;
pub mod folds;
pub mod handles;
pub mod lanes;
pub mod large;
pub mod live;
mod recent;
pub mod starts;

#[cfg(target_arch = "wasm32")]
mod accounting;
#[cfg(target_arch = "wasm32")]
mod argument_blocks;
#[cfg(target_arch = "wasm32")]
mod growth;
#[cfg(target_arch = "wasm32")]
mod guest;
#[cfg(target_arch = "wasm32")]
mod handle_events;
#[cfg(target_arch = "wasm32")]
mod hooks;
#[cfg(target_arch = "wasm32")]
mod interpreter;
#[cfg(target_arch = "wasm32")]
mod late_result_events;
#[cfg(target_arch = "wasm32")]
mod late_results;
#[cfg(target_arch = "wasm32")]
mod phase;
#[cfg(target_arch = "wasm32")]
mod state;
#[cfg(target_arch = "wasm32")]
mod transitions;

#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
