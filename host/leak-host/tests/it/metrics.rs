//! The metrics as a scraper reads them: names, types, labels and values.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use self::scrape::Scrape;
use crate::lab::{Answer, Lab};

pub(crate) mod scrape;

/// Every metric of the host. The unit tests of the metrics use the same list.
const METRICS: &str = include_str!("../../../lab/metrics.txt");

/// A line of the list.
struct Listed {
    name: &'static str,
    kind: &'static str,
    required_labels: BTreeSet<&'static str>,
    allowed_labels: BTreeSet<&'static str>,
}

fn listed_metrics() -> impl Iterator<Item = Listed> {
    let lines = METRICS.lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let mut words = line.split_whitespace();
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        let labels: Vec<_> = words.collect();
        let required = labels.iter().filter(|label| !label.ends_with('?'));
        Listed {
            name,
            kind,
            required_labels: required.copied().collect(),
            allowed_labels: labels
                .iter()
                .map(|label| label.trim_end_matches('?'))
                .collect(),
        }
    })
}

/// A lab in which every counted event has happened at least once.
async fn eventful_lab() -> Lab {
    let lab = Lab::with(&["cache", "fixture-traps", "fixture-hog"])
        .args(["--memory-limit", "8GiB"])
        .start()
        .await;
    for leak in ["cache", "fixture-traps", "fixture-hog"] {
        lab.enable(leak).await;
    }
    lab.traffic(30).await;
    lab.reset("fixture-traps").await;
    // Growth is a regression over samples that are one second apart.
    tokio::time::sleep(Duration::from_secs(4)).await;
    lab
}

#[tokio::test]
async fn every_metric_exists_with_its_type_and_labels() {
    let scrape = Scrape::of(&eventful_lab().await).await;
    let mut wrong = Vec::new();
    for listed in listed_metrics() {
        let Listed { name, kind, .. } = listed;
        match scrape.types.get(name) {
            None => wrong.push(format!("{name} is missing")),
            Some(found) if found != kind => {
                wrong.push(format!("{name} is a {found}, not a {kind}"))
            }
            Some(_) => {}
        }
        if !scrape.helped.contains(name) {
            wrong.push(format!("{name} has no help"));
        }
        let mut samples = 0;
        for (found, value) in scrape.of_metric(name) {
            samples += 1;
            let found: BTreeSet<_> = found
                .keys()
                .map(String::as_str)
                .filter(|label| *label != "le")
                .collect();
            if !found.is_subset(&listed.allowed_labels)
                || !found.is_superset(&listed.required_labels)
            {
                wrong.push(format!(
                    "{name} has the labels {found:?}, not {:?}",
                    listed.allowed_labels
                ));
            }
            // Its help says that it is NaN without requests.
            if value.is_nan() && name != "leak_memory_bytes_per_request" {
                wrong.push(format!("{name} is not a number"));
            }
        }
        if samples == 0 {
            wrong.push(format!("{name} has no sample"));
        }
    }
    for name in scrape.types.keys() {
        if !listed_metrics().any(|listed| listed.name == name) {
            wrong.push(format!("{name} is not listed"));
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn exactly_the_counters_end_with_total_and_units_are_base_units() {
    let scrape = Scrape::of(&eventful_lab().await).await;
    for (name, kind) in &scrape.types {
        assert_eq!(
            name.ends_with("_total"),
            kind == "counter",
            "{name} is a {kind}"
        );
        for unit in ["_mb", "_kb", "_ms", "_milliseconds", "_percent"] {
            assert!(!name.contains(unit), "{name} is not in a base unit");
        }
    }
    for (name, ..) in &scrape.samples {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        let declared = scrape.types.contains_key(name)
            || base.is_some_and(|base| {
                scrape
                    .types
                    .get(base)
                    .is_some_and(|kind| kind == "histogram")
            });
        assert!(declared, "{name} has no type");
    }
}

#[tokio::test]
async fn metrics_equal_the_status() {
    let lab = eventful_lab().await;
    let status = lab.leak("cache").await;
    let scrape = Scrape::of(&lab).await;
    let cache = [("plugin", "cache")];
    for (metric, field) in [
        ("leak_retained_objects", "count"),
        ("leak_retained_bytes", "estimated_size_bytes"),
        ("leak_plugin_linear_memory_bytes", "linear_memory_bytes"),
        (
            "leak_plugin_linear_memory_peak_bytes",
            "peak_linear_memory_bytes",
        ),
        ("leak_plugin_generation", "generation"),
        ("leak_plugin_invocations_total", "requests"),
        ("leak_plugin_invocation_duration_seconds_count", "requests"),
    ] {
        assert_eq!(
            scrape.sum(metric, &cache),
            status[field].as_f64().unwrap(),
            "{metric}"
        );
    }
    assert_eq!(scrape.sum("leak_enabled", &cache), 1.0);
    assert_eq!(
        scrape.sum(
            "leak_plugin_state",
            &[("plugin", "cache"), ("state", "running")]
        ),
        1.0
    );
    assert_eq!(
        scrape.sum("leak_plugin_state", &cache),
        1.0,
        "a plugin is in one state"
    );
    let hog = [("plugin", "fixture-hog")];
    assert!(scrape.sum("leak_plugin_memory_grow_denied_total", &hog) >= 1.0);
    assert!(scrape.sum("leak_plugin_traps_total", &[("plugin", "fixture-traps")]) >= 1.0);
    assert!(scrape.sum("leak_plugin_recycles_total", &[("plugin", "fixture-traps")]) >= 1.0);
    assert_eq!(
        scrape.of_process("leak_memory_limit_bytes"),
        8.0 * 1024.0 * 1024.0 * 1024.0
    );
}

#[tokio::test]
async fn a_clear_is_counted_but_a_reset_is_not() {
    let lab = Lab::with(&["cache"]).start().await;
    let scrape = Scrape::of(&lab).await;
    let clears = scrape.of_metric("leak_plugin_clears_total");
    let clears: Vec<_> = clears.map(|(_, value)| value).collect();
    assert_eq!(clears, [0.0], "the series exists before the first clear");
    lab.enable("cache").await;
    lab.traffic(3).await;
    lab.reset("cache").await;
    lab.clear("cache").await;
    lab.clear("all").await;
    let cache = [("plugin", "cache")];
    let scrape = Scrape::of(&lab).await;
    assert_eq!(scrape.sum("leak_plugin_clears_total", &cache), 2.0);
}

#[tokio::test]
async fn the_build_info_contains_the_revision() {
    let lab = Lab::with(&["cache"])
        .env("LEAK_REVISION", "0123456789ab")
        .start()
        .await;
    let scrape = Scrape::of(&lab).await;
    assert_eq!(
        scrape.sum("leak_build_info", &[("revision", "0123456789ab")]),
        1.0
    );
}

#[tokio::test]
async fn requests_are_counted_by_route_template_not_by_path() {
    let lab = Lab::with(&["cache"]).args(["--service-name", "shop"]);
    let lab = lab.start().await;
    lab.traffic(25).await;
    for n in 0..20 {
        lab.request(Method::GET, &format!("/made/up/{n}"))
            .send()
            .await
            .unwrap();
        let path = format!("/admin/leaks/made-up-{n}");
        lab.request(Method::POST, &path)
            .body("{}")
            .send()
            .await
            .unwrap();
        let method = Method::from_bytes(format!("MADEUP{n}").as_bytes()).unwrap();
        lab.request(method, "/api/data").send().await.unwrap();
    }
    let scrape = Scrape::of(&lab).await;
    let data = [
        ("endpoint", "/api/data"),
        ("method", "GET"),
        ("status", "200"),
        ("service", "shop"),
    ];
    assert_eq!(scrape.sum("http_requests_total", &data), 25.0);
    assert_eq!(
        scrape.sum("http_request_duration_seconds_count", &data),
        25.0
    );
    for (name, labels, _) in &scrape.samples {
        let from_caller = labels.values().find(|value| {
            let value = value.to_ascii_lowercase();
            ["made", "up-"].iter().any(|part| value.contains(part))
        });
        assert_eq!(from_caller, None, "a caller controls a label of {name}");
    }
    assert!(
        scrape.sum("http_requests_total", &[("status", "404")]) >= 40.0,
        "unknown routes are counted, too"
    );
}

#[tokio::test]
async fn the_buckets_of_request_durations_reach_from_50_microseconds_to_5_seconds() {
    let lab = Lab::with(&[]).start().await;
    lab.traffic(5).await;
    let scrape = Scrape::of(&lab).await;
    let bounds: BTreeSet<_> = scrape
        .samples
        .iter()
        .filter(|(name, ..)| name == "http_request_duration_seconds_bucket")
        .map(|(_, labels, _)| labels["le"].clone())
        .collect();
    let bounds: Vec<f64> = bounds.iter().map(|bound| bound.parse().unwrap()).collect();
    let finite = bounds.iter().copied().filter(|bound| bound.is_finite());
    let (least, most) = finite.fold((f64::MAX, 0.0_f64), |(a, b), x| (a.min(x), b.max(x)));
    assert!(
        (least - 50e-6).abs() < 1e-9 && (most - 5.0).abs() < 1e-9,
        "{bounds:?}"
    );
}

#[tokio::test]
async fn a_scraper_that_accepts_openmetrics_gets_it() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    lab.traffic(3).await;
    let accept = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let request = lab
        .request(Method::GET, "/metrics")
        .header("accept", accept);
    let answer = Answer::of(request).await;
    assert!(
        answer
            .content_type
            .starts_with("application/openmetrics-text; version=1.0.0"),
        "{answer:?}"
    );
    assert!(answer.text.ends_with("# EOF\n"), "the end is marked");
    let scrape = Scrape::parse(&answer.text);
    for (name, kind) in &scrape.types {
        assert!(
            !name.ends_with("_total"),
            "the name of a family has no suffix: {name}"
        );
        if kind == "counter" {
            let total = format!("{name}_total");
            assert!(
                scrape.samples.iter().any(|(sample, ..)| *sample == total),
                "{total}"
            );
        }
    }
    assert_eq!(
        scrape.types.get("http_requests").map(String::as_str),
        Some("counter")
    );

    let plain = lab
        .request(Method::GET, "/metrics")
        .header("accept", "text/plain");
    assert!(
        Answer::of(plain)
            .await
            .content_type
            .starts_with("text/plain; version=0.0.4")
    );
}

#[tokio::test]
async fn additional_scrapes_do_not_change_the_growth_rate() {
    let lab = Lab::with(&["cache"]).start().await;
    let settings = json!({"enabled": true, "payload_bytes": 65536});
    lab.configure("cache", settings).await;
    for _ in 0..40 {
        lab.traffic(5).await;
        // Far more scrapes than a Prometheus server makes.
        for _ in 0..3 {
            Scrape::of(&lab).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let scrape = Scrape::of(&lab).await;
    let growth = scrape.of_process("leak_memory_growth_bytes_per_second");
    // 200 requests of 64 KiB in at least four seconds.
    assert!(
        growth > 0.2 * 1024.0 * 1024.0,
        "a scrape does not reset the growth: {growth}"
    );
}
