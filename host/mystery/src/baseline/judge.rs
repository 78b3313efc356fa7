//! The answer of the baseline.

use std::collections::BTreeMap;

use crate::answer::Answer;
use crate::fix::Fix;
use crate::kind::LeakKind;

use super::series::{Series, Shape};
use super::{Baseline, GrowingLine, Trace};

/// The answer after the last view.
pub(super) fn answer(player: &Baseline) -> Answer {
    let named = |shape: Shape| -> Vec<(&String, &Series)> {
        let series = player.plugins.iter().zip(&player.series);
        series
            .filter(|(_, series)| series.shape() == shape)
            .collect()
    };
    let aliases = |found: &[(&String, &Series)]| -> Vec<String> {
        found.iter().map(|(alias, _)| (*alias).clone()).collect()
    };
    let (growing, passing) = (named(Shape::Growing), named(Shape::Passing));
    let grown = |series: &Series| series.growth(0.0).0;
    let main = growing
        .iter()
        .max_by(|left, right| grown(left.1).total_cmp(&grown(right.1)));
    let mut answer = Answer {
        leaking: aliases(&growing),
        decoys: aliases(&passing),
        seconds_to_limit: seconds_to_limit(player),
        ..Answer::default()
    };
    let Some((alias, series)) = main else {
        return answer;
    };
    let onset = series.onset();
    let (bytes, requests) = series.growth(onset);
    answer.started_at_seconds = Some(onset);
    answer.bytes_per_request = Some(bytes / requests.max(1.0));
    answer.kind = Some(kind(player, alias, series, onset));
    let place = player.places.get(*alias);
    answer.location = place.and_then(|line| line.location.clone().or(line.function.clone()));
    answer.fix = place.and_then(fix);
    answer
}

/// Resident memory grows as it did in the last quarter of the time until a deploy.
fn seconds_to_limit(player: &Baseline) -> Option<f64> {
    let falls = |pair: &(&(f64, f64), &(f64, f64))| pair.1.1 < pair.0.1;
    let pairs = player.resident.iter().zip(player.resident.iter().skip(1));
    let rising = pairs.take_while(|pair| !falls(pair)).count();
    let last = player.resident.last()?;
    let end = player.resident.get(rising)?;
    let start = player.resident.get(rising - rising / 4)?;
    let per_second = (end.1 - start.1) / (end.0 - start.0).max(1.0);
    let limit = player.limit?;
    (per_second > 0.0).then(|| (limit - last.1).max(0.0) / per_second)
}

/// What sets the leak off: from single requests if the traces tell, else from the shape.
fn kind(player: &Baseline, alias: &str, series: &Series, from: f64) -> LeakKind {
    let traces: Vec<&Trace> = player
        .traces
        .iter()
        .filter(|trace| trace.at_seconds > from)
        .collect();
    let leaks = |trace: &&&Trace| -> bool {
        let of_plugin = trace.plugins.iter().find(|span| span.plugin == alias);
        of_plugin
            .and_then(|span| span.live_bytes_delta)
            .is_some_and(|bytes| bytes > 0)
    };
    let leaking: Vec<&Trace> = traces.iter().filter(leaks).copied().collect();
    let share = leaking.len() as f64 / traces.len().max(1) as f64;
    let mut tenants: BTreeMap<Option<u32>, usize> = BTreeMap::new();
    for trace in &leaking {
        *tenants.entry(trace.tenant).or_default() += 1;
    }
    // A collection that grows may move a few bytes in other requests, too.
    let nearly_all = |part: usize| part as f64 > 0.9 * leaking.len() as f64;
    let of_one_tenant = tenants.values().max().copied().unwrap_or(0);
    let errors = leaking.iter().filter(|trace| trace.status >= 500).count();
    let at_rest = series.share_at_rest(from);
    match leaking.len() {
        // Without traces of the leak, only the shape tells.
        0 if at_rest > 0.5 => LeakKind::Steps,
        0 if series.acceleration(from) > 2.0 => LeakKind::Accelerating,
        0 => LeakKind::EveryRequest,
        _ if share < 0.03 => LeakKind::Steps,
        count if share < 0.8 && nearly_all(errors) && count > 2 => LeakKind::OnError,
        count if share < 0.8 && nearly_all(of_one_tenant) && count > 2 => LeakKind::OneTenant,
        _ if series.acceleration(from) > 2.0 => LeakKind::Accelerating,
        _ if share < 0.8 => LeakKind::SomeRequests,
        _ => LeakKind::EveryRequest,
    }
}

/// The fix of the plugin whose folder the path has.
fn fix(line: &GrowingLine) -> Option<Fix> {
    let path = line.location.as_deref()?;
    path.split('/')
        .find_map(|part| Fix::of_plugin(part).first().copied())
}
