//! The range of the true number of live bytes.

use std::fmt;

use crate::numbers::grouped;

/// The range of the true number of live bytes: see
/// [`Coverage::live_range`](super::Coverage::live_range).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveRange {
    /// Bytes that are live for certain.
    pub at_least: u64,
    /// Bytes that can be live; `None` if there is no bound.
    pub at_most: Option<u64>,
}

impl LiveRange {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        at_least: 0,
        at_most: None,
    };

    /// Whether the number is known to the byte.
    pub fn is_exact(&self) -> bool {
        self.at_most == Some(self.at_least)
    }

    /// Whether the true number may be this one.
    pub fn contains(&self, bytes: u64) -> bool {
        self.at_least <= bytes && self.at_most.is_none_or(|most| bytes <= most)
    }
}

/// The range in words, such as `between 5 and 1,000 bytes`.
impl fmt::Display for LiveRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = grouped(self.at_least);
        match self.at_most.map(grouped) {
            Some(most) if self.is_exact() => write!(f, "{most} bytes"),
            Some(most) if self.at_least == 0 => write!(f, "at most {most} bytes"),
            Some(most) => write!(f, "between {least} and {most} bytes"),
            None if self.at_least == 0 => f.write_str("an unknown number of bytes"),
            None => write!(f, "at least {least} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_said_in_words() {
        for (at_least, at_most, words) in [
            (7, Some(7), "7 bytes"),
            (0, Some(1000), "at most 1,000 bytes"),
            (5, Some(1000), "between 5 and 1,000 bytes"),
            (5, None, "at least 5 bytes"),
            (0, None, "an unknown number of bytes"),
        ] {
            assert_eq!(LiveRange { at_least, at_most }.to_string(), words);
        }
    }

    #[test]
    fn a_range_includes_its_bounds() {
        let range = LiveRange {
            at_least: 5,
            at_most: Some(7),
        };
        let contained: Vec<u64> = (0..10).filter(|bytes| range.contains(*bytes)).collect();
        assert_eq!(contained, [5, 6, 7]);
        assert!(LiveRange::UNKNOWN.contains(u64::MAX));
    }
}
