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
//!
//! `go tool pprof` reads it, too. A sampling interval of `heap/2` tells it not to scale. It takes
//! only the addresses from the text, and asks `/debug/pprof/symbol` for the [`names`].
//!
//! An address is an offset in the component. A frame without an offset, such as a synthetic context
//! or a line of Python, gets an address from its name. The upper half of an address stands for the
//! guest, because other guests have the same offsets.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;

use crate::folded::sanitize;
use crate::reading::Context;
use crate::snapshot::{Entry, Snapshot, Usage};
use crate::symbols::{Frame, FrameKind};

/// Bit in the lower half of the address of a frame without an offset.
const NAMED: u64 = 1 << 31;

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
        let base = guest_base(name);
        let mut entries: Vec<&Entry> = snapshot.entries().iter().collect();
        entries.sort_by_key(|entry| Reverse((entry.usage.live_bytes, entry.usage.allocated_bytes)));
        for entry in entries {
            push_entry(&mut text, base, snapshot, entry);
        }
    }
    text
}

/// The names of these addresses, as Go's `/debug/pprof/symbol` answers them. Omits those that are
/// in no call stack.
///
/// pprof subtracts one from each address of a call stack, because it expects the address behind a
/// call. So an address that is one too small has a name, too.
pub fn names(guests: &[(&str, &Snapshot)], addresses: &[u64]) -> String {
    let mut known: HashMap<u64, String> = HashMap::new();
    for (guest, snapshot) in guests {
        for entry in snapshot.entries() {
            for (address, frames) in addressed(snapshot, &entry.context) {
                if let Some(name) = name(&frames) {
                    known.insert(guest_base(guest) | address, name);
                }
            }
        }
    }
    let mut text = format!("num_symbols: {}\n", known.len());
    for address in addresses {
        let found = known.get(&address.wrapping_add(1));
        if let Some(name) = found.or_else(|| known.get(address)) {
            let _ = writeln!(text, "{address:#x}\t{}", sanitize(name));
        }
    }
    text
}

fn push_entry(text: &mut String, base: u64, snapshot: &Snapshot, entry: &Entry) {
    let _ = write!(text, "{} @", numbers(&entry.usage));
    let addressed = addressed(snapshot, &entry.context);
    for (address, _) in &addressed {
        let _ = write!(text, " {:#x}", base | address);
    }
    text.push('\n');
    for (address, frames) in &addressed {
        for frame in frames {
            let _ = write!(
                text,
                "#\t{:#x}\t{}",
                base | address,
                sanitize(&frame.function)
            );
            if let (Some(file), Some(line)) = (&frame.file, frame.line) {
                let _ = write!(text, "\t{}:{line}", sanitize(file));
            }
            text.push('\n');
        }
    }
}

/// The addresses of a call stack in one guest, innermost first, with the functions inlined there.
fn addressed(snapshot: &Snapshot, context: &Context) -> Vec<(u64, Vec<Frame>)> {
    match context {
        Context::Stack(stack) => stack
            .iter()
            .map(|offset| {
                let frames = snapshot.symbols().resolve(*offset);
                (u64::from(*offset), frames.to_vec())
            })
            .collect(),
        _ => snapshot
            .frames(context)
            .into_iter()
            .map(|frame| {
                let line = frame.line.unwrap_or_default();
                let file = frame.file.as_deref().unwrap_or_default();
                let hash = hash(&format!("{}\0{file}\0{line}", frame.function));
                (NAMED | hash & (NAMED - 1), vec![frame])
            })
            .collect(),
    }
}

/// One name for the functions that are inlined at an address: that of the innermost one that is the
/// user's own, or else of the one that is called. pprof shows no lines of such addresses, so the
/// name has the line.
fn name(frames: &[Frame]) -> Option<String> {
    let own = frames.iter().find(|frame| frame.kind == FrameKind::User);
    let frame = own.or_else(|| frames.last())?;
    Some(match (&frame.file, frame.line) {
        (Some(file), Some(line)) => format!("{} {file}:{line}", frame.function),
        _ => frame.function.to_string(),
    })
}

/// The upper half of the addresses of a guest.
fn guest_base(name: &str) -> u64 {
    (hash(name) & (NAMED - 1)) << 32
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// `3: 2100 [4: 2800]`.
fn numbers(usage: &Usage) -> String {
    format!(
        "{}: {} [{}: {}]",
        usage.live_objects, usage.live_bytes, usage.allocated_objects, usage.allocated_bytes
    )
}
