//! Requests by method, route and status.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::{Method, StatusCode};
use prometheus::{Histogram, IntCounter};

use super::MetricsRegistry;
use super::family::{About, Family};

/// Upper bounds in seconds. An answer without leaks takes some 100 µs; one that waits for a plugin's
/// deadline, a quarter of a second.
pub const DURATION_BUCKETS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0,
];

/// What stands for a method that HTTP does not define, so that a client cannot make up series.
const OTHER_METHOD: &str = "_OTHER";

/// `http_requests_total` and `http_request_duration_seconds`.
#[derive(Debug)]
pub struct HttpMetrics {
    requests: Family<IntCounter>,
    durations: Family<Histogram>,
    /// Handles that are resolved, by route. Read without a lock; a new combination replaces the map.
    resolved: ArcSwap<HashMap<Box<str>, Arc<RouteHandles>>>,
}

type RouteHandles = HashMap<(&'static str, StatusCode), Handles>;

#[derive(Debug, Clone)]
struct Handles {
    requests: IntCounter,
    duration: Histogram,
}

impl HttpMetrics {
    /// Registers the two families; `service` is a constant label of both.
    ///
    /// # Errors
    ///
    /// When the registry has a family of that name already.
    pub fn register(registry: &MetricsRegistry, service: &str) -> Result<Self, prometheus::Error> {
        let about = |name, help| {
            let about = About::new(name, help).labels(&["method", "endpoint", "status"]);
            about.constant("service", service)
        };
        let durations = about(
            "http_request_duration_seconds",
            "Time from a request's head to its answer's head.",
        );
        Ok(Self {
            requests: registry.family(about("http_requests_total", "Requests answered."))?,
            durations: registry.family(durations.buckets(&DURATION_BUCKETS))?,
            resolved: ArcSwap::default(),
        })
    }

    /// Makes the series of an answer exist before the first one, so that a rate starts at zero.
    pub fn prepare(&self, method: &Method, endpoint: &str, status: StatusCode) {
        self.resolve(method_label(method), endpoint, status);
    }

    /// Counts one answer. `endpoint` is the route's template (`/admin/leaks/{name}`), never the path.
    pub fn observe(&self, method: &Method, endpoint: &str, status: StatusCode, duration: Duration) {
        let method = method_label(method);
        let resolved = self.resolved.load();
        match resolved
            .get(endpoint)
            .and_then(|route| route.get(&(method, status)))
        {
            Some(handles) => handles.observe(duration),
            None => {
                if let Some(handles) = self.resolve(method, endpoint, status) {
                    handles.observe(duration);
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
    fn observe(&self, duration: Duration) {
        self.requests.inc();
        self.duration.observe(duration.as_secs_f64());
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
    fn the_methods_are_a_closed_set() {
        let custom = Method::from_bytes(b"BREW").unwrap();
        assert_eq!(method_label(&Method::GET), "GET");
        assert_eq!(method_label(&custom), "_OTHER");
    }
}
