//! How long the simulations of the scorer last.

use std::fmt;

/// The lengths of a simulation, and its load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeScale {
    /// `lesson` or `production`.
    pub name: &'static str,
    /// Seconds between two scrapes.
    pub scrape_seconds: u64,
    /// Seconds in a day of the load.
    pub day_seconds: u64,
    /// Seconds before the onset, in which nothing leaks.
    pub healthy_seconds: u64,
    /// Seconds from the onset to the end.
    pub leak_seconds: u64,
    /// How long after the end of a leak an alert about it is still true, in seconds.
    pub grace_seconds: u64,
    /// Mean of the requests per second.
    pub requests_per_second: f64,
}

impl TimeScale {
    /// For rules with windows of seconds: an hour, with a day of 20 minutes.
    pub const LESSON: Self = Self {
        name: "lesson",
        scrape_seconds: 5,
        day_seconds: 1200,
        healthy_seconds: 1200,
        leak_seconds: 2400,
        grace_seconds: 300,
        requests_per_second: 20.0,
    };

    /// For rules with windows of minutes and hours: a day without a leak, and half a day with it.
    pub const PRODUCTION: Self = Self {
        name: "production",
        scrape_seconds: 60,
        day_seconds: 86_400,
        healthy_seconds: 86_400,
        leak_seconds: 43_200,
        grace_seconds: 3600,
        requests_per_second: 1.0,
    };

    /// Both scales.
    pub const ALL: [Self; 2] = [Self::LESSON, Self::PRODUCTION];

    /// The scale with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scale| scale.name == name)
    }

    /// The scale for rules that are evaluated this often. Rules for a lesson are evaluated every
    /// few seconds, and those for production two to four times a minute.
    pub fn for_interval(seconds: Option<u64>) -> Self {
        match seconds {
            Some(0..=10) => Self::LESSON,
            _ => Self::PRODUCTION,
        }
    }
}

impl fmt::Display for TimeScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_are_evaluated_often_are_for_a_lesson() {
        assert_eq!(TimeScale::for_interval(Some(5)), TimeScale::LESSON);
        assert_eq!(TimeScale::for_interval(Some(30)), TimeScale::PRODUCTION);
        assert_eq!(TimeScale::for_interval(None), TimeScale::PRODUCTION);
        assert_eq!(TimeScale::from_name("lesson"), Some(TimeScale::LESSON));
    }
}
