//! How many requests arrive, and when: steady, day and night, bursts, deploys, pauses.

use std::f64::consts::TAU;
use std::fmt;
use std::time::Duration;

/// The shape of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoadShape {
    /// The same rate all the time.
    Steady,
    /// The rate swings between a fifth and nine fifths of the mean, once per day.
    DayAndNight,
    /// Half of the mean most of the time, and eleven times as much in a twentieth of each hour. The
    /// mean is the same.
    Burst,
    /// The same rate, and once a day a new process with fresh instances.
    Deploy,
    /// The rate is a quarter higher, and a fifth of the time there is no load at all.
    Pause,
}

impl LoadShape {
    /// Every shape.
    pub const ALL: [Self; 5] = [
        Self::Steady,
        Self::DayAndNight,
        Self::Burst,
        Self::Deploy,
        Self::Pause,
    ];

    /// The word for it on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::DayAndNight => "day-and-night",
            Self::Burst => "burst",
            Self::Deploy => "deploy",
            Self::Pause => "pause",
        }
    }

    /// The shape with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.name() == name)
    }
}

impl fmt::Display for LoadShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A load: its shape, its mean rate, and how long its day is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// The shape.
    pub shape: LoadShape,
    /// The mean of the requests per second.
    pub requests_per_second: f64,
    /// Seconds in a day of the simulation, at least 60. For a lesson it is much shorter than a real
    /// one, so that the whole shape fits into the lesson.
    pub day_seconds: u64,
}

impl Load {
    /// The rate in the second that begins at `second`, in requests per second.
    pub fn rate(&self, second: u64) -> f64 {
        let day = self.day_seconds.max(60);
        let share = |period: u64| (second % period.max(1)) as f64 / period.max(1) as f64;
        self.requests_per_second
            * match self.shape {
                LoadShape::Steady | LoadShape::Deploy => 1.0,
                // The lowest rate is at midnight.
                LoadShape::DayAndNight => 1.0 - 0.8 * (TAU * share(day)).cos(),
                LoadShape::Burst if share(day / 24) >= 0.95 => 10.5,
                LoadShape::Burst => 0.5,
                LoadShape::Pause if share(day / 24) >= 0.8 => 0.0,
                LoadShape::Pause => 1.25,
            }
    }

    /// Whether a new process takes over at this second: at 6 o'clock.
    pub fn deploys_at(&self, second: u64) -> bool {
        let day = self.day_seconds.max(60);
        self.shape == LoadShape::Deploy && second % day == day / 4
    }

    /// The times of all requests, second by second: each item has those of one second.
    pub fn arrivals(&self) -> Arrivals {
        Arrivals {
            load: *self,
            second: 0,
            due: 0.0,
        }
    }
}

/// The requests of a load, second by second, without end.
#[derive(Debug, Clone)]
pub struct Arrivals {
    load: Load,
    second: u64,
    /// The part of a request that is due already.
    due: f64,
}

impl Iterator for Arrivals {
    type Item = Vec<Duration>;

    fn next(&mut self) -> Option<Self::Item> {
        self.due += self.load.rate(self.second);
        let count = self.due.floor();
        self.due -= count;
        let start = Duration::from_secs(self.second);
        // Rates are far below the largest u32.
        let count = count as u32;
        self.second += 1;
        let gap = Duration::from_secs(1)
            .checked_div(count)
            .unwrap_or_default();
        Some((0..count).map(|number| start + gap * number).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn load(shape: LoadShape) -> Load {
        Load {
            shape,
            requests_per_second: 0.4,
            day_seconds: DAY,
        }
    }

    #[test]
    fn every_shape_has_the_same_mean() {
        for shape in LoadShape::ALL {
            let arrivals = load(shape).arrivals().take(DAY as usize);
            let count: usize = arrivals.map(|second| second.len()).sum();
            let expected = 0.4 * DAY as f64;
            assert!((count as f64 - expected).abs() <= 2.0, "{shape}: {count}");
        }
    }

    #[test]
    fn shapes_differ_in_when_requests_arrive() {
        let in_hour = |shape, hour: usize| -> usize {
            let arrivals = load(shape).arrivals().skip(hour * 3600).take(3600);
            arrivals.map(|second| second.len()).sum()
        };
        assert!(in_hour(LoadShape::DayAndNight, 12) > 5 * in_hour(LoadShape::DayAndNight, 0));
        let silent = |shape: LoadShape| {
            let seconds = load(shape).arrivals().take(3600);
            let last = seconds.collect::<Vec<_>>();
            last.iter().rev().take_while(|s| s.is_empty()).count()
        };
        assert!(silent(LoadShape::Pause) >= 720);
        assert!(silent(LoadShape::Steady) < 5);
    }

    #[test]
    fn requests_are_in_order_and_a_deploy_comes_once_a_day() {
        let times: Vec<Duration> = load(LoadShape::Burst)
            .arrivals()
            .take(7200)
            .flatten()
            .collect();
        assert!(times.is_sorted());
        let deploys = |shape| (0..2 * DAY).filter(|s| load(shape).deploys_at(*s)).count();
        assert_eq!(deploys(LoadShape::Deploy), 2);
        assert_eq!(deploys(LoadShape::Steady), 0);
    }

    #[test]
    fn names_are_read_back() {
        for shape in LoadShape::ALL {
            assert_eq!(LoadShape::from_name(shape.name()), Some(shape));
        }
        assert_eq!(LoadShape::from_name("storm"), None);
    }
}
