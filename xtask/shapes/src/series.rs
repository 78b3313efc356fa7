//! Samples in promtool's notation.

use std::fmt;

/// Samples of a gauge. `a+bxn` is a value and `n` more, each larger by `b` than the one before.
pub(crate) struct Samples<'a>(pub(crate) &'a [u64]);

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
}
