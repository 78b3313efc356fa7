//! The half of guest-heap that runs inside the guest.
//!
//! The instrumenter links this crate into the guest's core module as a second memory with its own
//! code, and puts the functions of [`hooks`](self) in the place of the guest's allocator entry
//! points. It keeps exact books of what is allocated, by calling context: a 64-bit value, computed
//! by the instrumented code, that stands for the whole call stack.
//!
//! - [`contexts`]: calling context → index, and per index what was allocated and freed. The host
//!   reads this table in place.
//! - [`live`]: address of a live block → its size and its context.
//! - `hooks` (wasm only): the wrappers of the allocator entry points and what the instrumented
//!   code calls besides.
//!
//! There is no allocator, no import but those that the linking resolves, and nothing that can trap:
//! memory that is refused costs counts, which are themselves counted, and never the guest.
#![cfg_attr(target_arch = "wasm32", no_std)]

pub mod contexts;
pub mod lanes;
pub mod large;
pub mod live;
mod recent;

#[cfg(target_arch = "wasm32")]
mod arguments;
#[cfg(target_arch = "wasm32")]
mod hooks;
#[cfg(target_arch = "wasm32")]
mod phase;

#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
