//! Enforces a memory limit that no kernel enforces.
//!
//! In a container the kernel kills the process at its limit. Outside one, `--memory-limit` has to look
//! and feel the same, so a thread reads the resident bytes every 50 ms and ends the process with the
//! status that a kill leaves behind. It is a thread and not a task: a runtime whose workers are all
//! busy must not be able to outlive its limit.

use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::byte_size::ByteSize;

/// The time between two looks. At 1 GiB/s of growth the limit is passed by at most some 50 MiB.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What a shell reports for a process killed by SIGKILL: 128 + 9.
pub(crate) const KILLED_EXIT_STATUS: i32 = 137;

/// The reading that passed the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitExceeded {
    /// Resident bytes read.
    pub resident_bytes: u64,
    /// The limit in bytes, less than `resident_bytes`.
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
    /// Says so in one line on stderr and ends the process, as the kernel would: nothing is drained or
    /// flushed.
    pub fn exit_as_killed(self) {
        // A closed stderr must not keep the process alive.
        let _ = writeln!(io::stderr(), "{self}");
        std::process::exit(KILLED_EXIT_STATUS);
    }
}

/// The watching thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches with [`POLL_INTERVAL`] until `resident_bytes` answers more than `limit_bytes`, then
    /// calls `exceeded` once, on the watching thread.
    ///
    /// A reading that fails is skipped: the next one is 50 ms away.
    ///
    /// # Errors
    /// When no thread can be started.
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
        // Closing the channel wakes the thread at once.
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
    fn the_line_says_what_happened() {
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
    fn fires_once_when_the_limit_is_passed_and_not_at_it() {
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
        // The callback is gone, so is its sender: it cannot fire twice.
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
    fn dropping_ends_the_thread_at_once() {
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
    fn the_process_exits_as_killed() {
        let output = subprocess_test::run("watchdog::tests::the_process_exits_as_killed", || {
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
