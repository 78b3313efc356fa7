//! Durations in JSON: seconds as a number.

use std::time::Duration;

use serde::Serializer;

/// Serializes a duration as a number of seconds.
pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(value.as_secs_f64())
}

/// `12:05`, or `1:02:05` from one hour on.
pub(crate) fn clock(seconds: f64) -> String {
    let all = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_hours_only_if_it_needs_them() {
        assert_eq!(clock(5.4), "0:05");
        assert_eq!(clock(725.0), "12:05");
        assert_eq!(clock(3725.0), "1:02:05");
    }
}
