//! Rules about what the pattern retains and what is live.

use crate::conformance::report::RowStatus;
use crate::conformance::rules::verdict::{Verdict, verdict};
use crate::conformance::runs::{FixedRun, IdleRun, LeakyRun};
use crate::instance::Retained;
use crate::load::manifest::Manifest;
use crate::settings::Value;
use crate::settings::names::PAYLOAD_BYTES;

/// How far retained and live bytes may differ: the allocator rounds sizes up, and plugins do not
/// count their containers.
const RETAINED_TOLERANCE: Tolerance = Tolerance {
    share: 0.05,
    bytes: 4 << 10,
};
/// Live bytes that may remain after a clear: tables that are allocated once.
const CLEAR_TOLERANCE: Tolerance = Tolerance {
    share: 0.02,
    bytes: 4 << 10,
};
/// How far the peak of the fixed variant may rise from one window to the next.
const FIXED_TOLERANCE: Tolerance = Tolerance {
    share: 0.02,
    bytes: 4 << 10,
};
/// Bytes by which the live heap may grow without requests.
const IDLE_TOLERANCE_BYTES: i64 = 1 << 10;
/// Growth in bytes below which the line that grew most is not judged.
const MIN_GROWTH_BYTES: i64 = 4 << 10;

/// How far a measurement may be off: a share of it plus a number of bytes.
struct Tolerance {
    share: f64,
    bytes: i64,
}

impl Tolerance {
    fn of(&self, measured: i64) -> i64 {
        self.bytes + (measured.max(0) as f64 * self.share) as i64
    }
}

pub(super) fn retained(run: &LeakyRun, manifest: &Manifest) -> Verdict {
    let mut worst: Option<(usize, i64, i64)> = None;
    for (n, answer) in run.answers.iter().enumerate() {
        let reported = signed(answer.retained.bytes) - signed(run.start.retained.bytes);
        let live = gained(run.start.live, answer.live);
        let excess = (reported - live).abs() - RETAINED_TOLERANCE.of(live);
        if worst.is_none_or(|(_, _, most)| excess > most) {
            worst = Some((n + 1, reported - live, excess));
        }
    }
    let triggered = run.answers.iter().filter(|a| a.triggered).count();
    let (reported, live) = run.answers.last().map_or((0, 0), |last| {
        (
            signed(last.retained.bytes) - signed(run.start.retained.bytes),
            gained(run.start.live, last.live),
        )
    });
    let declared = manifest.settings.iter().find(|s| s.name == PAYLOAD_BYTES);
    let declared = match declared.map(|s| &s.default) {
        Some(Value::Integer(bytes)) => bytes.to_string(),
        _ => "?".to_owned(),
    };
    let per_request = |bytes: i64| bytes as f64 / (triggered.max(1)) as f64;
    let found = format!(
        "per request: {declared} bytes declared, {:.1} retained, {:.1} live \
         ({triggered} triggered)",
        per_request(reported),
        per_request(live)
    );
    match worst {
        Some((n, by, excess)) if excess > 0 => verdict(
            false,
            format!("{found}; after request {n} it reports {by:+} bytes"),
        ),
        _ => verdict(true, found),
    }
}

pub(super) fn counts(run: &LeakyRun) -> Verdict {
    let end = run.answers.last().map(|a| a.retained).unwrap_or_default();
    let show = |r: Retained| format!("{} objects, {} bytes", r.objects, r.bytes);
    if let Some((answered, reported)) = run.contradiction {
        return verdict(
            false,
            format!(
                "on-request answers {}, retained answers {}",
                show(answered),
                show(reported)
            ),
        );
    }
    if run.cleared != end {
        return verdict(
            false,
            format!(
                "clear answers {}, retained were {}",
                show(run.cleared),
                show(end)
            ),
        );
    }
    if run.after_clear.retained.objects > 0 {
        return verdict(
            false,
            format!("after clear {} are left", show(run.after_clear.retained)),
        );
    }
    let mut triggered = 0;
    for (n, answer) in run.answers.iter().enumerate() {
        triggered += i64::from(answer.triggered);
        let objects = signed(answer.retained.objects) - signed(run.start.retained.objects);
        let blocks = gained(run.start.blocks, answer.blocks);
        let too_many_for_blocks = run.start.blocks.is_none() || objects > blocks;
        if objects > triggered && too_many_for_blocks {
            return verdict(
                false,
                format!(
                    "after request {} it counts {objects} objects: \
                     {triggered} requests triggered, {blocks} blocks live",
                    n + 1
                ),
            );
        }
    }
    verdict(true, format!("{} after the last request", show(end)))
}

pub(super) fn disabled(run: &IdleRun) -> Verdict {
    let grown = gained(run.before.live, run.after.live);
    let found = format!(
        "{grown:+} bytes in {} calls of retained and configure",
        run.calls
    );
    if run.before.retained == run.after.retained {
        return verdict(grown <= IDLE_TOLERANCE_BYTES, found);
    }
    verdict(false, format!("{found}; what it retains has changed"))
}

pub(super) fn fixed(run: &FixedRun) -> Verdict {
    let (first, second) = (
        signed(run.first_peak.unwrap_or(0)),
        signed(run.second_peak.unwrap_or(0)),
    );
    verdict(
        second - first <= FIXED_TOLERANCE.of(first),
        format!("peaks at {first} bytes, then at {second}"),
    )
}

pub(super) fn clear(run: &LeakyRun) -> Verdict {
    let end = run.answers.last().and_then(|a| a.live);
    let gained_by_requests = gained(run.start.live, end);
    let left = gained(run.start.live, run.after_clear.live);
    verdict(
        left <= CLEAR_TOLERANCE.of(gained_by_requests),
        format!("{gained_by_requests:+} bytes live after the requests, {left:+} after clear"),
    )
}

pub(super) fn source(run: &LeakyRun) -> Verdict {
    match &run.top_line {
        Some(top) if top.bytes >= MIN_GROWTH_BYTES => {
            let whose = if top.own { "its own" } else { "not its own" };
            verdict(
                top.own,
                format!("{} ({:+} bytes): {whose}", top.location, top.bytes),
            )
        }
        _ => (
            RowStatus::NotApplicable,
            format!("nothing grew by {MIN_GROWTH_BYTES} bytes"),
        ),
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn gained(before: Option<u64>, after: Option<u64>) -> i64 {
    signed(after.unwrap_or(0)) - signed(before.unwrap_or(0))
}
