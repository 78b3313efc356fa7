//! The score of one alert over all trials.

use serde::Serialize;

use crate::score::{AlertScore, LeakScore};

/// How an alert did over all trials. Times are seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The name of the alert.
    pub alert: String,
    /// The number of leaks.
    pub leaks: usize,
    /// Leaks that it reported before the memory limit was reached.
    pub found: usize,
    /// Leaks that it reported only after that.
    pub late: usize,
    /// Leaks that it never reported.
    pub missed: usize,
    /// The missed leaks whose limit is more than two days away, or whose memory does not grow.
    pub missed_out_of_reach: usize,
    /// Time from the onset to the alert: the median over the leaks that it reported.
    pub median_seconds_to_detect: Option<u64>,
    /// The longest of these times.
    pub max_seconds_to_detect: Option<u64>,
    /// Time from the alert to the limit: the median over the reported leaks that have one.
    pub median_lead_seconds: Option<i64>,
    /// The shortest of these times.
    pub min_lead_seconds: Option<i64>,
    /// How often it fired without a reason.
    pub false_alarms: usize,
    /// The same per day without a leak.
    pub false_alarms_per_day: f64,
    /// How often it was resolved and fired again while a leak went on.
    pub flaps: u64,
}

impl Summary {
    /// The summary of these scores. `days` is the time without a leak.
    pub fn of<'a>(
        alert: &str,
        scores: impl Iterator<Item = &'a AlertScore> + Clone,
        days: f64,
    ) -> Self {
        let leaks: Vec<&LeakScore> = scores.clone().flat_map(|score| &score.leaks).collect();
        let reported = || leaks.iter().filter(|leak| leak.seconds_to_detect.is_some());
        let late = |leak: &&&LeakScore| leak.lead_seconds.is_some_and(|lead| lead < 0);
        let late = reported().filter(late).count();
        let times: Vec<u64> = leaks.iter().filter_map(|l| l.seconds_to_detect).collect();
        let leads: Vec<i64> = leaks.iter().filter_map(|l| l.lead_seconds).collect();
        let false_alarms = scores.clone().map(|score| score.false_alarms.len()).sum();
        Self {
            alert: alert.to_owned(),
            leaks: leaks.len(),
            found: reported().count() - late,
            late,
            missed: leaks.len() - reported().count(),
            missed_out_of_reach: leaks
                .iter()
                .filter(|leak| leak.seconds_to_detect.is_none() && leak.out_of_reach)
                .count(),
            max_seconds_to_detect: times.iter().copied().max(),
            median_seconds_to_detect: median(times),
            min_lead_seconds: leads.iter().copied().min(),
            median_lead_seconds: median(leads),
            false_alarms,
            false_alarms_per_day: if days > 0.0 {
                false_alarms as f64 / days
            } else {
                0.0
            },
            flaps: scores.map(|score| score.flaps).sum(),
        }
    }
}

/// The middle value; of two, the larger one.
fn median<T: Copy + Ord>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leak(seconds_to_detect: Option<u64>, lead_seconds: Option<i64>) -> LeakScore {
        LeakScore {
            plugin: "cache".to_owned(),
            seconds_to_detect,
            lead_seconds,
            seconds_to_limit: None,
            out_of_reach: true,
        }
    }

    #[test]
    fn each_leak_is_found_late_or_missed() {
        let scores = [
            AlertScore {
                leaks: vec![leak(Some(60), Some(600)), leak(Some(900), Some(-10))],
                false_alarms: vec![5],
                flaps: 2,
            },
            AlertScore {
                leaks: vec![leak(None, None), leak(Some(120), None)],
                false_alarms: vec![7, 8],
                flaps: 0,
            },
        ];
        let summary = Summary::of("A", scores.iter(), 2.0);
        let counts = (summary.leaks, summary.found, summary.late, summary.missed);
        assert_eq!(counts, (4, 2, 1, 1));
        assert_eq!(summary.missed_out_of_reach, 1);
        assert_eq!(summary.median_seconds_to_detect, Some(120));
        assert_eq!(summary.min_lead_seconds, Some(-10));
        assert_eq!((summary.false_alarms_per_day, summary.flaps), (1.5, 2));
    }

    #[test]
    fn without_trials_there_is_nothing_to_report() {
        let summary = Summary::of("A", [].iter(), 0.0);
        assert_eq!((summary.leaks, summary.median_seconds_to_detect), (0, None));
        assert_eq!(summary.false_alarms_per_day, 0.0);
    }
}
