//! Text for a terminal, a pipe or a file.
//!
//! Nobody may read it any more: the other end of a pipe has left, or the disk is full. The profile
//! is still written and the server still serves, so a failed write is ignored, where `println!`
//! would panic.

use std::fmt;
use std::io::{self, Write};

/// Writes text and ignores a failure.
pub(crate) fn write(mut stream: impl Write, text: fmt::Arguments<'_>) {
    // See the module's documentation.
    stream.write_fmt(text).and_then(|()| stream.flush()).ok();
}

/// Writes text to stdout.
pub(crate) fn stdout(text: fmt::Arguments<'_>) {
    write(io::stdout().lock(), text);
}

/// Writes text to stderr.
pub(crate) fn stderr(text: fmt::Arguments<'_>) {
    write(io::stderr().lock(), text);
}

/// `print!` that ignores a failure.
macro_rules! stdout_text {
    ($($text:tt)*) => { $crate::terminal::stdout(format_args!($($text)*)) };
}

/// `println!` that ignores a failure.
macro_rules! stdout_line {
    ($($text:tt)*) => {
        $crate::terminal::stdout(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// `eprint!` that ignores a failure.
macro_rules! stderr_text {
    ($($text:tt)*) => { $crate::terminal::stderr(format_args!($($text)*)) };
}

/// `eprintln!` that ignores a failure.
macro_rules! stderr_line {
    ($($text:tt)*) => {
        $crate::terminal::stderr(format_args!("{}\n", format_args!($($text)*)))
    };
}
