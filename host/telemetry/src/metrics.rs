//! Metric families, and the formats that show them: Prometheus text, OpenMetrics, OTLP.
//!
//! Each crate registers its own typed struct of metrics on the [`MetricsRegistry`] that it
//! receives. There is no global registry and no lookup by name: code on the request path holds
//! resolved handles. Label values come from closed sets (plugins, routes, methods, statuses, the
//! source lines that grow most), never from a request.

mod exemplar;
mod exposition;
pub mod family;
mod format;
mod http;
mod openmetrics;
mod registry;
mod text;
mod traced_histogram;

pub use exemplar::Exemplar;
pub use exposition::Exposition;
pub use http::DURATION_BUCKETS_SECONDS;
pub use http::HttpMetrics;
pub(crate) use http::method_label;
pub use registry::MetricsRegistry;

/// Converts a count to the value of a gauge. Prometheus gauges are signed; a larger count becomes
/// `i64::MAX`.
pub fn gauge_value(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
