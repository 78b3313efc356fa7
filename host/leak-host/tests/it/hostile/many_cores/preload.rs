//! A library to preload into the host. It pretends that the machine has as many cores as
//! `PRETENDED_CORES` says. `many_cores.rs` compiles this file.

use std::env;
use std::ffi::c_int;
use std::slice;

/// Replaces the function of the C library: the cores that a process may use, one bit for each.
///
/// # Safety
/// `set` is valid for writes of `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sched_getaffinity(_process: c_int, size: usize, set: *mut u8) -> c_int {
    let cores: usize = env::var("PRETENDED_CORES").unwrap().parse().unwrap();
    // SAFETY: the caller guarantees that `set` is valid.
    let set = unsafe { slice::from_raw_parts_mut(set, size) };
    for (n, byte) in set.iter_mut().enumerate() {
        let left = cores.saturating_sub(8 * n).min(8);
        *byte = ((1_u16 << left) - 1) as u8;
    }
    0
}
