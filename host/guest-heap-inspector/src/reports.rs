//! The answers of the endpoints, as data. The page shows the same.

pub(crate) mod diff;
pub(crate) mod guest;
pub(crate) mod handles;
pub(crate) mod history;
pub(crate) mod metrics;
pub(crate) mod snapshot;
pub(crate) mod source;

/// `bytes / count`; `None` for a count of 0.
fn per(bytes: i64, count: u64) -> Option<f64> {
    (count > 0).then(|| bytes as f64 / count as f64)
}
