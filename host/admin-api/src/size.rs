//! Sizes as the API gives them: mebibytes for people, bytes beside them for programs.

/// Bytes in MiB.
pub(super) fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// Signed bytes in MiB.
pub(super) fn signed_mb(bytes: i64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// `after - before`, for sizes that fit 63 bits.
pub(super) fn difference(after: u64, before: u64) -> i64 {
    i64::try_from(i128::from(after) - i128::from(before)).unwrap_or(0)
}
