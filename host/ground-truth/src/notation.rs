//! Samples in promtool's notation.

use std::fmt;

/// Samples of one series. `a+bxn` is a value and `n` more, each larger by `b` than the one before.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a>(pub &'a [u64]);

impl fmt::Display for Samples<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut separator = "";
        while let [first, tail @ ..] = rest {
            let step = tail.first().map(|next| difference(*first, *next));
            let same = rest
                .windows(2)
                .take_while(|pair| matches!(pair, [a, b] if Some(difference(*a, *b)) == step))
                .count();
            f.write_str(separator)?;
            match step {
                Some(0) if same > 1 => write!(f, "{first}x{same}")?,
                Some(step) if same > 1 => write!(f, "{first}{step:+}x{same}")?,
                _ => write!(f, "{first}")?,
            }
            let used = if same > 1 { same + 1 } else { 1 };
            rest = rest.get(used..).unwrap_or_default();
            separator = " ";
        }
        Ok(())
    }
}

/// Samples of a series that a scrape can miss. Prometheus marks the series as stale at the first
/// scrape without it, and has no sample at the others.
#[derive(Debug, Clone, Copy)]
pub struct SamplesWithGaps<'a>(pub &'a [Option<u64>]);

impl fmt::Display for SamplesWithGaps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut was_present = false;
        let present = |a: &Option<u64>, b: &Option<u64>| a.is_some() == b.is_some();
        for part in self.0.chunk_by(present) {
            f.write_str(separator)?;
            separator = " ";
            let values: Vec<u64> = part.iter().flatten().copied().collect();
            if values.is_empty() {
                let first = if was_present { "stale" } else { "_" };
                f.write_str(first)?;
                for _ in part.iter().skip(1) {
                    f.write_str(" _")?;
                }
            } else {
                Samples(&values).fmt(f)?;
            }
            was_present = !values.is_empty();
        }
        Ok(())
    }
}

fn difference(from: u64, to: u64) -> i128 {
    i128::from(to) - i128::from(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_short_and_single_values_stay_as_they_are() {
        let text = |samples: &[u64]| Samples(samples).to_string();
        assert_eq!(text(&[5, 5, 5, 9]), "5x2 9");
        assert_eq!(text(&[1, 3, 5, 4, 3, 2]), "1+2x2 4-1x2");
        assert_eq!(text(&[1, 8]), "1 8");
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn a_series_ends_with_a_stale_marker_and_begins_again() {
        let text = |samples: &[Option<u64>]| SamplesWithGaps(samples).to_string();
        assert_eq!(
            text(&[None, Some(5), Some(5), Some(5), None, None, Some(1)]),
            "_ 5x2 stale _ 1"
        );
        assert_eq!(text(&[Some(7), None]), "7 stale");
        assert_eq!(text(&[]), "");
    }
}
