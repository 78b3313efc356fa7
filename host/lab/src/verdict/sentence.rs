//! The words of a verdict.

use guest_heap::verdict::{Verdict, rounded};

use super::plugin::PluginVerdict;
use super::{Findings, LabVerdict, VerdictKind};
use process_memory::byte_size::ByteSize;

/// The most sentences of evidence.
const MAX_EVIDENCE: usize = 3;

/// The sentence of a verdict. `plugins` are those of its kind, the one that matters most first.
/// `own` is the plugin that reaches a limit of its own first: seconds, limit and id.
pub(super) fn sentence(
    verdict: &LabVerdict,
    plugins: &[&PluginVerdict],
    findings: &Findings,
    own: Option<(f64, u64, &str)>,
) -> String {
    let names = names(plugins);
    let is_one = plugins.len() == 1;
    let per_request = size(verdict.bytes_per_request);
    let end = || end(verdict, findings, own, is_one);
    match verdict.kind {
        VerdictKind::None => match plugins.iter().map(|p| p.calls).max() {
            Some(calls) if calls > 0 => format!("no leak in {} requests", rounded(calls as f64)),
            _ => "nothing leaks".to_owned(),
        },
        VerdictKind::GuestLeak => {
            let verb = if is_one { "leaks" } else { "leak" };
            let place = match (&verdict.location, is_one) {
                (Some(location), true) => format!(", `{location}`"),
                (Some(location), false) => format!(", most of it at `{location}`"),
                (None, _) => String::new(),
            };
            format!("{names} {verb} {per_request} per request{place}{}", end())
        }
        VerdictKind::Growing => {
            let verb = if is_one { "grows" } else { "grow" };
            let place = match &verdict.location {
                Some(location) => format!(", `{location}`"),
                None => String::new(),
            };
            format!(
                "{names} {verb} by {per_request} per request{place}, and nothing was freed yet: a \
                 leak, or a batch{}",
                end()
            )
        }
        VerdictKind::Allocator => {
            let live: u64 = plugins.iter().map(|p| p.live_bytes).sum();
            format!(
                "the allocator of {names} holds free memory: linear memory grows by {per_request} \
                 per request, while {} stay live{}",
                ByteSize::from_bytes(live),
                end()
            )
        }
        VerdictKind::Host => format!(
            "the host leaks, not the plugins: resident memory grows by {}/s, and no plugin grows{}",
            size(findings.host_bytes_per_second),
            end()
        ),
        VerdictKind::Filling => {
            let verb = if is_one {
                "fills a cache"
            } else {
                "fill caches"
            };
            format!("{names} {verb}: each request adds less than the ones before; no leak so far")
        }
        VerdictKind::Collector => {
            let verb = if is_one { "frees" } else { "free" };
            format!("{names} {verb} memory in batches: the floor does not rise, so this is no leak")
        }
    }
}

/// When it ends: ` at 40 requests/s it reaches 256 MiB in 18 min`.
fn end(
    verdict: &LabVerdict,
    findings: &Findings,
    own: Option<(f64, u64, &str)>,
    is_one: bool,
) -> String {
    let rate = verdict.requests_per_second;
    let limit = match own {
        Some((_, bytes, _)) => Some(bytes),
        None => findings.limit_bytes,
    };
    let limit = limit.map(|bytes| ByteSize::from_bytes(bytes).to_string().replace(".0 ", " "));
    let who = match own {
        Some((_, _, plugin)) if !is_one => plugin,
        _ if is_one => "it",
        _ => "the process",
    };
    let refused = verdict.next_step.filter(|step| step.is_refused);
    let refused = refused.map(|step| size(step.piece_bytes as f64).replace(".0 ", " "));
    match (verdict.seconds_to_limit, limit) {
        (Some(seconds), Some(limit)) if seconds <= 0.0 => {
            format!("; the limit of {limit} is reached")
        }
        (Some(seconds), Some(limit)) if rate > 0.0 && refused.is_some() => {
            let piece = refused.unwrap_or_default();
            let effect = match own {
                Some(_) => format!("is refused at its limit of {limit}"),
                None => format!("does not fit into {limit}"),
            };
            format!(
                "; at {} requests/s {who} needs {piece} more in one piece, which {effect} in {}",
                number(rate),
                duration(seconds)
            )
        }
        (Some(seconds), Some(limit)) if rate > 0.0 => format!(
            "; at {} requests/s {who} reaches {limit} in {}",
            number(rate),
            duration(seconds)
        ),
        (Some(seconds), Some(limit)) => format!("; {who} reaches {limit} in {}", duration(seconds)),
        _ if rate <= 0.0 => "; no requests now".to_owned(),
        (None, None) if verdict.growth_bytes_per_second > 0.0 => format!(
            "; at {} requests/s that is {}/s, without a limit",
            number(rate),
            size(verdict.growth_bytes_per_second)
        ),
        _ => String::new(),
    }
}

/// What the verdict is based on.
pub(super) fn evidence(plugins: &[&PluginVerdict], findings: &Findings) -> Vec<String> {
    let of_plugin = |p: &&PluginVerdict| {
        let sentence = p.verdict.sentence(p.calls, "request");
        let calls = rounded(p.calls as f64);
        if p.is_early && p.verdict.is_leak() {
            return Some(format!(
                "{}: it grew in every window of {calls} requests; memory that is freed in batches \
                 looks the same before it falls",
                p.plugin
            ));
        }
        (p.verdict != Verdict::NoLeak)
            .then(|| format!("{}: {sentence}, in {} requests", p.plugin, calls))
    };
    let mut evidence: Vec<String> = plugins.iter().filter_map(of_plugin).collect();
    evidence.extend(plugins.iter().filter_map(|p| {
        let step = p.next_step?;
        let when = match step.seconds_left {
            Some(seconds) => format!("in {}", duration(seconds)),
            None => format!("in {} requests", rounded(step.requests_left.round())),
        };
        Some(format!(
            "{}: its memory grows in steps, and the next one needs {} more in one piece, {when}",
            p.plugin,
            size(step.piece_bytes as f64)
        ))
    }));
    evidence.truncate(MAX_EVIDENCE);
    let growth = findings.process.growth;
    if growth.is_significant() {
        evidence.push(format!(
            "resident memory grows by {}/s, seen for {:.0} s with confidence {:.2}",
            size(growth.bytes_per_second),
            growth.window_seconds,
            growth.confidence
        ));
    }
    evidence
}

/// `cache`, `cache and history`, `cache, history and listeners`, or the first two and a count.
fn names(plugins: &[&PluginVerdict]) -> String {
    let names: Vec<&str> = plugins.iter().map(|p| p.plugin.as_str()).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first, second] => format!("{first} and {second}"),
        [first, second, third] => format!("{first}, {second} and {third}"),
        [first, second, more @ ..] => format!("{first}, {second} and {} more", more.len()),
    }
}

/// A rate: `40`, or `2.5` below ten.
fn number(rate: f64) -> String {
    match rate {
        ..10.0 => rounded(rate.max(0.1)),
        _ => rounded(rate.round()),
    }
}

/// `5.0 KiB`.
fn size(bytes: f64) -> String {
    ByteSize::from_bytes(bytes.max(0.0).round() as u64).to_string()
}

/// `45 s`, `18 min`, `2 h 5 min`, `3 days`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let minutes = (seconds + 30) / 60;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=5_399 => format!("{minutes} min"),
        5_400..=172_799 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_decimal_below_ten() {
        let texts = [0.01, 2.54, 3.0, 59.7, 1234.4].map(number);
        assert_eq!(texts, ["0.1", "2.5", "3", "60", "1,234"]);
    }

    #[test]
    fn durations_are_round() {
        for (seconds, text) in [
            (0.4, "0 s"),
            (59.6, "60 s"),
            (119.0, "119 s"),
            (1080.0, "18 min"),
            (7500.0, "2 h 5 min"),
            (300_000.0, "3 days"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
