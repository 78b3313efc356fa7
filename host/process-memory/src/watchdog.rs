//! Enforces `--memory-limit` where no kernel does.
//!
//! In a container the kernel kills the process at its limit. `--memory-limit` does the same outside
//! a container: a thread reads the resident bytes every 50 ms and ends the process with the exit
//! status of a kill. It is a thread and not a task, because a runtime whose workers are all busy
//! must not outlive its limit.

use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::byte_size::ByteSize;

/// The time between two readings. At a growth of 1 GiB/s, the process exceeds its limit by some
/// 50 MiB at most.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The exit status that a shell reports for a process killed by SIGKILL: 128 + 9.
const KILLED_EXIT_STATUS: i32 = 137;

/// A reading over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitExceeded {
    /// The resident bytes of the reading.
    pub resident_bytes: u64,
    /// The limit in bytes; less than `resident_bytes`.
    pub limit_bytes: u64,
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "memory limit exceeded: RSS {} > limit {}; exiting with {KILLED_EXIT_STATUS} as the kernel would kill it",
            ByteSize::from_bytes(self.resident_bytes),
            ByteSize::from_bytes(self.limit_bytes),
        )
    }
}

impl LimitExceeded {
    /// Writes one line to stderr and ends the process. As with a kill by the kernel, nothing is
    /// drained or flushed.
    pub fn exit_as_killed(self) {
        // A closed stderr must not keep the process alive.
        let _ = writeln!(io::stderr(), "{self}");
        std::process::exit(KILLED_EXIT_STATUS);
    }
}

/// Owns the thread that watches the limit. Dropping it ends the thread.
#[derive(Debug)]
pub struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Calls `resident_bytes` every 50 ms until it returns more than `limit_bytes`. Then calls
    /// `exceeded` once, on the watchdog's thread.
    ///
    /// A failed reading is skipped, because the next one follows 50 ms later.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn spawn(
        limit_bytes: u64,
        resident_bytes: impl Fn() -> io::Result<u64> + Send + 'static,
        exceeded: impl FnOnce(LimitExceeded) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            loop {
                if let Ok(resident_bytes) = resident_bytes()
                    && resident_bytes > limit_bytes
                {
                    return exceeded(LimitExceeded {
                        resident_bytes,
                        limit_bytes,
                    });
                }
                if stopped.recv_timeout(POLL_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new()
            .name("memory-limit".to_owned())
            .spawn(watch)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Closing the channel wakes the thread.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::{process::ProcessReader, subprocess_test};

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_message_names_usage_limit_and_exit_status() {
        let exceeded = LimitExceeded {
            resident_bytes: 269_798_605,
            limit_bytes: 256 * MIB,
        };
        assert_eq!(
            exceeded.to_string(),
            "memory limit exceeded: RSS 257.3 MiB > limit 256.0 MiB; exiting with 137 as the kernel would kill it"
        );
    }

    #[test]
    fn the_watchdog_fires_once_and_only_above_the_limit() {
        let resident = Arc::new(AtomicU64::new(256 * MIB));
        let readings = Arc::new(AtomicUsize::new(0));
        let (fired, wait) = mpsc::channel();
        let _watchdog = Watchdog::spawn(
            256 * MIB,
            {
                let (resident, readings) = (Arc::clone(&resident), Arc::clone(&readings));
                move || {
                    readings.fetch_add(1, Ordering::Relaxed);
                    Ok(resident.load(Ordering::Relaxed))
                }
            },
            move |exceeded| fired.send(exceeded).unwrap(),
        )
        .unwrap();
        assert_eq!(
            wait.recv_timeout(Duration::from_millis(200)),
            Err(RecvTimeoutError::Timeout)
        );
        assert!(readings.load(Ordering::Relaxed) >= 2);
        resident.store(256 * MIB + 1, Ordering::Relaxed);
        let exceeded = wait.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(
            exceeded,
            LimitExceeded {
                resident_bytes: 256 * MIB + 1,
                limit_bytes: 256 * MIB
            }
        );
        // The callback was dropped with its sender, so it cannot fire twice.
        assert_eq!(
            wait.recv_timeout(Duration::from_secs(5)),
            Err(RecvTimeoutError::Disconnected)
        );
    }

    #[test]
    fn a_failed_reading_is_skipped() {
        let calls = AtomicUsize::new(0);
        let (fired, wait) = mpsc::channel();
        let _watchdog = Watchdog::spawn(
            1,
            move || match calls.fetch_add(1, Ordering::Relaxed) {
                0 => Err(io::Error::other("not now")),
                _ => Ok(2),
            },
            move |exceeded| fired.send(exceeded).unwrap(),
        )
        .unwrap();
        assert!(wait.recv_timeout(Duration::from_secs(5)).is_ok());
    }

    #[test]
    fn dropping_the_watchdog_ends_its_thread() {
        let held = Arc::new(());
        let in_thread = Arc::clone(&held);
        let watchdog = Watchdog::spawn(
            MIB,
            move || {
                let _held = &in_thread;
                Ok(0)
            },
            |_| {},
        )
        .unwrap();
        let start = Instant::now();
        drop(watchdog);
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn the_process_exits_with_the_status_of_a_kill() {
        let test = "watchdog::tests::the_process_exits_with_the_status_of_a_kill";
        let output = subprocess_test::run(test, || {
            let reader = ProcessReader::new().unwrap();
            let _watchdog = Watchdog::spawn(
                1,
                move || reader.resident_bytes(),
                LimitExceeded::exit_as_killed,
            )
            .unwrap();
            thread::sleep(Duration::from_secs(30));
        });
        assert_eq!(output.status.code(), Some(KILLED_EXIT_STATUS));
        let stderr = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<_> = stderr
            .lines()
            .filter(|line| line.contains("memory limit exceeded: RSS"))
            .collect();
        assert_eq!(lines.len(), 1, "{stderr}");
    }
}
