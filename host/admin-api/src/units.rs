//! Sizes in answers: mebibytes in `*_mb` for people, bytes in `*_bytes` for programs.

/// Bytes as MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// A signed number of bytes as MiB.
pub(crate) fn signed_mib(bytes: i64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// `after - before`; 0 if the difference does not fit an `i64`.
pub(crate) fn difference(after: u64, before: u64) -> i64 {
    i64::try_from(i128::from(after) - i128::from(before)).unwrap_or(0)
}
