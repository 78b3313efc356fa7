//! The report of a heap as text.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use guest_heap::diff::Diff;
use guest_heap::snapshot::{Group, GroupBy};
use guest_heap::symbols::{Frame, FrameRun, LineTables, Site, fold};
use guest_heap::{Attribution, grouped};

use crate::heap::Heap;

/// Columns before the frames of a group.
const TRACE_INDENT: usize = 33;

/// Columns of the longest bar.
const BAR: usize = 20;

/// Growths without an entry point that a report shows.
const MAX_UNSEEN: usize = 10;

/// Functions of such a growth that a report shows, without the outermost one.
const MAX_CALLERS: usize = 5;

/// The report of a heap: how precise it is, its totals, and its largest groups.
pub(crate) fn of_heap(heap: &Heap, by: GroupBy, top: usize) -> String {
    let mut text = precision(heap);
    text.push_str(&live(heap));
    if let Some(advice) = heap.snapshot.symbols().line_tables().advice()
        && by != GroupBy::Function
    {
        text.push_str(&format!("{advice}\n"));
    }
    let groups = heap.snapshot.top(by, usize::MAX);
    let live = heap.snapshot.totals().live_bytes;
    text.push_str(&table(&groups, by, top, live));
    text.push_str(&handles(heap, by, top));
    text.push_str(&unseen_growth(&heap.unseen));
    text
}

/// The live blocks, and linear memory.
pub(crate) fn live(heap: &Heap) -> String {
    let totals = heap.snapshot.totals();
    let mut text = match heap.measures_blocks() {
        true => format!(
            "live: {} bytes in {} blocks; ever allocated: {} bytes in {} blocks\n",
            grouped(totals.live_bytes),
            grouped(totals.live_objects),
            grouped(totals.allocated_bytes),
            grouped(totals.allocated_objects),
        ),
        false => "live: not measured, because the profiler sees no allocation\n".to_owned(),
    };
    let coverage = heap.snapshot.coverage();
    let line = match coverage.memory_is_known() {
        true => format!(
            "linear memory: {} bytes, with at least {} bytes of static data and stack\n",
            grouped(coverage.memory_bytes),
            grouped(coverage.static_bytes),
        ),
        false => format!("linear memory: {} bytes\n", grouped(heap.linear_memory)),
    };
    text.push_str(&line);
    text
}

/// Why the attribution is not exact; empty if it is.
pub(crate) fn doubts(heap: &Heap) -> String {
    match heap.attribution {
        Attribution::Exact => String::new(),
        _ => precision(heap),
    }
}

/// The growth that no allocator entry point made. Call stacks that read the same are one row.
fn unseen_growth(growths: &[(u64, Vec<String>)]) -> String {
    let mut rows: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (bytes, stack) in growths {
        let (sum, stacks) = rows.entry(callers(stack)).or_default();
        *sum += bytes;
        *stacks += 1;
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(_, (bytes, _))| Reverse(*bytes));
    let mut text = String::new();
    for (callers, (bytes, stacks)) in rows.iter().take(MAX_UNSEEN) {
        let stacks = match stacks {
            1 => String::new(),
            stacks => format!(" ({} call stacks)", grouped(*stacks)),
        };
        let line = format!(
            "{:>14} bytes of growth that no allocator entry point made: {callers}{stacks}\n",
            grouped(*bytes),
        );
        text.push_str(&line);
    }
    if let Some(rest) = rows.get(MAX_UNSEEN..).filter(|rest| !rest.is_empty()) {
        let bytes = rest.iter().map(|(_, (bytes, _))| bytes).sum();
        let line = format!(
            "{:>14} bytes of such growth in {} more\n",
            grouped(bytes),
            rest.len()
        );
        text.push_str(&line);
    }
    text
}

/// The section of handles; empty if the component has none.
fn handles(heap: &Heap, by: GroupBy, top: usize) -> String {
    let counts = heap.snapshot.handle_counts();
    let mut text = String::new();
    let mut groups = heap.snapshot.top_handles(by, usize::MAX);
    if !groups.is_empty() || counts.untracked > 0 {
        let line = format!(
            "handles: {} live of {} ever got\n",
            grouped(heap.snapshot.live_handles()),
            grouped(heap.snapshot.made_handles())
        );
        text.push_str(&line);
    }
    groups.retain(|group| group.live > 0);
    if !groups.is_empty() {
        text.push_str(&format!("{:>14} {:>9}\n", "live", "ever got"));
    }
    for group in groups.iter().take(top) {
        let place = place_of_group(&group.location, &group.site, by);
        let line = format!(
            "{:>14} {:>9} {}: {place}\n",
            grouped(group.live),
            grouped(group.made),
            group.ty
        );
        text.push_str(&line);
        text.push_str(&trace(&group.frames, TRACE_INDENT));
    }
    let hidden = groups.len().saturating_sub(top);
    if hidden > 0 {
        text.push_str(&format!("{hidden} more lines have handles, see --top\n"));
    }
    for gap in counts.not_counted() {
        text.push_str(&format!("not counted: {gap}\n"));
    }
    text
}

/// The innermost functions of a call stack, and the outermost one.
fn callers(stack: &[String]) -> String {
    match stack {
        [inner @ .., last] if inner.len() > MAX_CALLERS => {
            let inner = inner.split_at(MAX_CALLERS).0;
            format!("{} < … < {last}", inner.join(" < "))
        }
        stack => stack.join(" < "),
    }
}

/// `exact`, or why not and what is known even so.
fn precision(heap: &Heap) -> String {
    match &heap.attribution {
        Attribution::Exact => format!(
            "attribution: exact ({})\n",
            heap.snapshot.coverage().evidence()
        ),
        Attribution::Partial { why } => format!("attribution: partial: {why}\n"),
        Attribution::Off { why } => format!("attribution: off: {why}\n"),
    }
}

fn table(groups: &[Group], by: GroupBy, top: usize, live: u64) -> String {
    if groups.is_empty() {
        return String::new();
    }
    let mut text = format!("{:>14} {:>9} {:>6}\n", "bytes", "blocks", "share");
    let largest = groups
        .first()
        .map_or(0, |group| group.usage.live_bytes)
        .max(1);
    for group in groups.iter().take(top) {
        let bytes = group.usage.live_bytes;
        let bar = (bytes as u128 * BAR as u128).div_ceil(u128::from(largest)) as usize;
        let share = 100.0 * bytes as f64 / live.max(1) as f64;
        let resized = group.resized.as_ref().map_or_else(String::new, |resized| {
            format!(" (resized, own share {} bytes)", grouped(resized.own_bytes))
        });
        let place = place_of_group(&group.location, &group.site, by);
        let line = format!(
            "{:>14} {:>9} {share:>5.1}% {:<BAR$} {place}{resized}\n",
            grouped(bytes),
            grouped(group.usage.live_objects),
            "#".repeat(bar),
        );
        text.push_str(&line);
        text.push_str(&trace(&group.frames, TRACE_INDENT));
    }
    let rest = groups.get(top..).unwrap_or_default();
    if !rest.is_empty() {
        let bytes = rest.iter().map(|group| group.usage.live_bytes).sum();
        let line = format!(
            "{:>14} bytes in {} more, see --top\n",
            grouped(bytes),
            grouped(rest.len() as u64)
        );
        text.push_str(&line);
    }
    text
}

/// The own frames of a call stack, innermost first, with the library frames between them folded.
/// Each line is indented by so many columns.
pub(crate) fn trace(frames: &[Frame], indent: usize) -> String {
    let mut text = String::new();
    for run in fold(frames) {
        let line = match run {
            FrameRun::Own(own) => frame(own),
            FrameRun::Libraries(frames) => {
                let outermost = frames.last().map_or("", |frame| &frame.function);
                format!("[{} library frames] {outermost}", frames.len())
            }
        };
        // Writing to a String cannot fail.
        let _written = writeln!(text, "{:>indent$}{line}", "");
    }
    text
}

/// A function with its line.
pub(crate) fn frame(frame: &Frame) -> String {
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) => format!("{} ({file}:{line})", frame.function),
        _ => frame.function.to_string(),
    }
}

/// What has grown since a baseline, for `--every`.
pub(crate) fn of_growth(diff: &Diff, heap: &Heap) -> String {
    let totals = heap.snapshot.totals();
    let mut text = match heap.measures_blocks() {
        true => format!(
            "live: {} bytes in {} blocks ({:+} bytes)\n",
            grouped(totals.live_bytes),
            grouped(totals.live_objects),
            diff.bytes
        ),
        false => format!(
            "live: not measured; linear memory: {} bytes\n",
            grouped(heap.linear_memory)
        ),
    };
    for change in &diff.growing {
        let line = format!(
            "{:>+14} bytes {:>+9} blocks  {}\n",
            change.bytes, change.objects, change.location
        );
        text.push_str(&line);
    }
    for change in diff.handles.iter().filter(|change| change.change > 0) {
        let line = format!(
            "{:>+14} handles {}: {}\n",
            change.change, change.ty, change.location
        );
        text.push_str(&line);
    }
    text
}

/// Whether lines can be shown.
pub(crate) fn has_lines(heap: &Heap) -> bool {
    heap.snapshot.symbols().line_tables() == LineTables::Present
}

/// The place of a group. Only a line and a call stack have one function.
fn place_of_group(location: &str, site: &Site, by: GroupBy) -> String {
    match by {
        GroupBy::Line | GroupBy::Trace => place(location, &site.function, site.line.is_some()),
        _ => location.to_owned(),
    }
}

/// A location with its function. A location without a line is the name of something else, such as
/// the arguments of an export, and the function says more about it.
pub(crate) fn place(location: &str, function: &str, has_line: bool) -> String {
    match (function == location, has_line) {
        (true, _) => location.to_owned(),
        (false, true) => format!("{location} in {function}"),
        (false, false) => format!("{location}: {function}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn growths_that_read_the_same_are_one_row() {
        let inner = ["a", "b", "c", "d", "e"];
        let growths = [
            (30, stack(&[&inner[..], &["x", "main"]].concat())),
            (20, stack(&["other"])),
            (15, stack(&[&inner[..], &["y", "main"]].concat())),
        ];
        let text = unseen_growth(&growths);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 2, "{text}");
        assert!(
            rows[0].trim_start().starts_with("45 bytes of growth")
                && rows[0].ends_with("a < b < c < d < e < … < main (2 call stacks)"),
            "{text}"
        );
        assert!(rows[1].ends_with(": other"), "{text}");
    }

    #[test]
    fn rows_that_are_left_out_are_summed() {
        let growths: Vec<_> = (1..=12).map(|n| (n, stack(&[&n.to_string()]))).collect();
        let text = unseen_growth(&growths);
        assert_eq!(text.lines().count(), MAX_UNSEEN + 1, "{text}");
        assert!(
            text.ends_with("3 bytes of such growth in 2 more\n"),
            "{text}"
        );
        assert_eq!(unseen_growth(&[]), "");
    }
}
