//! Snapshots as text for people, in the format of Go's `?debug=1`.
//!
//! The first line has the sums, and each call stack has a line and its frames below it:
//!
//! ```text
//! heap profile: 3: 2100 [4: 2800] @ heap/2
//! 3: 2100 [4: 2800] @ 0x1f2 0x3a0
//! #    0x1f2    shop::remember    src/lib.rs:45
//! #    0x3a0    shop::add    src/lib.rs:12
//! ```
//!
//! The numbers are live blocks and bytes, and in brackets those that were ever allocated.
//! `go tool pprof` reads it, too. A sampling interval of `heap/2` tells it not to scale.

use std::cmp::Reverse;
use std::fmt::Write as _;

use crate::folded::sanitize;
use crate::reading::Context;
use crate::snapshot::{Entry, Snapshot, Usage};
use crate::symbols::Frame;

/// The guests as text, each under its name, with the largest call stack first.
pub fn live_bytes(guests: &[(&str, &Snapshot)]) -> String {
    let mut total = Usage::default();
    for (_, snapshot) in guests {
        for entry in snapshot.entries() {
            total.add(entry.usage);
        }
    }
    let mut text = format!("heap profile: {} @ heap/2\n", numbers(&total));
    for (name, snapshot) in guests {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# guest: {}", sanitize(name));
        let mut entries: Vec<&Entry> = snapshot.entries().iter().collect();
        entries.sort_by_key(|entry| Reverse((entry.usage.live_bytes, entry.usage.allocated_bytes)));
        for entry in entries {
            push_entry(&mut text, snapshot, entry);
        }
    }
    text
}

fn push_entry(text: &mut String, snapshot: &Snapshot, entry: &Entry) {
    let _ = write!(text, "{} @", numbers(&entry.usage));
    let Context::Stack(stack) = &entry.context else {
        text.push('\n');
        for frame in snapshot.frames(&entry.context) {
            push_frame(text, "-", &frame);
        }
        return;
    };
    for offset in stack.iter() {
        let _ = write!(text, " {offset:#x}");
    }
    text.push('\n');
    for offset in stack.iter() {
        for frame in snapshot.symbols().resolve(*offset).iter() {
            push_frame(text, &format!("{offset:#x}"), frame);
        }
    }
}

fn push_frame(text: &mut String, address: &str, frame: &Frame) {
    let _ = write!(text, "#\t{address}\t{}", sanitize(&frame.function));
    if let (Some(file), Some(line)) = (&frame.file, frame.line) {
        let _ = write!(text, "\t{}:{line}", sanitize(file));
    }
    text.push('\n');
}

/// `3: 2100 [4: 2800]`.
fn numbers(usage: &Usage) -> String {
    format!(
        "{}: {} [{}: {}]",
        usage.live_objects, usage.live_bytes, usage.allocated_objects, usage.allocated_bytes
    )
}
