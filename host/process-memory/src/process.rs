//! Readings of the process from procfs.
//!
//! The reader opens two files once and reads them in place: `statm` for memory, `stat` for the
//! rest. A full reading costs three system calls, [`ProcessReader::resident_bytes`] costs one. That
//! is cheap enough for the watchdog, which reads every 50 ms.
//!
//! The kernel keeps its memory counters per core. They may lag by some dozen pages per core, so
//! smaller differences mean nothing. See proc_pid_statm(5) and proc_pid_stat(5).

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
    /// The process id in the process's own namespace.
    pub pid: u32,
    /// Bytes in RAM (RSS).
    pub resident_bytes: u64,
    /// Bytes of address space. A wasm engine reserves far more address space than it touches.
    pub virtual_bytes: u64,
    /// Bytes in RAM that come from files or shared memory (`RssFile` + `RssShmem`): the binary, its
    /// libraries, compiled plugins. Included in `resident_bytes`.
    pub resident_file_bytes: u64,
    /// Seconds of CPU time of all threads since the start, in user and kernel mode.
    pub cpu_seconds_total: f64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Threads.
    pub threads: u64,
    /// Start of the process, in seconds since 1970-01-01T00:00:00Z.
    pub start_time_unix_seconds: f64,
}
