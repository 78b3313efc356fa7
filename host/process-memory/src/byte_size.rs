//! Sizes as people type them: `256MiB`, `256M`, `268435456`.
//!
//! All suffixes are binary, as in Docker and in the kernel's cgroup files. A limit that is copied
//! from a compose file (`mem_limit: 256M`) means the same number of bytes here. General parsers
//! read `M` as a million, so the host has its own.

use std::fmt;
use std::str::FromStr;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// A number of bytes, greater than zero when parsed from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// The reason why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ByteSizeError {
    /// The text does not start with a number.
    #[error("`{0}` is not a size: write a number of bytes or a size such as 256MiB")]
    NoNumber(String),
    /// The suffix is unknown.
    #[error("`{suffix}` in `{text}` is not a unit: use B, KiB, MiB, GiB or TiB (or K, M, G, T)")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The text after the number.
        suffix: String,
    },
    /// The size is zero.
    #[error("a size must be greater than zero")]
    Zero,
    /// More than 2^64 − 1 bytes.
    #[error("`{0}` is larger than any memory")]
    TooLarge(String),
}

impl ByteSize {
    /// A size of this many bytes. Zero is allowed here.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    /// Reads a decimal number, whole or with a fraction, and an optional binary unit in any case.
    ///
    /// # Errors
    ///
    /// Names the part that is not understood. Zero and sizes beyond 64 bits are refused too.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let end = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, suffix) = trimmed.split_at(end);
        let suffix = suffix.trim();
        let unit = match suffix.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => KIB,
            "m" | "mb" | "mib" => MIB,
            "g" | "gb" | "gib" => GIB,
            "t" | "tb" | "tib" => TIB,
            _ if number.is_empty() => return Err(ByteSizeError::NoNumber(text.to_owned())),
            _ => {
                return Err(ByteSizeError::UnknownUnit {
                    text: text.to_owned(),
                    suffix: suffix.to_owned(),
                });
            }
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.contains('.') {
            return Err(ByteSizeError::NoNumber(text.to_owned()));
        }
        let too_large = || ByteSizeError::TooLarge(text.to_owned());
        let whole = whole.parse::<u64>().map_err(|_| too_large())?;
        let bytes = whole
            .checked_mul(unit)
            .and_then(|bytes| bytes.checked_add(fraction_of(fraction, unit)))
            .ok_or_else(too_large)?;
        if bytes == 0 {
            Err(ByteSizeError::Zero)
        } else {
            Ok(Self(bytes))
        }
    }
}

/// The bytes of `0.<digits>` of a unit, rounded down. Digits after the ninth are ignored: they are
/// less than a byte of any size that fits a machine.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let mut scale = 1_u128;
    let mut value = 0_u128;
    for digit in digits.chars().take(9).filter_map(|c| c.to_digit(10)) {
        scale *= 10;
        value = value * 10 + u128::from(digit);
    }
    u64::try_from(value * u128::from(unit) / scale).unwrap_or(0)
}

impl fmt::Display for ByteSize {
    /// One decimal in the largest binary unit that gives at least one: `256.0 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            TIB.. => (TIB, "TiB"),
            GIB.. => (GIB, "GiB"),
            MIB.. => (MIB, "MiB"),
            KIB.. => (KIB, "KiB"),
            _ => return write!(f, "{} B", self.0),
        };
        write!(f, "{:.1} {name}", self.0 as f64 / unit as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_spellings_are_read() {
        for (text, bytes) in [
            ("256MiB", 256 * MIB),
            ("256M", 256 * MIB),
            ("256m", 256 * MIB),
            ("256 MB", 256 * MIB),
            (" 268435456 ", 256 * MIB),
            ("1b", 1),
            ("1.5GiB", 3 * GIB / 2),
            ("0.5k", 512),
            ("2T", 2 * TIB),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_part_that_is_not_understood() {
        for (text, message) in [
            (
                "",
                "`` is not a size: write a number of bytes or a size such as 256MiB",
            ),
            (
                "MiB",
                "`MiB` is not a size: write a number of bytes or a size such as 256MiB",
            ),
            (
                "lots",
                "`lots` is not a size: write a number of bytes or a size such as 256MiB",
            ),
            (
                "-1M",
                "`-1M` is not a size: write a number of bytes or a size such as 256MiB",
            ),
            (
                "1.2.3M",
                "`1.2.3M` is not a size: write a number of bytes or a size such as 256MiB",
            ),
            (
                ".5M",
                "`.5M` is not a size: write a number of bytes or a size such as 256MiB",
            ),
            (
                "12XB",
                "`XB` in `12XB` is not a unit: use B, KiB, MiB, GiB or TiB (or K, M, G, T)",
            ),
            ("0", "a size must be greater than zero"),
            ("0.0001k", "a size must be greater than zero"),
            ("99999999T", "`99999999T` is larger than any memory"),
            (
                "99999999999999999999",
                "`99999999999999999999` is larger than any memory",
            ),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn sizes_are_shown_with_one_decimal() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (269_798_605, "257.3 MiB"),
            (3 * GIB / 2, "1.5 GiB"),
            (TIB, "1.0 TiB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
