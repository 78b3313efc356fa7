//! A number and its limit.

/// A number with its unit, and the limit that it must not exceed.
#[derive(Debug)]
pub(crate) struct Measurement {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// None for a number that is shown for comparison only.
    limit: Option<f64>,
}

impl Measurement {
    pub(crate) fn limited(name: &'static str, value: f64, unit: &'static str, limit: f64) -> Self {
        Self {
            name,
            value,
            unit,
            limit: Some(limit),
        }
    }

    pub(crate) fn shown(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self {
            name,
            value,
            unit,
            limit: None,
        }
    }

    fn is_within(&self) -> bool {
        self.limit.is_none_or(|limit| self.value <= limit)
    }

    fn line(&self) -> String {
        let Self {
            name,
            value,
            unit,
            limit,
        } = self;
        let verdict = match limit {
            None => String::new(),
            Some(limit) if self.is_within() => format!("  (limit {limit} {unit}: ok)"),
            Some(limit) => format!("  (limit {limit} {unit}: EXCEEDED)"),
        };
        format!("{name:<52} {value:>8.1} {unit}{verdict}")
    }
}

/// Prints each number next to its limit. False when one exceeds it.
pub(crate) fn print(measurements: &[Measurement]) -> bool {
    println!();
    for measurement in measurements {
        println!("{}", measurement.line());
    }
    measurements.iter().all(Measurement::is_within)
}

/// The median, and of an even number of values the upper of the two in the middle. NaN of none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_over_its_limit_is_marked() {
        let at = |value| Measurement::limited("start", value, "ms", 150.0);
        assert!(at(150.0).is_within());
        assert!(!at(150.1).is_within());
        assert!(at(150.1).line().ends_with("EXCEEDED)"));
        assert!(Measurement::shown("start", 150.1, "ms").is_within());
    }

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert!(median([].into_iter()).is_nan());
    }
}
