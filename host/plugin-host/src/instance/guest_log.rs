//! What a guest writes, to the host's log: its log calls, stdout and stderr, cut and rate-limited.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// The longest line that is kept, in bytes.
const LINE_MAX: usize = 8 << 10;
/// Lines per second that a plugin may write for long, and how many at once.
const LINES_PER_SECOND: f64 = 10.0;
const BURST: f64 = 50.0;
/// Lines of stderr kept to explain a trap: a Rust guest's panic message is there.
const LAST_LINES: usize = 4;

/// Where a guest's line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// A log call, at its level.
    Trace,
    /// A log call, or stdout.
    Debug,
    /// A log call.
    Info,
    /// A log call, or stderr.
    Warn,
    /// A log call.
    Error,
}

/// The log of one plugin's store.
#[derive(Debug, Clone)]
pub(crate) struct GuestLog(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    plugin: String,
    allowance: f64,
    refilled: Instant,
    dropped: u64,
    last_stderr: VecDeque<String>,
}

impl GuestLog {
    /// A log whose lines are marked with the plugin's id.
    pub(crate) fn new(plugin: &str) -> Self {
        GuestLog(Arc::new(Mutex::new(Inner {
            plugin: plugin.to_owned(),
            allowance: BURST,
            refilled: Instant::now(),
            dropped: 0,
            last_stderr: VecDeque::new(),
        })))
    }

    /// Writes one line, unless the plugin has written too many.
    pub(crate) fn line(&self, level: Level, message: &str) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let refill = now.duration_since(inner.refilled).as_secs_f64() * LINES_PER_SECOND;
        inner.refilled = now;
        inner.allowance = (inner.allowance + refill).min(BURST);
        if inner.allowance < 1.0 {
            inner.dropped += 1;
            return;
        }
        inner.allowance -= 1.0;
        let plugin = inner.plugin.as_str();
        if inner.dropped > 0 {
            tracing::warn!(target: "guest", plugin, lines = inner.dropped, "lines left out: the plugin writes too many");
        }
        let message = cut(message);
        match level {
            Level::Trace => tracing::trace!(target: "guest", plugin, "{message}"),
            Level::Debug => tracing::debug!(target: "guest", plugin, "{message}"),
            Level::Info => tracing::info!(target: "guest", plugin, "{message}"),
            Level::Warn => tracing::warn!(target: "guest", plugin, "{message}"),
            Level::Error => tracing::error!(target: "guest", plugin, "{message}"),
        }
        inner.dropped = 0;
    }

    fn stderr_line(&self, line: &str) {
        {
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if inner.last_stderr.len() == LAST_LINES {
                inner.last_stderr.pop_front();
            }
            inner.last_stderr.push_back(cut(line).to_owned());
        }
        self.line(Level::Warn, line);
    }

    /// The last lines of stderr, and forgets them.
    pub(crate) fn take_last_stderr(&self) -> Vec<String> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.last_stderr.drain(..).collect()
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

fn cut(line: &str) -> &str {
    let mut end = line.len().min(LINE_MAX);
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

/// Cuts what the guest writes into lines.
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
            } else if this.line.len() < LINE_MAX {
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
    fn floods_are_cut_and_counted() {
        let log = GuestLog::new("p");
        for _ in 0..1000 {
            log.line(Level::Info, "again");
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
    fn a_long_line_is_cut_between_characters() {
        let line = "é".repeat(LINE_MAX);
        assert_eq!(cut(&line).len(), LINE_MAX);
        let line = format!("a{line}");
        assert_eq!(cut(&line).len(), LINE_MAX - 1);
    }
}
