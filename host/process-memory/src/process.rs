//! The process as the kernel sees it.
//!
//! Two files of procfs, opened once and read in place: `statm` for memory and `stat` for the rest. A
//! full reading costs three system calls, [`ProcessReader::resident_bytes`] one, which is what lets
//! the limit's watchdog look every 50 ms.
//!
//! The kernel keeps its counters per core and may lag by some dozen pages a core; a reading is not
//! meant for less than that. See proc_pid_statm(5) and proc_pid_stat(5).

#[cfg(target_os = "linux")]
mod procfs;
#[cfg(target_os = "linux")]
pub use procfs::ProcessReader;

#[cfg(not(target_os = "linux"))]
mod unsupported;
#[cfg(not(target_os = "linux"))]
pub use unsupported::ProcessReader;

/// One reading of the process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessReading {
    /// The process id, as seen from its own namespace.
    pub pid: u32,
    /// Bytes of memory that are in RAM (RSS).
    pub resident_bytes: u64,
    /// Bytes of address space. A wasm engine reserves far more of it than it ever touches.
    pub virtual_bytes: u64,
    /// The resident bytes that come from files or shared memory: the binary, its libraries, compiled
    /// plugins (`RssFile` + `RssShmem`). Part of `resident_bytes`.
    pub resident_file_bytes: u64,
    /// Seconds of processor time since the start, in user and kernel mode, of all threads.
    pub cpu_seconds_total: f64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Threads.
    pub threads: u64,
    /// When the process started, in seconds since 1970-01-01T00:00:00Z.
    pub start_time_unix_seconds: f64,
}
