//! Measures what a bug costs while it is active.

use plugin_host::driver::published_state::PluginReading;

use crate::plan::PluginPlan;
use crate::scrape::PROCESS_LIMIT_BYTES;
use crate::truth::{RestartCause, Role, Truth};

/// A plugin at one time.
#[derive(Debug, Clone, Copy)]
struct Point {
    second: u64,
    requests: u64,
    live: u64,
    linear: u64,
}

impl Point {
    fn of(second: u64, reading: &PluginReading) -> Self {
        Self {
            second,
            requests: reading.requests,
            live: reading.heap_live.unwrap_or_default(),
            linear: reading.linear.bytes,
        }
    }
}

/// The growth of one plugin in the first process in which its bug is active.
#[derive(Debug)]
pub(super) struct Measured {
    plugin: String,
    role: Role,
    onset: Option<u64>,
    end: Option<u64>,
    first: Option<Point>,
    last: Option<Point>,
    /// Resident memory of the process at the onset, in bytes.
    resident: u64,
    /// Whether nothing more is measured: the first process is gone, or the bug has ended.
    is_complete: bool,
    limit_reached: Option<u64>,
    was_deployed: bool,
}

impl Measured {
    pub(super) fn new(title: &str, plan: &PluginPlan) -> Self {
        let role = match plan.onset() {
            None => Role::Healthy,
            Some(_) => Role::of_title(title),
        };
        Self {
            plugin: plan.plugin.clone(),
            role,
            onset: plan.onset(),
            end: plan.end(),
            first: None,
            last: None,
            resident: 0,
            is_complete: false,
            limit_reached: None,
            was_deployed: false,
        }
    }

    /// The bug becomes active, in a process with these resident bytes.
    pub(super) fn begin(&mut self, second: u64, reading: &PluginReading, resident: u64) {
        if self.first.is_none() {
            self.resident = resident;
            self.first = Some(Point::of(second, reading));
        }
    }

    /// The bug is not active any more.
    pub(super) fn pause(&mut self) {
        self.is_complete |= self.last.is_some();
    }

    pub(super) fn record(&mut self, second: u64, reading: &PluginReading) {
        if !self.is_complete {
            self.last = Some(Point::of(second, reading));
        }
    }

    pub(super) fn restart(&mut self, second: u64, cause: RestartCause) {
        if self.first.is_none() {
            return;
        }
        self.is_complete = true;
        match cause {
            RestartCause::Killed => {
                self.limit_reached.get_or_insert(second);
            }
            RestartCause::Deployed => self.was_deployed = true,
        }
    }

    /// What was measured, at the end of a simulation of this length.
    pub(super) fn truth(&self, seconds: u64) -> Truth {
        let growth = self.first.zip(self.last);
        let per_request = |bytes: fn(&Point) -> u64| {
            growth.map_or(0.0, |(first, last)| {
                let requests = last.requests.saturating_sub(first.requests).max(1);
                bytes(&last).saturating_sub(bytes(&first)) as f64 / requests as f64
            })
        };
        let seconds_to_limit = growth
            .filter(|_| self.role == Role::Leak)
            .and_then(|(first, last)| seconds_to_limit(first, last, self.resident));
        let is_expected = self.limit_reached.is_none() && !self.was_deployed;
        let after_onset = |seconds: u64| self.onset?.checked_add(seconds);
        Truth {
            plugin: self.plugin.clone(),
            role: self.role,
            onset: self.onset,
            end: self.end.unwrap_or(seconds).min(seconds),
            limit_reached: self.limit_reached,
            limit_expected: seconds_to_limit
                .filter(|_| is_expected)
                .and_then(after_onset),
            seconds_to_limit,
            bytes_per_request: per_request(|point| point.live),
            linear_per_request: per_request(|point| point.linear),
        }
    }
}

/// Seconds from the first point until the process reaches its limit, if linear memory goes on
/// growing at its mean rate. `None` if it does not grow.
fn seconds_to_limit(first: Point, last: Point, resident: u64) -> Option<u64> {
    let seconds = last.second.checked_sub(first.second)?;
    let grown = last
        .linear
        .checked_sub(first.linear)
        .filter(|bytes| *bytes > 0)?;
    let left = PROCESS_LIMIT_BYTES.checked_sub(resident)?;
    let until = u128::from(left) * u128::from(seconds) / u128::from(grown);
    u64::try_from(until).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Inactive;

    fn reading(requests: u64, bytes: u64) -> PluginReading {
        let mut reading = PluginReading::default();
        reading.requests = requests;
        reading.heap_live = Some(bytes);
        reading.linear.bytes = bytes;
        reading
    }

    fn measured(title: &str) -> Measured {
        let plan = PluginPlan {
            plugin: "cache".to_owned(),
            settings: Vec::new(),
            inactive: Inactive::Fixed,
            active: vec![(100, 1000)],
        };
        let mut measured = Measured::new(title, &plan);
        measured.begin(100, &reading(50, 1 << 20), PROCESS_LIMIT_BYTES - 1_500_000);
        measured.record(200, &reading(150, (1 << 20) + 500_000));
        measured
    }

    #[test]
    fn growth_is_measured_in_the_first_process() {
        let mut of_cache = measured("Unbounded cache");
        of_cache.restart(201, RestartCause::Killed);
        of_cache.record(300, &reading(10, 99 << 20));
        of_cache.restart(900, RestartCause::Killed);
        let truth = of_cache.truth(1000);
        assert_eq!(truth.bytes_per_request, 5000.0);
        assert_eq!((truth.role, truth.onset), (Role::Leak, Some(100)));
        assert_eq!((truth.limit_reached, truth.end), (Some(201), 1000));
    }

    #[test]
    fn a_limit_that_is_not_reached_is_expected_at_the_mean_growth() {
        let truth = measured("x").truth(1000);
        assert_eq!(truth.seconds_to_limit, Some(300));
        assert_eq!(truth.limit_expected, Some(400));
        let mut deployed = measured("x");
        deployed.restart(300, RestartCause::Deployed);
        let truth = deployed.truth(1000);
        assert_eq!(
            (truth.limit_expected, truth.seconds_to_limit),
            (None, Some(300))
        );
        assert!(!truth.is_out_of_reach());
        let decoy = measured("Decoy: x").truth(1000);
        assert_eq!((decoy.role, decoy.limit_expected), (Role::Decoy, None));
        assert!(decoy.is_out_of_reach());
    }
}
