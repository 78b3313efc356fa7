//! Metric families, and the formats that show them: Prometheus text, OpenMetrics, OTLP.
//!
//! Each crate registers its own typed struct of metrics on the [`MetricsRegistry`] that it is given.
//! There is no global registry and no lookup by name: code on the request path holds resolved
//! handles. Label values come from closed sets (plugins, routes, methods, statuses, the source lines
//! that grow most), never from a request.

mod exposition;
pub mod family;
mod http;
mod openmetrics;
mod registry;
mod text;

pub use exposition::Exposition;
pub use http::DURATION_BUCKETS;
pub use http::HttpMetrics;
pub(crate) use http::method_label;
pub use registry::MetricsRegistry;

/// Converts a count to a gauge's value. Prometheus gauges are signed, and no count comes near 2^63.
pub fn gauge_value(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
