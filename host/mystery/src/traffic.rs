//! The traffic of a game: its phases, and each single request.

use std::time::Duration;

use serde::Serialize;

use crate::random::Random;

/// The status with which a request asks to fail.
const FAILURE_STATUS: u16 = 503;

/// A time of constant load. It ends with the next phase, or with the game.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TrafficPhase {
    /// The time from the start of the game.
    #[serde(rename = "at_seconds", serialize_with = "crate::seconds::serialize")]
    pub at: Duration,
    /// Requests per second: 5 to 40, and fewer in long games.
    pub requests_per_second: f64,
    /// The share of the requests that ask to fail, 0 to 0.15.
    pub error_share: f64,
    /// The number of tenants, at least 5. Each request is of one of them, all with the same chance.
    pub tenants: u32,
}

/// One request of a game.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PlannedRequest {
    /// The time from the start of the game.
    #[serde(rename = "at_seconds", serialize_with = "crate::seconds::serialize")]
    pub at: Duration,
    /// The tenant to name, from 1.
    pub tenant: u32,
    /// The status to ask for with `fail`, if the request is to fail.
    pub fail: Option<u16>,
}

/// A phase with its end and the number of its first request.
#[derive(Debug, Clone, Copy)]
struct Span {
    phase: TrafficPhase,
    end: Duration,
    first: u64,
    count: u64,
}

/// Each phase with its end and its requests.
fn spans(phases: &[TrafficPhase], end: Duration) -> impl Iterator<Item = Span> {
    let ends = phases.iter().skip(1).map(|next| next.at).chain([end]);
    phases.iter().zip(ends).scan(0, |first, (phase, end)| {
        let seconds = end.saturating_sub(phase.at).as_secs_f64();
        let count = (seconds * phase.requests_per_second).floor() as u64;
        let span = Span {
            phase: *phase,
            end,
            first: *first,
            count,
        };
        *first += count;
        Some(span)
    })
}

/// The requests that the phases send in total until `end`.
pub(crate) fn total(phases: &[TrafficPhase], end: Duration) -> u64 {
    spans(phases, end).map(|span| span.count).sum()
}

/// The expected number of requests from one time to `end`.
pub(crate) fn expected(phases: &[TrafficPhase], from: Duration, end: Duration) -> f64 {
    spans(phases, end)
        .map(|span| {
            let begin = span.phase.at.max(from);
            span.end.saturating_sub(begin).as_secs_f64() * span.phase.requests_per_second
        })
        .sum()
}

/// Request `index` of a game, starting at 0. `None` beyond the last one.
pub(crate) fn request(
    seed: u64,
    phases: &[TrafficPhase],
    end: Duration,
    index: u64,
) -> Option<PlannedRequest> {
    let span =
        spans(phases, end).find(|span| (span.first..span.first + span.count).contains(&index))?;
    let mut random = Random::at(seed, index);
    // One request in each interval, at a random place in it: they arrive in order, and not in step.
    let intervals = (index - span.first) as f64 + random.unit();
    let offset = Duration::try_from_secs_f64(intervals / span.phase.requests_per_second).ok()?;
    let tenant = random.whole(1, u64::from(span.phase.tenants.max(1)));
    let fails = random.unit() < span.phase.error_share;
    Some(PlannedRequest {
        at: span.phase.at + offset,
        tenant: u32::try_from(tenant).unwrap_or(1),
        fail: fails.then_some(FAILURE_STATUS),
    })
}

/// The number of the first request at `time` or later, or that of the last one plus 1.
pub(crate) fn first_at(seed: u64, phases: &[TrafficPhase], end: Duration, time: Duration) -> u64 {
    let Some(span) = spans(phases, end).find(|span| time < span.end) else {
        return total(phases, end);
    };
    let seconds = time.saturating_sub(span.phase.at).as_secs_f64();
    let near = (seconds * span.phase.requests_per_second) as u64;
    let near = span.first + near.saturating_sub(1).min(span.count);
    // The random place of a request moves it by less than one interval.
    (near..)
        .find(|index| request(seed, phases, end, *index).is_none_or(|found| found.at >= time))
        .unwrap_or(near)
}
