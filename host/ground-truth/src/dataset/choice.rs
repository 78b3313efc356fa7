//! What a dataset contains, chosen by a seed.

use anyhow::{Result, ensure};
use plugin_host::settings::Value;

use crate::load_shape::{Load, LoadShape};
use crate::plan::{Inactive, Plan, PluginPlan};
use crate::truth::Role;

/// Seconds in a day.
const DAY: u64 = 86_400;

/// Seconds without a bug at the start.
const QUIET_SECONDS: u64 = 6 * 3600;

/// The curves that are chosen from. An exponential one would kill the process all the time.
const CURVES: [&str; 3] = ["linear", "step", "sawtooth"];

/// SplitMix64: the same numbers for a seed, whatever the versions of libraries.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `from..until`.
    fn within(&mut self, from: u64, until: u64) -> u64 {
        from + self.next() % until.saturating_sub(from).max(1)
    }

    /// One of these.
    fn one_of<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let index = self.within(0, of.len() as u64) as usize;
        of.get(index).copied()
    }

    /// `count` of these, in a random order.
    fn take<T: Clone>(&mut self, of: &[T], count: usize) -> Vec<T> {
        let mut rest = of.to_vec();
        let mut taken = Vec::new();
        while taken.len() < count && !rest.is_empty() {
            let index = self.within(0, rest.len() as u64) as usize;
            taken.push(rest.swap_remove(index));
        }
        taken
    }
}

/// A plugin that can be in a dataset.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) id: String,
    pub(super) title: String,
    /// The default of its setting `payload_bytes`.
    pub(super) payload_bytes: u64,
    /// Whether its memory grows with its bug at the load of the dataset.
    pub(super) grows: bool,
}

/// Chooses three leaks, two decoys and two healthy plugins, fewer if there are not as many, and
/// when their bugs are active.
///
/// # Errors
///
/// When there is no leak to choose.
pub(super) fn plan(
    random: &mut Random,
    candidates: &[Candidate],
    days: u64,
    scrape_seconds: u64,
    requests_per_second: f64,
    shape: Option<LoadShape>,
) -> Result<Plan> {
    let seconds = days * DAY;
    let is_decoy = |c: &&Candidate| Role::of_title(&c.title) == Role::Decoy;
    let decoys: Vec<Candidate> = candidates.iter().filter(is_decoy).cloned().collect();
    let leaks = candidates.iter().filter(|c| !is_decoy(c) && c.grows);
    let leaks: Vec<Candidate> = leaks.cloned().collect();
    ensure!(
        !leaks.is_empty(),
        "no plugin leaks at {requests_per_second} requests per second"
    );
    let shape = shape.or_else(|| random.one_of(&LoadShape::ALL));
    let chosen = random.take(&leaks, 5);
    let (leaking, healthy) = chosen.split_at_checked(3).unwrap_or((&chosen, &[]));
    let mut plugins = Vec::new();
    for candidate in leaking {
        let mut plan = of(candidate);
        plan.active = episodes(random, seconds);
        let curve = random.one_of(&CURVES).unwrap_or("linear");
        let factor = random.one_of(&[1, 2, 4]).unwrap_or(1);
        let payload = i64::try_from(candidate.payload_bytes * factor)?;
        plan.settings = vec![
            ("curve".to_owned(), Value::Text(curve.to_owned())),
            ("payload_bytes".to_owned(), Value::Integer(payload)),
        ];
        plugins.push(plan);
    }
    for candidate in random.take(&decoys, 2) {
        let mut plan = of(&candidate);
        let from = random.within(QUIET_SECONDS, seconds.max(2 * QUIET_SECONDS) / 2);
        plan.active = vec![(from, seconds + 1)];
        plugins.push(plan);
    }
    plugins.extend(healthy.iter().map(of));
    plugins.sort_by(|a, b| a.plugin.cmp(&b.plugin));
    Ok(Plan {
        plugins,
        load: Load {
            shape: shape.unwrap_or(LoadShape::Steady),
            requests_per_second,
            day_seconds: DAY,
        },
        seconds,
        scrape_seconds,
    })
}

fn of(candidate: &Candidate) -> PluginPlan {
    PluginPlan {
        plugin: candidate.id.clone(),
        settings: Vec::new(),
        inactive: Inactive::Fixed,
        active: Vec::new(),
    }
}

/// One episode of a bug for every two days or part of them: each lasts 3 to 30 hours, and there is
/// time between them.
fn episodes(random: &mut Random, seconds: u64) -> Vec<(u64, u64)> {
    let count = seconds.div_ceil(2 * DAY).max(1);
    let part = seconds.saturating_sub(QUIET_SECONDS) / count;
    let episodes = (0..count).map(|number| {
        let start = QUIET_SECONDS + number * part;
        let onset = start + random.within(0, part / 3);
        let longest = (part - part / 3).min(30 * 3600);
        let lasts = random.within((3 * 3600).min(longest / 2), longest);
        (onset, onset + lasts.max(1))
    });
    episodes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates() -> Vec<Candidate> {
        let candidate = |(number, title): (usize, &str)| Candidate {
            id: format!("p{number}"),
            title: title.to_owned(),
            payload_bytes: 4096,
            grows: true,
        };
        let titles = ["Leak"; 8].into_iter().chain(["Decoy: x"; 4]);
        titles.enumerate().map(candidate).collect()
    }

    fn plan_of(seed: u64, days: u64) -> Plan {
        plan(&mut Random::new(seed), &candidates(), days, 5, 0.5, None).unwrap()
    }

    #[test]
    fn the_same_seed_chooses_the_same_and_another_one_does_not() {
        let text = |seed| format!("{:?}", plan_of(seed, 7));
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
        // Known numbers of SplitMix64.
        assert_eq!(Random::new(1_234_567).next(), 6_457_827_717_110_365_317);
    }

    #[test]
    fn episodes_are_in_order_within_the_time_and_do_not_overlap() {
        for seed in 0..50 {
            for days in [1, 2, 7, 30] {
                let plan = plan_of(seed, days);
                assert_eq!(plan.plugins.len(), 7);
                for plugin in &plan.plugins {
                    let times: Vec<u64> =
                        plugin.active.iter().flat_map(|(a, b)| [*a, *b]).collect();
                    assert!(times.is_sorted(), "{times:?}");
                    assert!(times.first().is_none_or(|first| *first >= QUIET_SECONDS));
                    assert!(times.last().is_none_or(|last| *last <= plan.seconds + 1));
                }
            }
        }
    }

    #[test]
    fn a_bug_that_does_not_grow_at_this_load_is_not_chosen() {
        let mut all = candidates();
        for candidate in all.iter_mut().skip(1) {
            candidate.grows = false;
        }
        let plan = plan(&mut Random::new(1), &all, 1, 5, 0.5, None).unwrap();
        let names: Vec<&str> = plan.plugins.iter().map(|p| p.plugin.as_str()).collect();
        assert_eq!(
            names
                .iter()
                .filter(|name| **name < "p8" && name.len() == 2)
                .count(),
            1
        );
    }

    #[test]
    fn without_a_leak_there_is_no_dataset() {
        let decoys = candidates().split_off(8);
        let error = plan(&mut Random::new(1), &decoys, 1, 5, 0.5, None).unwrap_err();
        assert!(error.to_string().contains("no plugin leaks"));
    }
}
