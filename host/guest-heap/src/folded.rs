//! Folded stacks: one line of text for each call stack, outermost function first, such as
//! `a;b;c 4096`. Flame graph tools and speedscope read this format.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::reading::Context;
use crate::snapshot::Snapshot;
use crate::symbols::{Frame, FrameKind, Symbols};

/// Live bytes by call stack. If there is a `root`, such as a plugin's name, every stack begins with
/// it.
pub fn live_bytes(snapshot: &Snapshot, root: Option<&str>) -> String {
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for entry in snapshot
        .entries()
        .iter()
        .filter(|entry| entry.usage.live_bytes > 0)
    {
        *stacks
            .entry(frame_texts(snapshot.symbols(), &entry.context, root).join(";"))
            .or_default() += entry.usage.live_bytes;
    }
    let mut folded = String::new();
    for (stack, bytes) in stacks {
        // Writing to a string cannot fail.
        let _ = writeln!(folded, "{stack} {bytes}");
    }
    folded
}

/// The texts of all frames of a context, outermost first.
pub(crate) fn frame_texts(symbols: &Symbols, context: &Context, root: Option<&str>) -> Vec<String> {
    let frames = symbols.frames(context);
    root.map(sanitize)
        .into_iter()
        .chain(frames.iter().rev().map(frame_text))
        .collect()
}

/// The text of a frame. Only the user's own frames show their line, because readers look for it.
pub(crate) fn frame_text(frame: &Frame) -> String {
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) if frame.kind == FrameKind::User => {
            sanitize(&format!("{} ({file}:{line})", frame.function))
        }
        _ => sanitize(&frame.function),
    }
}

/// Replaces characters that would end a frame or a line, and characters that XML does not allow.
pub(crate) fn sanitize(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| match c {
            ';' => ',',
            '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            c if c.is_control() || c.is_whitespace() => ' ',
            c => c,
        })
        .collect();
    let text = text.trim();
    if text.is_empty() {
        "(unnamed)".to_owned()
    } else {
        text.to_owned()
    }
}
