//! HTTP requests by method, route and status.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::{Method, StatusCode};
use opentelemetry::trace::TraceId;
use prometheus::IntCounter;

use super::family::{Family, MetricDesc};
use super::registry::MetricsRegistry;
use super::traced_histogram::TracedHistogram;

/// Upper bounds in seconds. A response without leaks takes about 100 µs. A response that waits for
/// the deadline of a plugin takes a quarter of a second.
pub const DURATION_BUCKETS_SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0,
];

/// The label of every method that HTTP does not define, so that a client cannot create series.
const OTHER_METHOD: &str = "_OTHER";

/// `http_requests_total` and `http_request_duration_seconds`.
#[derive(Debug)]
pub struct HttpMetrics {
    requests: Family<IntCounter>,
    durations: Family<TracedHistogram>,
    /// Resolved handles by route. Reads take no lock. A new combination replaces the map.
    resolved: ArcSwap<HashMap<Box<str>, Arc<RouteHandles>>>,
}

type RouteHandles = HashMap<(&'static str, StatusCode), Handles>;

#[derive(Debug, Clone)]
struct Handles {
    requests: IntCounter,
    duration: TracedHistogram,
}

impl HttpMetrics {
    /// Registers the two families; `service` is a constant label of both.
    ///
    /// # Errors
    ///
    /// When the registry already has a family with one of the names.
    pub fn register(registry: &MetricsRegistry, service: &str) -> Result<Self, prometheus::Error> {
        let desc = |name, help| {
            let desc = MetricDesc::new(name, help).labels(&["method", "endpoint", "status"]);
            desc.const_label("service", service)
        };
        let durations = desc(
            "http_request_duration_seconds",
            "Time from the head of a request to the head of its response.",
        );
        Ok(Self {
            requests: registry.family(desc("http_requests_total", "Requests with a response."))?,
            durations: registry.family(durations.buckets(&DURATION_BUCKETS_SECONDS))?,
            resolved: ArcSwap::default(),
        })
    }

    /// Creates the series of a response before the first one, so that a rate starts at zero.
    pub fn prepare(&self, method: &Method, endpoint: &str, status: StatusCode) {
        self.resolve(method_label(method), endpoint, status);
    }

    /// Counts one response. `endpoint` is the route's template (`/admin/leaks/{name}`), never the
    /// path. `recorded` is the request's trace, if spans of it are recorded.
    pub fn observe(
        &self,
        method: &Method,
        endpoint: &str,
        status: StatusCode,
        duration: Duration,
        recorded: Option<TraceId>,
    ) {
        let method = method_label(method);
        let resolved = self.resolved.load();
        match resolved
            .get(endpoint)
            .and_then(|route| route.get(&(method, status)))
        {
            Some(handles) => handles.observe(duration, recorded),
            None => {
                if let Some(handles) = self.resolve(method, endpoint, status) {
                    handles.observe(duration, recorded);
                }
            }
        }
    }

    fn resolve(&self, method: &'static str, endpoint: &str, status: StatusCode) -> Option<Handles> {
        let labels = [method, endpoint, status.as_str()];
        let handles = Handles {
            requests: self.requests.series(&labels).ok()?,
            duration: self.durations.series(&labels).ok()?,
        };
        self.resolved.rcu(|routes| {
            let mut routes = HashMap::clone(routes);
            let mut route = routes
                .get(endpoint)
                .map(|route| RouteHandles::clone(route))
                .unwrap_or_default();
            route.insert((method, status), handles.clone());
            routes.insert(endpoint.into(), Arc::new(route));
            routes
        });
        Some(handles)
    }
}

impl Handles {
    fn observe(&self, duration: Duration, recorded: Option<TraceId>) {
        self.requests.inc();
        self.duration.observe(duration.as_secs_f64(), recorded);
    }
}

pub(crate) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => OTHER_METHOD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_methods_share_one_label() {
        let custom = Method::from_bytes(b"BREW").unwrap();
        assert_eq!(method_label(&Method::GET), "GET");
        assert_eq!(method_label(&custom), "_OTHER");
    }
}
