use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};

use super::*;
use crate::forecast::Forecast;
use crate::growth::{GROWTH_WINDOW, Growth, GrowthPoint};
use plugin_host::clock_reading::ClockReading;
use plugin_host::metrics::{
    AttributionState, InvocationOutcome, PluginState, RecycleReason, SiteBytes, TrapReason,
};
use telemetry::context::TraceContext;

mod http;
mod memory;
mod plugins;

fn metrics() -> Metrics {
    Metrics::new("leaky-service", "1.2.3", "abcdef0").unwrap()
}

fn text(metrics: &Metrics) -> String {
    metrics.render(None).body
}

/// The value of a series, with its name and labels as on the page.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        if name != series {
            return None;
        }
        match value {
            "+Inf" => Some(f64::INFINITY),
            value => value.parse().ok(),
        }
    })
}

/// Shows a steady growth.
fn grows(metrics: &Metrics, of: GrowthOf<'_>, limit_bytes: Option<u64>) {
    let growth = steady_growth();
    let forecast = Forecast {
        next_step: None,
        floor_bytes: None,
        growth,
        seconds_to_limit: growth.seconds_to_limit(limit_bytes),
    };
    metrics.growth.update(of, &forecast, limit_bytes);
}

fn steady_growth() -> Growth {
    let start = Instant::now();
    let points = (0..61).map(|second| GrowthPoint {
        at: ClockReading {
            instant: start + Duration::from_secs(second),
            unix_seconds: 0.0,
        },
        bytes: 1000 * second,
        requests: 10 * second,
    });
    Growth::over(points, GROWTH_WINDOW, None)
}

/// The label names of a sample line: `name{a="1",b="2"} 3`.
fn label_names(line: &str) -> BTreeSet<&str> {
    let labels = line
        .split_once('{')
        .map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
    let names = labels.split(',').filter_map(|label| label.split_once('='));
    names
        .map(|(name, _)| name)
        .filter(|name| *name != "le")
        .collect()
}

/// Type and label names of every metric, by name.
type MetricList<'a> = BTreeMap<&'a str, (&'a str, BTreeSet<&'a str>)>;

fn listed_metrics() -> MetricList<'static> {
    include_str!("../../metrics.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            let (name, kind) = (words.next().unwrap(), words.next().unwrap());
            let labels = words.map(|label| label.trim_end_matches('?'));
            (name, (kind, labels.collect()))
        })
        .collect()
}

fn metrics_on(page: &str) -> MetricList<'_> {
    page.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| {
            let is_sample = |line: &&str| {
                let rest = line.strip_prefix(name);
                let rest = rest.map(|rest| rest.strip_prefix("_bucket").unwrap_or(rest));
                rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            let samples = page.lines().filter(is_sample);
            (name, (kind, samples.flat_map(label_names).collect()))
        })
        .collect()
}

#[test]
fn the_page_has_every_metric_of_the_list_and_no_other() {
    let metrics = metrics();
    let cache = metrics.plugins.for_plugin("cache").unwrap();
    cache.set_heap_live(Some(0));
    cache.set_heap_floor(Some(0));
    cache.set_heap_growth(Some(0), Some(0));
    metrics
        .http
        .prepare(&Method::GET, "/api/data", StatusCode::OK);
    let listed = listed_metrics();
    let page = text(&metrics);
    let at_start = metrics_on(&page);
    let missing = listed.keys().filter(|name| !at_start.contains_key(*name));
    let missing: Vec<_> = missing.copied().collect();
    assert_eq!(missing, ["leak_memory_limit_bytes", "leak_site_live_bytes"]);

    grows(&metrics, GrowthOf::Process, Some(256 << 20));
    grows(&metrics, GrowthOf::Plugin("cache"), Some(256 << 20));
    metrics.plugins.set_sites([SiteBytes {
        plugin: "cache",
        location: "a.rs:1",
        live_bytes: 1,
    }]);
    assert_eq!(metrics_on(&text(&metrics)), listed);
}

#[test]
fn the_build_info_has_version_and_revision() {
    let page = text(&metrics());
    assert_eq!(
        value(
            &page,
            r#"leak_build_info{revision="abcdef0",version="1.2.3"}"#
        ),
        Some(1.0)
    );
}

#[test]
fn openmetrics_is_well_formed() {
    let metrics = metrics();
    let cache = metrics.plugins.for_plugin("cache").unwrap();
    cache.invoked(InvocationOutcome::Ok, Duration::from_millis(3), Some(100));
    metrics.plugins.set_sites([SiteBytes {
        plugin: "cache",
        location: "a\"b\\c\n.rs:1",
        live_bytes: 3,
    }]);
    let page = metrics.render(Some("application/openmetrics-text"));
    assert_eq!(
        page.content_type,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let lines: Vec<&str> = page.body.lines().collect();
    assert_eq!(lines.last(), Some(&"# EOF"));
    for line in [
        "# TYPE leak_plugin_invocations counter",
        "leak_plugin_invocations_total{outcome=\"ok\",plugin=\"cache\"} 1",
        "# TYPE process_cpu_seconds counter",
        "# UNIT process_cpu_seconds seconds",
        "# UNIT leak_retained_bytes bytes",
        "leak_plugin_invocation_live_bytes_bucket{plugin=\"cache\",le=\"256.0\"} 1",
        "leak_plugin_invocation_live_bytes_bucket{plugin=\"cache\",le=\"64.0\"} 0",
        "leak_plugin_invocation_live_bytes_bucket{plugin=\"cache\",le=\"+Inf\"} 1",
        "leak_plugin_invocation_live_bytes_count{plugin=\"cache\"} 1",
        "leak_plugin_invocation_live_bytes_sum{plugin=\"cache\"} 100",
        "leak_memory_bytes_per_request NaN",
        "leak_memory_seconds_to_limit +Inf",
        "leak_site_live_bytes{location=\"a\\\"b\\\\c\\n.rs:1\",plugin=\"cache\"} 3",
    ] {
        assert!(lines.contains(&line), "{line} is missing in\n{}", page.body);
    }
    for line in lines.iter().filter(|line| line.starts_with("# UNIT ")) {
        let mut words = line.split(' ').skip(2);
        let (name, unit) = (words.next().unwrap(), words.next().unwrap());
        assert!(name.ends_with(&format!("_{unit}")), "{line}");
    }
}

#[test]
fn prometheus_text_is_the_default_format() {
    let page = metrics().render(Some("*/*"));
    assert_eq!(
        page.content_type,
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(!page.body.contains("# EOF"));
    assert!(
        page.body
            .contains("# TYPE process_cpu_seconds_total counter")
    );
}

#[test]
fn counting_a_request_is_cheap() {
    let metrics = metrics();
    let series = metrics.plugins.for_plugin("cache").unwrap();
    let recorded = Some(TraceContext::unrecorded(None).trace_id());
    const ROUNDS: u32 = 100_000;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        metrics.http.observe(
            &Method::GET,
            "/api/data",
            StatusCode::OK,
            Duration::from_micros(90),
            recorded,
        );
        series.invoked(InvocationOutcome::Ok, Duration::from_micros(9), Some(5120));
    }
    let each = start.elapsed() / ROUNDS;
    println!("one request and one invocation counted in {each:?}");
    // Some 100 ns when it was measured. The bound only catches an added lock or label lookup.
    assert!(each < Duration::from_micros(20), "{each:?}");
}
