//! Writes a guest's log calls, stdout and stderr to the host's log. Long lines are truncated, and
//! the number of lines is limited.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use crate::guest_text::{self, MAX_TEXT_BYTES};

/// Lines per second that a plugin may write in the long run.
const LINES_PER_SECOND: f64 = 10.0;
/// Lines that a plugin may write at once.
const MAX_BURST: f64 = 50.0;
/// Last lines of stderr kept for the reason of a trap: a Rust guest prints its panic message there.
const KEPT_STDERR_LINES: usize = 4;

/// The level of a line in the host's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Trace,
    /// Also the level of stdout.
    Debug,
    Info,
    /// Also the level of stderr.
    Warn,
    Error,
}

/// The log of one store. Clones share its rate limit.
#[derive(Debug, Clone)]
pub(crate) struct GuestLog(Arc<Mutex<LogState>>);

#[derive(Debug)]
struct LogState {
    plugin: String,
    /// Whether nothing is written.
    is_dropped: bool,
    /// Lines that the plugin may write now.
    allowance: f64,
    refilled: Instant,
    /// Lines dropped since the last written one.
    dropped: u64,
    last_stderr: VecDeque<String>,
}

impl GuestLog {
    /// A log whose lines carry the plugin's id.
    pub(crate) fn new(plugin: &str) -> Self {
        GuestLog(Arc::new(Mutex::new(LogState {
            plugin: plugin.to_owned(),
            is_dropped: false,
            allowance: MAX_BURST,
            refilled: Instant::now(),
            dropped: 0,
            last_stderr: VecDeque::new(),
        })))
    }

    /// A log that drops every line.
    pub(crate) fn dropped() -> Self {
        let log = GuestLog::new("");
        log.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_dropped = true;
        log
    }

    /// Writes one line. A line beyond the rate limit is dropped and counted.
    pub(crate) fn line(&self, level: Level, message: &str) {
        self.line_start(level, message, message.len());
    }

    /// Writes the start of a line of `length` bytes.
    fn line_start(&self, level: Level, message: &str, length: usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_dropped {
            return;
        }
        let now = Instant::now();
        let refill = now.duration_since(state.refilled).as_secs_f64() * LINES_PER_SECOND;
        state.refilled = now;
        state.allowance = (state.allowance + refill).min(MAX_BURST);
        if state.allowance < 1.0 {
            state.dropped += 1;
            return;
        }
        state.allowance -= 1.0;
        let plugin = state.plugin.as_str();
        if state.dropped > 0 {
            tracing::warn!(
                target: "guest", plugin, lines = state.dropped,
                "lines dropped: the plugin writes too many"
            );
        }
        let message = guest_text::keep_line(message, length);
        match level {
            Level::Trace => tracing::trace!(target: "guest", plugin, "{message}"),
            Level::Debug => tracing::debug!(target: "guest", plugin, "{message}"),
            Level::Info => tracing::info!(target: "guest", plugin, "{message}"),
            Level::Warn => tracing::warn!(target: "guest", plugin, "{message}"),
            Level::Error => tracing::error!(target: "guest", plugin, "{message}"),
        }
        state.dropped = 0;
    }

    fn stderr_line(&self, line: &str, length: usize) {
        {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.is_dropped {
                return;
            }
            if state.last_stderr.len() == KEPT_STDERR_LINES {
                state.last_stderr.pop_front();
            }
            let kept = guest_text::keep_line(line, length);
            state.last_stderr.push_back(kept);
        }
        self.line_start(Level::Warn, line, length);
    }

    /// Returns the last lines of stderr and forgets them.
    pub(crate) fn take_last_stderr(&self) -> Vec<String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_stderr.drain(..).collect()
    }

    /// A stream for the guest's stdout.
    pub(crate) fn stdout(&self) -> GuestStream {
        GuestStream {
            log: self.clone(),
            stderr: false,
        }
    }

    /// A stream for the guest's stderr.
    pub(crate) fn stderr(&self) -> GuestStream {
        GuestStream {
            log: self.clone(),
            stderr: true,
        }
    }
}

/// The guest's stdout or stderr.
pub(crate) struct GuestStream {
    log: GuestLog,
    stderr: bool,
}

impl IsTerminal for GuestStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(LineWriter {
            log: self.log.clone(),
            stderr: self.stderr,
            line: Vec::new(),
            dropped: 0,
        })
    }
}

/// Splits the guest's output into lines.
struct LineWriter {
    log: GuestLog,
    stderr: bool,
    line: Vec<u8>,
    /// Bytes of the line beyond what is kept.
    dropped: usize,
}

impl LineWriter {
    fn emit(&mut self) {
        let text = String::from_utf8_lossy(&self.line);
        let text = text.trim_end();
        let length = text.len() + self.dropped;
        if !text.is_empty() {
            if self.stderr {
                self.log.stderr_line(text, length);
            } else {
                self.log.line_start(Level::Debug, text, length);
            }
        }
        self.line.clear();
        self.dropped = 0;
    }
}

impl AsyncWrite for LineWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        for &byte in bytes {
            if byte == b'\n' {
                this.emit();
            } else if this.line.len() < MAX_TEXT_BYTES {
                this.line.push(byte);
            } else {
                this.dropped += 1;
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().emit();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_rate_limit_are_dropped_and_counted() {
        let log = GuestLog::new("p");
        for _ in 0..1000 {
            log.line(Level::Info, "a line");
        }
        let dropped = log.0.lock().unwrap().dropped;
        assert!((900..1000).contains(&dropped), "{dropped}");
    }

    #[test]
    fn the_last_lines_of_stderr_are_kept() {
        let log = GuestLog::new("p");
        let mut writer = LineWriter {
            log: log.clone(),
            stderr: true,
            line: Vec::new(),
            dropped: 0,
        };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for text in ["a\nb\n", "c", "d\n", "e\nf\n"] {
            let written = Pin::new(&mut writer).poll_write(&mut cx, text.as_bytes());
            assert!(matches!(written, Poll::Ready(Ok(n)) if n == text.len()));
        }
        assert_eq!(log.take_last_stderr(), ["b", "cd", "e", "f"]);
        assert!(log.take_last_stderr().is_empty());
    }

    #[test]
    fn a_long_line_says_how_long_it_was() {
        let log = GuestLog::new("p");
        let mut writer = LineWriter {
            log: log.clone(),
            stderr: true,
            line: Vec::new(),
            dropped: 0,
        };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let text = [b"x".repeat(1 << 20), b"\nshort\n".to_vec()].concat();
        assert!(Pin::new(&mut writer).poll_write(&mut cx, &text).is_ready());
        let kept = log.take_last_stderr();
        assert!(kept[0].ends_with("x… (1048576 bytes)") && kept[0].len() <= MAX_TEXT_BYTES);
        assert_eq!(kept[1], "short");
    }
}
