//! Which hosts of a fleet to look at first.

use std::cmp::Reverse;

use crate::calls::HostAnswer;

/// A host is odd only if its memory differs from the median by more than this.
const MIN_DIFFERENCE_BYTES: u64 = 8 << 20;

/// … and by more than so many times the median of all differences.
const DIFFERENCES: u64 = 4;

/// How much a host stands out, in the order in which hosts are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddness {
    /// Like the others.
    None,
    /// Much more or much less resident memory than the others, and no verdict says why.
    Memory,
    /// It grows, and it is too early to say whether it leaks.
    Growth,
    /// It did not answer.
    NoAnswer,
    /// It leaks.
    Leak,
    /// It leaks, and its limit is less than two minutes away.
    Critical,
}

/// The hosts with how much each stands out, the odd ones first. Hosts that stand out equally are in
/// the order of their addresses.
#[must_use]
pub fn rank(hosts: Vec<HostAnswer>) -> Vec<(Oddness, HostAnswer)> {
    let sizes = hosts.iter().filter_map(|host| host.summary.as_ref());
    let sizes: Vec<u64> = sizes.map(|summary| summary.rss_bytes).collect();
    let middle = median(sizes.clone());
    let differences = sizes.iter().map(|size| size.abs_diff(middle)).collect();
    let bound = (DIFFERENCES * median(differences)).max(MIN_DIFFERENCE_BYTES);
    let oddness = |host: &HostAnswer| match &host.summary {
        Some(summary) if summary.verdict.rank() == 2 => Oddness::Critical,
        Some(summary) if summary.verdict.rank() == 1 => Oddness::Leak,
        _ if host.answer.is_err() => Oddness::NoAnswer,
        Some(summary) if summary.verdict.kind == "growing" => Oddness::Growth,
        Some(summary) if summary.rss_bytes.abs_diff(middle) > bound => Oddness::Memory,
        _ => Oddness::None,
    };
    let mut ranked: Vec<_> = hosts.into_iter().map(|h| (oddness(&h), h)).collect();
    ranked.sort_by(|(a, x), (b, y)| (Reverse(a), &x.address).cmp(&(Reverse(b), &y.address)));
    ranked
}

/// The middle value; 0 of none.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::AskError;
    use crate::summary::{HostSummary, Verdict};

    fn host(number: u8, mib: u64, severity: &str) -> HostAnswer {
        HostAnswer {
            address: format!("10.0.0.{number}").parse().unwrap(),
            summary: Some(HostSummary {
                rss_bytes: mib << 20,
                verdict: Verdict {
                    severity: severity.to_owned(),
                    ..Verdict::default()
                },
                ..HostSummary::default()
            }),
            answer: Ok(json!({})),
        }
    }

    fn silent(number: u8) -> HostAnswer {
        HostAnswer {
            summary: None,
            answer: Err(AskError::Refused {
                code: "mystery".to_owned(),
                message: String::new(),
                hint: String::new(),
            }),
            ..host(number, 0, "")
        }
    }

    #[test]
    fn what_leaks_comes_first_and_then_what_differs() {
        let calm = |number, mib| host(number, mib, "calm");
        let mut growing = calm(9, 61);
        if let Some(summary) = &mut growing.summary {
            summary.verdict.kind = "growing".to_owned();
        }
        let hosts = vec![
            calm(1, 60),
            calm(2, 61),
            calm(3, 90),
            silent(4),
            host(5, 60, "leak"),
            host(6, 60, "critical"),
            calm(7, 62),
            calm(8, 59),
            growing,
        ];
        let ranked: Vec<_> = rank(hosts)
            .iter()
            .map(|(oddness, host)| (*oddness, host.address.name()))
            .collect();
        let expected = [
            (Oddness::Critical, 6),
            (Oddness::Leak, 5),
            (Oddness::NoAnswer, 4),
            (Oddness::Growth, 9),
            (Oddness::Memory, 3),
            (Oddness::None, 1),
            (Oddness::None, 2),
            (Oddness::None, 7),
            (Oddness::None, 8),
        ];
        assert_eq!(ranked, expected.map(|(o, n)| (o, format!("10.0.0.{n}"))));
    }

    #[test]
    fn hosts_that_differ_from_each_other_are_not_odd() {
        let spread = (1..=8)
            .map(|n| host(n, u64::from(n) * 20, "calm"))
            .collect();
        assert!(rank(spread).iter().all(|(o, _)| *o == Oddness::None));
        assert!(rank(Vec::new()).is_empty());
        assert_eq!(rank(vec![host(1, 60, "calm")])[0].0, Oddness::None);
    }
}
