//! A library to preload into the host. It adds an offset in seconds to the wall clock. The first
//! eight bytes of the file that `CLOCK_OFFSET` names hold the offset, and may change at any time.
//! The monotonic clock is unchanged. `clock.rs` compiles this file.

use std::env;
use std::ffi::{c_int, c_long, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: c_long = 113;

const CLOCK_REALTIME: c_int = 0;
const PROT_READ: c_int = 1;
const MAP_SHARED: c_int = 1;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn mmap(
        at: *mut c_void,
        size: usize,
        access: c_int,
        flags: c_int,
        file: c_int,
        from: i64,
    ) -> *mut c_void;
}

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: c_long,
}

/// The current offset in seconds.
fn offset() -> i64 {
    static MAPPED: OnceLock<usize> = OnceLock::new();
    let address = *MAPPED.get_or_init(|| {
        let file = File::open(env::var_os("CLOCK_OFFSET").unwrap()).unwrap();
        // SAFETY: a new mapping of a file that has at least the mapped eight bytes.
        unsafe {
            mmap(
                ptr::null_mut(),
                8,
                PROT_READ,
                MAP_SHARED,
                file.as_raw_fd(),
                0,
            ) as usize
        }
    });
    // SAFETY: never unmapped, and aligned to a page.
    unsafe { (*(address as *const AtomicI64)).load(Ordering::Relaxed) }
}

/// Replaces the function of the C library.
///
/// # Safety
/// `time` is valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    // SAFETY: the caller guarantees that `time` is valid.
    unsafe {
        let result = syscall(CLOCK_GETTIME, c_long::from(clock), time) as c_int;
        if result == 0 && clock == CLOCK_REALTIME {
            (*time).seconds += offset();
        }
        result
    }
}
