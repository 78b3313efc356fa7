//! One rule for each row: what is promised, how much a measurement may be off, and what was found.

use std::time::Duration;

use super::Terms;
use super::drive::{Broken, Fixed, Idle, Leaky, Observed, Step};
use super::report::{Row, Status};
use crate::error::PluginError;
use crate::instance::Retained;
use crate::instance::backtrace::blamed;
use crate::load::loader::Loaded;
use crate::load::manifest::Manifest;
use crate::settings::Value;
use guest_heap::Attribution;

/// Bytes that retained and live may differ by: what an allocator rounds, and containers that are not counted.
const RETAINED_SHARE: f64 = 0.05;
const RETAINED_SLACK: i64 = 4 << 10;
/// Bytes that may be live after a clear and were not before: tables that are made once.
const CLEAR_SHARE: f64 = 0.02;
const CLEAR_SLACK: i64 = 4 << 10;
/// Bytes that the fixed variant's peak may rise from one window to the next.
const FIXED_SHARE: f64 = 0.02;
const FIXED_SLACK: i64 = 4 << 10;
/// Bytes that may come to be live while there are no requests.
const IDLE_SLACK: i64 = 1 << 10;
/// Growth below this is not worth a line of the diff.
const GROWTH_MIN: i64 = 4 << 10;

/// What a language runtime and a plugin need. The rest of WASI is there, but empty.
const USUAL_IMPORTS: [&str; 5] = [
    "leak-lab:plugin/logging@",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:io/",
    "wasi:random/",
];

/// Each promise: its name, and what is promised.
const PROMISES: [(&str, &str); 10] = [
    (
        "contract",
        "fits leak-lab:plugin@0.1.0, starts, and describes itself the same way each time",
    ),
    (
        "imports",
        "asks for the lab's logging and for what a language runtime needs: no files, no network",
    ),
    (
        "calls",
        "each call returns within its deadline, without a trap and without an error",
    ),
    (
        "retained",
        "the bytes said to be retained are the bytes that live, within 5 % and 4 KiB, after each request",
    ),
    (
        "counts",
        "on-request, retained and clear agree; after clear nothing is retained; no more objects than requests and live blocks",
    ),
    (
        "disabled",
        "nothing comes to live while there are no requests, within 1 KiB",
    ),
    (
        "fixed",
        "the fixed variant's peak does not rise once an hour of requests has passed, within 2 % and 4 KiB",
    ),
    (
        "clear",
        "clear brings live bytes back to where they were before the requests, within 2 % of what was cleared and 4 KiB",
    ),
    (
        "source",
        "the line that grew most is in the plugin's own source",
    ),
    (
        "determinism",
        "two instances that get the same requests retain the same and live the same",
    ),
];

type Verdict = (Status, String);

/// The rows of a component that cannot be called.
pub(crate) fn refused(error: &PluginError) -> Vec<Row> {
    let verdict = |(check, promise): (&'static str, &'static str)| {
        let (status, found) = match check {
            "contract" => (Status::Fail, error.to_string()),
            _ => (Status::Skipped, "it cannot be called".to_owned()),
        };
        Row {
            check,
            promise,
            status,
            found,
        }
    };
    PROMISES.into_iter().map(verdict).collect()
}

/// The rows of a component that was driven through its runs.
pub(crate) fn judge(
    loaded: &Loaded,
    manifest: &Manifest,
    observed: &Observed,
    terms: Terms,
) -> Vec<Row> {
    let no_books = match loaded.meta.attribution() {
        Attribution::Off { why } => Some(why.as_str()),
        Attribution::Exact | Attribution::Partial { .. } => None,
    };
    let of_leaky = |rule: &dyn Fn(&Leaky) -> Verdict| of(&observed.leaky, rule);
    let row = |(check, promise): (&'static str, &'static str)| {
        let needs_books = matches!(
            check,
            "retained" | "disabled" | "fixed" | "clear" | "source"
        );
        let (status, found) = match (check, no_books) {
            (_, Some(why)) if needs_books => (
                Status::NotApplicable,
                format!("its heap keeps no books: {why}"),
            ),
            ("contract", _) => contract(loaded, manifest),
            ("imports", _) => imports(&loaded.origin.imports),
            ("calls", _) => calls(observed, terms.deadline),
            ("retained", _) => of_leaky(&|leaky| retained(leaky, manifest)),
            ("counts", _) => of_leaky(&counts),
            ("disabled", _) => of(&observed.idle, disabled),
            ("fixed", _) => of(&observed.fixed, fixed),
            ("clear", _) => of_leaky(&clear),
            ("source", _) => of_leaky(&source),
            _ => determinism(observed),
        };
        Row {
            check,
            promise,
            status,
            found,
        }
    };
    PROMISES.into_iter().map(row).collect()
}

/// A rule on a run that came to its end. Of one that did not, the row `calls` says why.
fn of<T>(run: &Result<T, Broken>, rule: impl Fn(&T) -> Verdict) -> Verdict {
    match run {
        Ok(run) => rule(run),
        Err(_) => (Status::Skipped, "a call failed".to_owned()),
    }
}

fn verdict(kept: bool, found: String) -> Verdict {
    let status = if kept { Status::Pass } else { Status::Fail };
    (status, found)
}

fn contract(loaded: &Loaded, manifest: &Manifest) -> Verdict {
    let books = match loaded.meta.attribution() {
        Attribution::Exact => "exact".to_owned(),
        Attribution::Partial { why } => format!("partial: {why}"),
        Attribution::Off { why } => format!("off: {why}"),
    };
    verdict(
        true,
        format!(
            "{} {}, {} settings, {} bytes, heap books {books}",
            manifest.id,
            manifest.version,
            manifest.settings.len(),
            loaded.origin.size
        ),
    )
}

fn imports(asked: &[String]) -> Verdict {
    let unusual: Vec<&str> = asked
        .iter()
        .map(String::as_str)
        .filter(|import| !USUAL_IMPORTS.iter().any(|usual| import.starts_with(usual)))
        .collect();
    if unusual.is_empty() {
        return verdict(true, format!("{}: {}", asked.len(), asked.join(", ")));
    }
    verdict(false, format!("asks for {}", unusual.join(", ")))
}

fn calls(observed: &Observed, deadline: Duration) -> Verdict {
    let runs = [
        ("leaky", observed.leaky.as_ref().err()),
        ("leaky, again", observed.again.as_ref().err()),
        ("without requests", observed.idle.as_ref().err()),
        ("fixed", observed.fixed.as_ref().err()),
    ];
    let broken = runs.iter().find_map(|(run, e)| Some((run, (*e)?)));
    if let Some((run, broken)) = broken {
        let why = match broken {
            Broken::Answered(message) => message.clone(),
            Broken::OutOfTime => format!(
                "the check is given {} s, and that was not enough",
                super::TIME_MAX.as_secs()
            ),
            Broken::Fault(fault) => match blamed(&fault.backtrace) {
                None => fault.reason.clone(),
                Some(frame) => format!("{} ({frame})", fault.reason),
            },
        };
        return verdict(false, format!("{run}: {why}"));
    }
    let Ok(leaky) = &observed.leaky else {
        return (Status::Skipped, String::new());
    };
    let mut times = leaky.times.clone();
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times
            .get(index.min(times.len().saturating_sub(1)))
            .map_or(0.0, |t| t.as_secs_f64() * 1e3)
    };
    let found = format!(
        "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms of {} ms",
        at(0.5),
        at(0.99),
        at(1.0),
        deadline.as_millis()
    );
    verdict(true, found)
}

fn retained(leaky: &Leaky, manifest: &Manifest) -> Verdict {
    let mut worst: Option<(usize, i64, i64)> = None;
    for (n, step) in leaky.steps.iter().enumerate() {
        let said = signed(step.retained.bytes) - signed(leaky.start.retained.bytes);
        let lives = gained(leaky.start.live, step.live);
        let off = (said - lives).abs() - allowed(lives, RETAINED_SHARE, RETAINED_SLACK);
        if worst.is_none_or(|(_, _, most)| off > most) {
            worst = Some((n + 1, said - lives, off));
        }
    }
    let triggered = leaky.steps.iter().filter(|s| s.triggered).count();
    let (said, lives) = leaky.steps.last().map_or((0, 0), |last| {
        (
            signed(last.retained.bytes) - signed(leaky.start.retained.bytes),
            gained(leaky.start.live, last.live),
        )
    });
    let declared = manifest.settings.iter().find(|s| s.name == "payload_bytes");
    let declared = match declared.map(|s| &s.default) {
        Some(Value::Integer(bytes)) => bytes.to_string(),
        _ => "?".to_owned(),
    };
    let per_request = |bytes: i64| bytes as f64 / (triggered.max(1)) as f64;
    let found = format!(
        "a request declares {declared}, retains {:.1}, and {:.1} bytes live ({triggered} triggered)",
        per_request(said),
        per_request(lives)
    );
    match worst {
        Some((n, by, off)) if off > 0 => verdict(
            false,
            format!("{found}; after request {n} it says {by:+} bytes"),
        ),
        _ => verdict(true, found),
    }
}

fn counts(leaky: &Leaky) -> Verdict {
    let end = leaky.steps.last().map(|s| s.retained).unwrap_or_default();
    let show = |r: Retained| format!("{} objects, {} bytes", r.objects, r.bytes);
    if let Some((answered, said)) = leaky.contradiction {
        return verdict(
            false,
            format!(
                "on-request answers {}, retained {}",
                show(answered),
                show(said)
            ),
        );
    }
    if leaky.cleared != end {
        return verdict(
            false,
            format!(
                "clear answers {}, held were {}",
                show(leaky.cleared),
                show(end)
            ),
        );
    }
    if leaky.after_clear.retained.objects > 0 {
        return verdict(
            false,
            format!("after clear {} are left", show(leaky.after_clear.retained)),
        );
    }
    let mut triggered = 0;
    for (n, step) in leaky.steps.iter().enumerate() {
        triggered += i64::from(step.triggered);
        let objects = signed(step.retained.objects) - signed(leaky.start.retained.objects);
        let blocks = gained(leaky.start.blocks, step.blocks);
        let countable = leaky.start.blocks.is_none() || objects > blocks;
        if objects > triggered && countable {
            return verdict(
                false,
                format!(
                    "after request {} it counts {objects} objects: {triggered} requests triggered, {blocks} blocks live",
                    n + 1
                ),
            );
        }
    }
    verdict(true, format!("{} after the last request", show(end)))
}

fn disabled(idle: &Idle) -> Verdict {
    let grown = gained(idle.before.live, idle.after.live);
    let same = idle.before.retained == idle.after.retained;
    let found = format!(
        "{grown:+} bytes in {} calls of retained and configure",
        idle.calls
    );
    if same {
        return verdict(grown <= IDLE_SLACK, found);
    }
    verdict(false, format!("{found}; what it retains has changed"))
}

fn fixed(fixed: &Fixed) -> Verdict {
    let (first, second) = (
        signed(fixed.first_peak.unwrap_or(0)),
        signed(fixed.second_peak.unwrap_or(0)),
    );
    let most = allowed(first, FIXED_SHARE, FIXED_SLACK);
    verdict(
        second - first <= most,
        format!("peaks at {first} bytes, then at {second}"),
    )
}

fn clear(leaky: &Leaky) -> Verdict {
    let end = leaky.steps.last().and_then(|s| s.live);
    let held = gained(leaky.start.live, end);
    let left = gained(leaky.start.live, leaky.after_clear.live);
    verdict(
        left <= allowed(held, CLEAR_SHARE, CLEAR_SLACK),
        format!("{held:+} bytes live by the requests, {left:+} after clear"),
    )
}

fn source(leaky: &Leaky) -> Verdict {
    match &leaky.top {
        Some(top) if top.bytes >= GROWTH_MIN => {
            let whose = if top.own { "its own" } else { "not its own" };
            verdict(
                top.own,
                format!("{} ({:+} bytes): {whose}", top.location, top.bytes),
            )
        }
        _ => (
            Status::NotApplicable,
            format!("nothing grew by {GROWTH_MIN} bytes"),
        ),
    }
}

fn determinism(observed: &Observed) -> Verdict {
    let (Ok(leaky), Ok(again)) = (&observed.leaky, &observed.again) else {
        return (Status::Skipped, "a call failed".to_owned());
    };
    let differs = leaky.steps.iter().zip(again).position(|(a, b)| a != b);
    let show = |step: Option<&Step>| {
        step.map_or_else(String::new, |s| {
            format!(
                "{} objects, {} bytes, {} live",
                s.retained.objects,
                s.retained.bytes,
                s.live
                    .map_or_else(|| "?".to_owned(), |bytes| bytes.to_string())
            )
        })
    };
    match differs {
        None => verdict(
            true,
            format!("{} answers are the same twice", leaky.steps.len()),
        ),
        Some(n) => verdict(
            false,
            format!(
                "request {}: {}; another time {}",
                n + 1,
                show(leaky.steps.get(n)),
                show(again.get(n))
            ),
        ),
    }
}

fn allowed(of: i64, share: f64, slack: i64) -> i64 {
    slack + (of.max(0) as f64 * share) as i64
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn gained(before: Option<u64>, after: Option<u64>) -> i64 {
    signed(after.unwrap_or(0)) - signed(before.unwrap_or(0))
}

#[cfg(test)]
mod tests;
