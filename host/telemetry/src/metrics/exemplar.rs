//! Exemplars: observations of a histogram with their traces. OpenMetrics shows them, and Grafana
//! draws each as a point that links to its trace.

use std::time::SystemTime;

use opentelemetry::trace::TraceId;

/// One observation and its trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// The trace, which is recorded.
    pub trace_id: TraceId,
    /// The observation, in the unit of the histogram.
    pub value: f64,
    /// When it was made.
    pub at: SystemTime,
}
