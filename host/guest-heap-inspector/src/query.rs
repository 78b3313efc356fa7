//! The values of query parameters, and their ranges.

use std::time::Duration;

use guest_heap::flamegraph::Libraries;
use guest_heap::history::WINDOW;
use guest_heap::snapshot::GroupBy;

/// The largest `limit`.
pub const MAX_ROWS: usize = 1000;

/// A parameter whose value is out of range, or that cannot be combined with another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {accepts}")]
pub struct InvalidParameter {
    /// The name of the parameter.
    pub name: &'static str,
    /// The values that it takes.
    pub accepts: &'static str,
}

/// The number of rows; `default` without a value.
///
/// # Errors
///
/// When it is not a whole number from 1 to [`MAX_ROWS`].
pub fn limit(value: Option<&str>, default: usize) -> Result<usize, InvalidParameter> {
    match value.map(str::parse) {
        None => Ok(default),
        Some(Ok(limit)) if (1..=MAX_ROWS).contains(&limit) => Ok(limit),
        Some(_) => Err(InvalidParameter {
            name: "limit",
            accepts: "takes a whole number from 1 to 1000",
        }),
    }
}

/// The property that the blocks of one row have in common; the line without a value.
///
/// # Errors
///
/// When the value is none of the four names.
pub fn group_by(value: Option<&str>) -> Result<GroupBy, InvalidParameter> {
    match value {
        None | Some("line") => Ok(GroupBy::Line),
        Some("function") => Ok(GroupBy::Function),
        Some("file") => Ok(GroupBy::File),
        Some("trace") => Ok(GroupBy::Trace),
        Some(_) => Err(InvalidParameter {
            name: "group_by",
            accepts: "takes line, function, file or trace",
        }),
    }
}

/// How a flame graph draws frames of libraries; folded without a value.
///
/// # Errors
///
/// When the value is neither `folded` nor `shown`.
pub fn libraries(value: Option<&str>) -> Result<Libraries, InvalidParameter> {
    match value {
        None | Some("folded") => Ok(Libraries::Folded),
        Some("shown") => Ok(Libraries::Shown),
        Some(_) => Err(InvalidParameter {
            name: "libraries",
            accepts: "takes folded or shown",
        }),
    }
}

/// A time in the past, such as `30s` or `5m`.
///
/// # Errors
///
/// When it is not a time of 1 s to 15 min. The error has this `name`.
pub fn ago(name: &'static str, value: &str) -> Result<Duration, InvalidParameter> {
    let invalid = InvalidParameter {
        name,
        accepts: "takes 1s to 15m, as in 30s or 5m",
    };
    let digits = value.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = value.split_at(digits.unwrap_or(value.len()));
    let number: u64 = number.parse().map_err(|_| invalid)?;
    let seconds = match unit {
        "s" => Some(number),
        "m" => number.checked_mul(60),
        _ => None,
    };
    let ago = seconds.map(Duration::from_secs).ok_or(invalid)?;
    if (Duration::from_secs(1)..=WINDOW).contains(&ago) {
        Ok(ago)
    } else {
        Err(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_the_past_is_at_most_fifteen_minutes() {
        assert_eq!(ago("since", "5m").unwrap(), Duration::from_secs(300));
        assert_eq!(ago("since", "900s").unwrap(), WINDOW);
        for wrong in [
            "",
            "5",
            "0s",
            "16m",
            "-5m",
            "5h",
            "m",
            "99999999999999999999m",
            "307445734561825861m",
        ] {
            let error = ago("since", wrong).unwrap_err();
            assert_eq!(error.name, "since", "{wrong:?}");
        }
    }
}
