//! When requests arrive and when samples are taken.

use std::time::Duration;

/// A time scale: that of the rules for lessons, or that of the rules for production.
#[derive(Debug)]
pub(crate) struct Scale {
    /// The file of its recordings.
    pub(crate) file: &'static str,
    /// Seconds between two samples.
    pub(crate) step_seconds: u64,
    /// The longest recording. One ends earlier when the memory limit of the process is reached.
    pub(crate) seconds: u64,
    /// With pauses: how long the load lasts, and how long it then pauses.
    busy_seconds: u64,
    pause_seconds: u64,
}

/// Both time scales.
pub(crate) const SCALES: &[Scale] = &[
    Scale {
        file: "lab.txt",
        step_seconds: 5,
        seconds: 20 * 60,
        busy_seconds: 60,
        pause_seconds: 20,
    },
    Scale {
        file: "production.txt",
        step_seconds: 60,
        seconds: 4 * 3600,
        busy_seconds: 20 * 60,
        pause_seconds: 5 * 60,
    },
];

/// Requests per second. With 5 KiB per request, a leak grows by 2, 10, 51 and 205 KB/s.
const RATES: [f64; 4] = [0.4, 2.0, 10.0, 40.0];

/// A load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) requests_per_second: f64,
    pub(crate) pauses: bool,
}

impl Load {
    /// Each rate, without and with pauses.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        RATES.into_iter().flat_map(|requests_per_second| {
            [false, true].map(|pauses| Self {
                requests_per_second,
                pauses,
            })
        })
    }

    /// The times of the requests since the start, without end. The recording begins with one step
    /// without load.
    pub(crate) fn times(self, scale: &Scale) -> impl Iterator<Item = Duration> {
        let pause = scale.pause_seconds;
        let busy = Duration::from_secs(scale.busy_seconds);
        let start = Duration::from_secs(scale.step_seconds);
        let gap = Duration::from_secs_f64(1.0 / self.requests_per_second);
        (0_u32..).map(move |number| {
            // The time if there were no pauses.
            let at = gap * number;
            let pauses = if self.pauses {
                at.as_nanos() / busy.as_nanos()
            } else {
                0
            };
            start + at + Duration::from_secs(pause) * u32::try_from(pauses).unwrap_or(u32::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_moves_all_later_requests() {
        let scale = &SCALES[0];
        let load = |pauses| Load {
            requests_per_second: 2.0,
            pauses,
        };
        let seconds = |pauses, number| {
            let time = load(pauses).times(scale).nth(number).unwrap();
            time.as_secs_f64()
        };
        assert_eq!(seconds(false, 119), 64.5);
        assert_eq!(seconds(false, 120), 65.0);
        assert_eq!(seconds(true, 119), 64.5);
        assert_eq!(seconds(true, 120), 85.0);
    }
}
