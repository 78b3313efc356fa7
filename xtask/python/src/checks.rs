//! What is checked: lines against what the programs and `tracemalloc` say.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Attribution, Options};

use crate::session::{Line, Prepared, Session};

/// Rounds of the leaking program.
const ROUNDS: u32 = 200;
/// Bytes of the largest block that a round retains: a header and 4,096 bytes.
const UPLOAD_BYTES: u64 = 4113;

/// Contexts that an instance has room for, before it folds them.
const MAX_CONTEXTS: u64 = 14_207;

/// Bytes that the interpreter may hold in addition to the program's blocks, such as numbers.
const MAX_OTHER_BYTES: u64 = 256;

/// Lines of `leaky/app.py` whose objects no free list feeds: both profilers must agree to the byte.
const EXACT_LINES: [&str; 4] = [
    "blob = i.to_bytes",
    "key = f\"",
    "sessions[key] = token",
    "pair = step",
];

/// Why a line differs from `tracemalloc`.
#[derive(Clone, Copy)]
enum Difference {
    /// `tracemalloc` does not see objects of this size that were on a free list before it began.
    Reused(u64),
    /// Free lists keep objects that the line has freed. Others have reused some of them.
    Freed,
    /// Python makes the cells of a function's variables before its first line runs. `tracemalloc`
    /// counts them for the caller, the profiler for the line with this text, which begins the
    /// function.
    BeforeFirstLine(&'static str),
}

/// Bytes on free lists that a line of `leaky/app.py` has freed, at most.
const MAX_FREED_BYTES: u64 = 1024;

/// The lines of `leaky/app.py` that differ, and why.
const DIFFERENCES: [(&str, Difference); 7] = [
    ("token = f\"", Difference::Freed),
    ("data = [i]", Difference::Reused(28)),
    ("lambda: data", Difference::Reused(28)),
    ("self.log = [", Difference::Reused(28)),
    ("scratch = {", Difference::Freed),
    ("i += 1 << 20", Difference::Reused(16)),
    (
        "            subscribe(i)",
        Difference::BeforeFirstLine("def subscribe"),
    ),
];

impl Difference {
    /// Checks that this explains a line, by its bytes and blocks here and by `tracemalloc`. `first`
    /// has those of the lines with a text, as the profiler sees them.
    fn explains(
        self,
        ours: (u64, u64),
        theirs: (u64, u64),
        first: impl Fn(&str) -> Result<(u64, u64)>,
    ) -> Result<&'static str> {
        Ok(match self {
            Self::Reused(size) => {
                let blocks = ours.1.checked_sub(theirs.1).context("fewer blocks")?;
                ensure!(ours.0 == theirs.0 + blocks * size, "not {size} bytes each");
                "reused objects that only the profiler sees"
            }
            Self::Freed => {
                let more = theirs.0.checked_sub(ours.0).context("more bytes")?;
                ensure!(more <= MAX_FREED_BYTES, "{more} bytes");
                "freed objects on free lists"
            }
            Self::BeforeFirstLine(text) => {
                ensure!(ours == (0, 0) && first(text)? == theirs, "{text}");
                "cells, which the profiler counts for the called function"
            }
        })
    }
}

/// The line with this text in a source, from 1.
fn line_of(source: &str, text: &str) -> Result<usize> {
    let mut lines = source.lines().zip(1..);
    let found = lines.find(|(line, _)| line.contains(text));
    Ok(found.with_context(|| format!("no line has {text:?}"))?.1)
}

fn at(lines: &HashMap<String, Line>, line: usize) -> Result<&Line> {
    let location = format!("app.py:{line}");
    let found = lines.get(&location);
    found.with_context(|| format!("{location} holds nothing: {lines:?}"))
}

/// One version of componentize-py: the program's own line holds the leak, or the reason why there
/// are no lines.
pub(crate) fn version(
    component: &[u8],
    python: &str,
    programs: &Path,
    folder: &Path,
) -> Result<String> {
    let source = fs::read_to_string(programs.join("matrix/app.py"))?;
    let prepared = Prepared::new(component, Some(&Options::default()), folder)?;
    let mut session = prepared.start()?;
    let _: u64 = session.call("run", (0_u32,))?;
    let before = session.totals().live_bytes;
    let ledger: u64 = session.call("run", (100_000_u32,))?;
    let counted = session.totals().live_bytes - before;
    ensure!(
        session.attribution() == Attribution::Exact,
        "{:?}",
        session.attribution()
    );
    ensure!(
        (ledger..=ledger + MAX_OTHER_BYTES).contains(&counted),
        "{ledger} bytes live, {counted} counted"
    );
    let totals = session.totals();
    ensure!(
        totals.unreadable == 0,
        "{} contexts are unreadable",
        totals.unreadable
    );
    if let Some(why) = prepared.meta.without_lines() {
        ensure!(python == "3.12", "{why}");
        return Ok(format!("exact, {counted} bytes; {why}"));
    }
    let name = prepared.meta.interpreter_name().unwrap_or_default();
    ensure!(
        name.starts_with(&format!("CPython {python}.")),
        "{name} instead of {python}"
    );
    let lines = session.lines();
    let held = at(&lines, line_of(&source, "# keep")?)?;
    ensure!(held.bytes == ledger, "{ledger} bytes live, {held:?}");
    ensure!(held.function == "keep", "{held:?}");
    Ok(format!(
        "exact, {} bytes at app.py:{} in {}, {name}",
        held.bytes,
        line_of(&source, "# keep")?,
        held.function,
    ))
}

/// The leaking program, against `tracemalloc` in the same guest.
pub(crate) fn against_tracemalloc(
    component: &[u8],
    programs: &Path,
    folder: &Path,
) -> Result<String> {
    let source = fs::read_to_string(programs.join("leaky/app.py"))?;
    let prepared = Prepared::new(component, Some(&Options::default()), folder)?;
    let mut session = prepared.start()?;
    let truth: String = session.call("leak", (ROUNDS, true))?;
    let mut traced = HashMap::new();
    for line in truth.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [bytes, "bytes", blocks, "blocks", place] = words.as_slice() else {
            bail!("an unknown line of tracemalloc: {line}");
        };
        let place = place.strip_prefix("/0/").unwrap_or(place);
        traced.insert(
            place.to_owned(),
            (bytes.parse::<u64>()?, blocks.parse::<u64>()?),
        );
    }
    let lines = session.lines();
    for text in EXACT_LINES {
        let line = line_of(&source, text)?;
        let ours = at(&lines, line)?;
        let theirs = traced.get(&format!("app.py:{line}"));
        let same = Some(&(ours.bytes, ours.blocks)) == theirs;
        ensure!(same, "app.py:{line}: {ours:?}, tracemalloc {theirs:?}");
    }
    let upload = at(&lines, line_of(&source, "blob = i.to_bytes")?)?;
    ensure!(
        upload.bytes == u64::from(ROUNDS) * UPLOAD_BYTES,
        "{upload:?}"
    );
    ensure!(
        session.attribution() == Attribution::Exact,
        "{:?}",
        session.attribution()
    );
    let seen = |line: Option<&Line>| line.map_or((0, 0), |line| (line.bytes, line.blocks));
    let first = |text: &str| {
        Ok(seen(
            lines.get(&format!("app.py:{}", line_of(&source, text)?)),
        ))
    };
    let known: HashMap<String, Difference> = DIFFERENCES
        .iter()
        .map(|(text, why)| Ok((format!("app.py:{}", line_of(&source, text)?), *why)))
        .collect::<Result<_>>()?;
    let mut more = Vec::new();
    for (place, theirs) in &traced {
        let ours = seen(lines.get(place));
        if ours == *theirs || !place.starts_with("app.py:") {
            continue;
        }
        let numbers = || {
            format!(
                "{place} {}/{} and {}/{}",
                ours.0, ours.1, theirs.0, theirs.1
            )
        };
        let difference = known.get(place).with_context(numbers)?;
        let why = difference
            .explains(ours, *theirs, first)
            .with_context(numbers)?;
        more.push(format!("{}: {why}", numbers()));
    }
    more.sort_unstable();
    let own = traced.keys().filter(|place| place.starts_with("app.py:"));
    Ok(format!(
        "{} lines equal to the byte; explained, here and by tracemalloc: {}",
        own.count() - more.len(),
        more.join(", ")
    ))
}

/// Lines that Python reaches in different ways.
pub(crate) fn shapes(component: &[u8], programs: &Path, folder: &Path) -> Result<String> {
    let source = fs::read_to_string(programs.join("shapes/app.py"))?;
    let mut options = Options::default();
    options.check_contexts = true;
    let prepared = Prepared::new(component, Some(&options), folder)?;
    let mut session = prepared.start()?;
    let _: u32 = session.call("run", ())?;
    let contexts = checked_contexts(&session)?;
    let lines = session.lines();
    let mut wrong = Vec::new();
    let mut right = 0;
    let markers = source.lines().zip(1_usize..);
    let markers = markers.filter_map(|(text, line)| Some((text.split_once("# at ")?.1, line)));
    let expected = markers
        .map(|(shape, line)| (shape, format!("app.py:{line}")))
        .chain([("exec", "<made>:3".to_owned())]);
    for (shape, location) in expected {
        match lines.get(&location) {
            Some(line) if line.bytes >= 5000 => right += 1,
            other => wrong.push(format!("{shape}: {location} {other:?}")),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(format!("{right} of {right} lines are right; {contexts}"))
}

/// Every allocation of a program has the lines of its context.
pub(crate) fn contexts(component: &[u8], folder: &Path, calls: &[(&str, u32)]) -> Result<String> {
    let mut options = Options::default();
    options.check_contexts = true;
    let prepared = Prepared::new(component, Some(&options), folder)?;
    let mut session = prepared.start()?;
    for (export, n) in calls {
        if *export == "leak" {
            let _: String = session.call(export, (*n, false))?;
        } else {
            let _: u32 = session.call(export, (*n,))?;
        }
    }
    checked_contexts(&session)
}

/// Every allocation so far has had the lines of its context, and the contexts leave room for more.
fn checked_contexts(session: &Session) -> Result<String> {
    let checked = session.checked();
    ensure!(
        checked.mismatches == 0,
        "{} of {} allocations differ",
        checked.mismatches,
        checked.events
    );
    let totals = session.totals();
    ensure!(
        totals.contexts < MAX_CONTEXTS / 2 && totals.overflowed == 0,
        "{} contexts",
        totals.contexts
    );
    Ok(format!(
        "{} allocations compared, 0 differ; {} contexts",
        checked.events, totals.contexts
    ))
}

/// Deep recursion does not fill the table, and the lines stay right with 64 calls in a context.
pub(crate) fn depths(component: &[u8], folder: &Path) -> Result<String> {
    let mut counts = Vec::new();
    for depth in [1, 8, 64] {
        let options = Options::default().interpreted_frames(depth);
        let prepared = Prepared::new(component, Some(&options), folder)?;
        let mut session = prepared.start()?;
        let _: u32 = session.call("work", (10_u32,))?;
        let _: u32 = session.call("recurse", (2_u32,))?;
        let totals = session.totals();
        ensure!(totals.overflowed == 0, "{depth} calls: {totals:?}");
        counts.push(format!("{} with {depth}", totals.contexts));
    }
    let symbols = Symbols::new(component, SymbolOptions::default())?;
    ensure!(
        symbols.line_tables().advice().is_none(),
        "the symbols say that there are no lines"
    );
    Ok(format!("contexts: {}", counts.join(", ")))
}
