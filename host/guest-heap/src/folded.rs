//! Call stacks as text: one line per stack, outermost function first, `a;b;c 4096`. Flame graph tools and speedscope read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::reading::Context;
use crate::snapshot::Snapshot;
use crate::symbols::{Frame, FrameKind, Symbols};

/// Live bytes by call stack. With a root, such as a plugin's name, every stack begins with it.
pub fn live_bytes(snapshot: &Snapshot, root: Option<&str>) -> String {
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for entry in snapshot
        .entries()
        .iter()
        .filter(|entry| entry.usage.live_bytes > 0)
    {
        *stacks
            .entry(stack(snapshot.symbols(), &entry.context, root).join(";"))
            .or_default() += entry.usage.live_bytes;
    }
    let mut folded = String::new();
    for (stack, bytes) in stacks {
        // Writing to a string cannot fail.
        let _ = writeln!(folded, "{stack} {bytes}");
    }
    folded
}

/// The texts of a stack's frames, outermost first.
pub(crate) fn stack(symbols: &Symbols, context: &Context, root: Option<&str>) -> Vec<String> {
    let frames = symbols.frames(context);
    root.map(plain)
        .into_iter()
        .chain(frames.iter().rev().map(frame))
        .collect()
}

/// The user's own frames carry their line: it is what a reader looks for.
pub(crate) fn frame(frame: &Frame) -> String {
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) if frame.kind == FrameKind::User => {
            plain(&format!("{} ({file}:{line})", frame.function))
        }
        _ => plain(&frame.function),
    }
}

/// Without what would end a frame or a line, and without characters that XML does not know.
pub(crate) fn plain(text: &str) -> String {
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
