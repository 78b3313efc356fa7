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

/// The longest line, in bytes. The rest of a longer line is dropped.
const MAX_LINE_BYTES: usize = 8 << 10;
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
            allowance: MAX_BURST,
            refilled: Instant::now(),
            dropped: 0,
            last_stderr: VecDeque::new(),
        })))
    }

    /// Writes one line. A line beyond the rate limit is dropped and counted.
    pub(crate) fn line(&self, level: Level, message: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let message = truncated(message);
        match level {
            Level::Trace => tracing::trace!(target: "guest", plugin, "{message}"),
            Level::Debug => tracing::debug!(target: "guest", plugin, "{message}"),
            Level::Info => tracing::info!(target: "guest", plugin, "{message}"),
            Level::Warn => tracing::warn!(target: "guest", plugin, "{message}"),
            Level::Error => tracing::error!(target: "guest", plugin, "{message}"),
        }
        state.dropped = 0;
    }

    fn stderr_line(&self, line: &str) {
        {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.last_stderr.len() == KEPT_STDERR_LINES {
                state.last_stderr.pop_front();
            }
            state.last_stderr.push_back(truncated(line).to_owned());
        }
        self.line(Level::Warn, line);
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

fn truncated(line: &str) -> &str {
    let mut end = line.len().min(MAX_LINE_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default()
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
        })
    }
}

/// Splits the guest's output into lines.
struct LineWriter {
    log: GuestLog,
    stderr: bool,
    line: Vec<u8>,
}

impl LineWriter {
    fn emit(&mut self) {
        let text = String::from_utf8_lossy(&self.line);
        let text = text.trim_end();
        if !text.is_empty() {
            if self.stderr {
                self.log.stderr_line(text);
            } else {
                self.log.line(Level::Debug, text);
            }
        }
        self.line.clear();
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
            } else if this.line.len() < MAX_LINE_BYTES {
                this.line.push(byte);
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
    fn a_long_line_is_truncated_between_characters() {
        let line = "é".repeat(MAX_LINE_BYTES);
        assert_eq!(truncated(&line).len(), MAX_LINE_BYTES);
        let line = format!("a{line}");
        assert_eq!(truncated(&line).len(), MAX_LINE_BYTES - 1);
    }
}
