//! Rules about the component as a whole: what it is, what it imports, and how its calls end.

use std::time::Duration;

use guest_heap::Attribution;

use crate::conformance::options::MAX_DURATION;
use crate::conformance::report::RowStatus;
use crate::conformance::rules::verdict::{Verdict, verdict};
use crate::conformance::runs::{Answered, Observations, RunError};
use crate::instance::backtrace::blamed;
use crate::load::loader::CompiledComponent;
use crate::load::manifest::Manifest;

/// Prefixes of the imports that a language runtime and a plugin need. The host provides the rest of
/// WASI too, but empty.
const USUAL_IMPORTS: [&str; 5] = [
    "leak-lab:plugin/logging@",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:io/",
    "wasi:random/",
];

pub(super) fn contract(
    attribution: &Attribution,
    component: &CompiledComponent,
    manifest: &Manifest,
) -> Verdict {
    let attribution = match attribution {
        Attribution::Exact => "exact".to_owned(),
        Attribution::Partial { why } => format!("partial: {why}"),
        Attribution::Off { why } => format!("off: {why}"),
    };
    verdict(
        true,
        format!(
            "{} {}, {} settings, {} bytes, heap attribution {attribution}",
            manifest.id,
            manifest.version,
            manifest.settings.len(),
            component.source.size
        ),
    )
}

pub(super) fn imports(imports: &[String]) -> Verdict {
    let unusual: Vec<&str> = imports
        .iter()
        .map(String::as_str)
        .filter(|import| !USUAL_IMPORTS.iter().any(|usual| import.starts_with(usual)))
        .collect();
    if unusual.is_empty() {
        return verdict(true, format!("{}: {}", imports.len(), imports.join(", ")));
    }
    verdict(false, format!("imports {}", unusual.join(", ")))
}

pub(super) fn calls(observations: &Observations, deadline: Duration) -> Verdict {
    let runs = [
        ("leaky", observations.leaky.as_ref().err()),
        ("leaky, second instance", observations.second.as_ref().err()),
        ("without requests", observations.idle.as_ref().err()),
        ("fixed", observations.fixed.as_ref().err()),
    ];
    let failed = runs.iter().find_map(|(run, error)| Some((run, (*error)?)));
    if let Some((run, error)) = failed {
        let why = match error {
            RunError::Answered(message) => message.clone(),
            RunError::OutOfTime => format!(
                "the check took longer than its limit of {} s",
                MAX_DURATION.as_secs()
            ),
            RunError::Fault(fault) => match blamed(&fault.backtrace) {
                None => fault.reason.clone(),
                Some(frame) => format!("{} ({frame})", fault.reason),
            },
        };
        return verdict(false, format!("{run}: {why}"));
    }
    let Ok(leaky) = &observations.leaky else {
        return (RowStatus::Skipped, String::new());
    };
    let mut times = leaky.times.clone();
    times.sort_unstable();
    let percentile = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times
            .get(index.min(times.len().saturating_sub(1)))
            .map_or(0.0, |t| t.as_secs_f64() * 1e3)
    };
    let found = format!(
        "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms of {} ms",
        percentile(0.5),
        percentile(0.99),
        percentile(1.0),
        deadline.as_millis()
    );
    verdict(true, found)
}

pub(super) fn determinism(observations: &Observations) -> Verdict {
    let (Ok(leaky), Ok(second)) = (&observations.leaky, &observations.second) else {
        return (RowStatus::Skipped, "a call failed".to_owned());
    };
    let differs = leaky.answers.iter().zip(second).position(|(a, b)| a != b);
    let show = |answered: Option<&Answered>| {
        answered.map_or_else(String::new, |a| {
            let live = a.live.map_or_else(|| "?".to_owned(), |b| b.to_string());
            let Answered { retained, .. } = a;
            format!(
                "{} objects, {} bytes, {live} live",
                retained.objects, retained.bytes
            )
        })
    };
    match differs {
        None => verdict(
            true,
            format!("{} answers are the same twice", leaky.answers.len()),
        ),
        Some(n) => verdict(
            false,
            format!(
                "request {}: {}; in the second instance {}",
                n + 1,
                show(leaky.answers.get(n)),
                show(second.get(n))
            ),
        ),
    }
}
