//! The page of a scrape, in the text format that the scraper accepts.

use std::sync::Arc;

use super::family::AnyFamily;
use super::{openmetrics, text};

/// Prometheus's text format, version 0.0.4.
pub(crate) const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// OpenMetrics, version 1.0.0.
pub(crate) const OPENMETRICS_TEXT: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A rendered page of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposition {
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The text of the page.
    pub body: String,
}

impl Exposition {
    /// Renders the families in the format that `accept` prefers. `expected_bytes` is an estimate of
    /// the page's length.
    pub(super) fn negotiate(
        families: &[Arc<dyn AnyFamily>],
        accept: Option<&str>,
        expected_bytes: usize,
    ) -> Self {
        let page = String::with_capacity(expected_bytes + expected_bytes / 8);
        if accept.is_some_and(prefers_openmetrics) {
            return Self {
                content_type: OPENMETRICS_TEXT,
                body: openmetrics::encode(page, families),
            };
        }
        Self {
            content_type: PROMETHEUS_TEXT,
            body: text::encode(page, families),
        }
    }
}

/// Whether `accept` names OpenMetrics with at least the quality of plain text (RFC 9110, section
/// 12.5.1).
fn prefers_openmetrics(accept: &str) -> bool {
    let quality_of = |wanted: &str| {
        accept
            .split(',')
            .filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                if !parts.next()?.eq_ignore_ascii_case(wanted) {
                    return None;
                }
                let quality = parts
                    .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
                Some(quality.map_or(1.0, |quality| quality.parse::<f64>().unwrap_or(0.0)))
            })
            .fold(0.0, f64::max)
    };
    let openmetrics = quality_of("application/openmetrics-text");
    openmetrics > 0.0 && openmetrics >= quality_of("text/plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_only_when_accepted_at_least_like_text() {
        for (accept, openmetrics) in [
            // What Prometheus sends.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                true,
            ),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; version=1.0.0", true),
            ("text/plain;q=0.5, application/openmetrics-text;q=0.5", true),
            ("text/plain, application/openmetrics-text;q=0.5", false),
            ("application/openmetrics-text;q=0", false),
            ("text/plain", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(prefers_openmetrics(accept), openmetrics, "{accept}");
        }
    }
}
