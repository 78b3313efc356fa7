//! The exercises' leaks on, under the lab's own load; then every event that a plugin can have.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use xtask_support::components::EXERCISES;
use xtask_support::http;
use xtask_support::report::Report;
use xtask_support::wait::{INTERVAL, wait_for};

use super::exemplars;
use super::series::{LABELLED, SERIES};
use super::{LOOPING_FIXTURE, LeakLoad, TestBed};
use crate::service::Service;

/// The limit of the containers. It is twice what the load retains, so that only the scenario of the
/// memory limit reaches it, and near enough for the forecast of the lab's windows to warn.
const LIMIT: &str = "256MiB";

/// From the end of a request to its trace in Jaeger: two batches of about a second, and a busy
/// machine.
const TRACE_TIMEOUT: Duration = Duration::from_secs(30);

/// The pattern whose linear memory grows while its live memory does not.
const FRAGMENTATION: &str = "fragmentation";

/// Bytes that its requests replace over the whole load. Its linear memory grows up to five times
/// the live memory, and with this number it still grows at the end. The lab's window is 2.5
/// minutes.
const REPLACED_BYTES: u64 = 18 << 20;

/// More requests than any plugin has free memory for.
const MAX_REQUESTS_TO_EXHAUST: u32 = 20_000;

pub(super) fn run(bed: &TestBed<'_>, report: &mut Report) -> Result<()> {
    println!("\nevery leak of the exercises on");
    let addresses = bed.stack.addresses;
    let run = bed.stack.run.clone();
    let mut service = Service::start(bed.files, addresses, &run, &["--memory-limit", LIMIT])?;
    let plugins = EXERCISES.map(str::to_owned);
    let loaded = service.plugins()?;
    ensure!(
        plugins.iter().all(|plugin| loaded.contains(plugin)),
        "there are only the plugins {loaded:?}"
    );
    // A switch is a change between two scrapes, so one scrape must see the leaks off.
    wait_for_scrape(bed);
    for plugin in &plugins {
        service.switch(plugin, true)?;
    }
    let fragmented = loaded.iter().any(|plugin| plugin == FRAGMENTATION);

    if let Some(k6) = &bed.k6 {
        if fragmented {
            fragment(&service, bed.load)?;
        }
        let (rate, duration) = (bed.load.rate.to_string(), format!("{}s", bed.load.seconds));
        let environment = [("RATE", rate.as_str()), ("DURATION", duration.as_str())];
        report.check("k6 memory-stress with the exercises' leaks on", || {
            let load = k6.run(
                "k6-memory-stress",
                "memory-stress.js",
                &addresses.service_url(),
                &environment,
                &run,
                &mut service,
            )?;
            ensure!(load.failed_share == 0.0, "{load:?}");
            ensure!(load.thresholds_met, "a threshold was broken: {load:?}");
            let expected = bed.load.requests();
            ensure!(
                load.requests * 100 >= expected * 95,
                "only {} of {expected} requests were made",
                load.requests
            );
            Ok(format!(
                "{} requests, none failed, p95 {:.1} ms",
                load.requests, load.p95_ms
            ))
        });
        report.check("k6 burst", || {
            let environment = [("BURST", "200"), ("ROUNDS", "2"), ("PAUSE", "5")];
            let load = k6.run(
                "k6-burst",
                "burst.js",
                &addresses.service_url(),
                &environment,
                &run,
                &mut service,
            )?;
            ensure!(load.thresholds_met && load.failed_share == 0.0, "{load:?}");
            Ok(format!("{} requests, none failed", load.requests))
        });
        if fragmented {
            service.switch(FRAGMENTATION, false)?;
        }
        report.check("each leak retains one object a request", || {
            check_object_counts(&service, &plugins)
        });
    } else {
        report.skip("load on the leaks", "there is no k6");
    }
    if bed.stack.jaeger.is_some() && bed.stack.collector.is_some() {
        report.check("trace found by the trace_id of a response", || {
            check_trace(&service, &addresses.jaeger_url(), &plugins)
        });
        if bed.prometheus.is_some() {
            report.check("trace found by an exemplar", || {
                exemplars::check(&addresses.prometheus_url(), &addresses.jaeger_url())
            });
        }
    }
    if bed.stack.collector.is_some() {
        report.check("metrics of the collector", || {
            let page = http::text(&format!("http://{}/metrics", addresses.collector_metrics))?;
            let series = page
                .lines()
                .filter(|line| line.starts_with("otlp_"))
                .count();
            ensure!(
                page.contains("otlp_leak_"),
                "no otlp_leak_ metric among {series} series"
            );
            Ok(format!("{series} series"))
        });
    }
    check_events(&service, &plugins, bed, report);
    // Growth, forecast and lines that grow need the load.
    if let Some(prometheus) = bed.prometheus.as_ref().filter(|_| bed.k6.is_some()) {
        report.check("every metric is in Prometheus", || {
            let mut missing = Vec::new();
            for selector in SERIES.iter().chain(&LABELLED) {
                if !prometheus.has_series(selector)? {
                    missing.push(*selector);
                }
            }
            ensure!(missing.is_empty(), "missing: {}", missing.join(", "));
            Ok(format!(
                "{} series, {} with their labels",
                SERIES.len(),
                LABELLED.len()
            ))
        });
    }
    Ok(())
}

impl LeakLoad {
    fn requests(self) -> u64 {
        u64::from(self.rate) * u64::from(self.seconds)
    }
}

fn wait_for_scrape(bed: &TestBed<'_>) {
    if let Some(prometheus) = &bed.prometheus {
        prometheus.wait_for_scrape();
    }
}

/// Switches fragmentation on, with a payload that lasts for the whole load.
fn fragment(service: &Service, load: LeakLoad) -> Result<()> {
    let payload_bytes = (REPLACED_BYTES / load.requests().max(1)).max(1);
    service.post(
        &format!("/admin/leaks/{FRAGMENTATION}"),
        &json!({ "enabled": true, "payload_bytes": payload_bytes }),
    )?;
    Ok(())
}

/// The README promises that every request retains one object in each plugin.
fn check_object_counts(service: &Service, plugins: &[String]) -> Result<String> {
    let status = service.get("/admin/leaks/status?all=true")?;
    let mut seen = Vec::new();
    for plugin in plugins {
        let number = |field: &str| {
            status
                .pointer(&format!("/leaks/{plugin}/{field}"))
                .and_then(Value::as_u64)
                .with_context(|| format!("{plugin} has no {field}"))
        };
        let (objects, requests) = (number("count")?, number("requests")?);
        ensure!(
            objects > 0 && objects == requests,
            "{plugin}: {objects} of {requests}"
        );
        seen.push(format!("{plugin} {objects}"));
    }
    Ok(seen.join(", "))
}

/// Finds the trace of a request: a server span with a child for each plugin, which has the bytes
/// that the plugin retained.
fn check_trace(service: &Service, jaeger: &str, plugins: &[String]) -> Result<String> {
    let answer = service.get("/api/data")?;
    let id = answer
        .get("trace_id")
        .and_then(Value::as_str)
        .context("the answer has no trace_id")?;
    let spans = wait_for("Jaeger has no whole trace", TRACE_TIMEOUT, INTERVAL, || {
        let answer = http::json(&format!("{jaeger}/api/traces/{id}"))?;
        let spans = answer
            .pointer("/data/0/spans")
            .and_then(Value::as_array)
            .context("it has no spans")?;
        ensure!(
            spans.len() > plugins.len(),
            "it has only {} spans",
            spans.len()
        );
        Ok(spans.clone())
    })?;
    for plugin in plugins {
        let span = spans
            .iter()
            .find(|span| tags(span).any(|(key, value)| key.contains("plugin") && value == plugin))
            .with_context(|| format!("no span of plugin {plugin}"))?;
        let retained: Vec<_> = tags(span)
            .filter(|(key, _)| key.contains("retained"))
            .collect();
        if !retained.iter().any(|(key, value)| {
            key.contains("bytes") && value.as_i64().is_some_and(|bytes| bytes > 0)
        }) {
            let keys: Vec<_> = tags(span).map(|(key, _)| key).collect();
            bail!("the span of {plugin} has no retained bytes: {keys:?}");
        }
    }
    Ok(format!("{id} has {} spans", spans.len()))
}

fn tags(span: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let tags = span.get("tags").and_then(Value::as_array);
    tags.into_iter()
        .flatten()
        .filter_map(|tag| Some((tag.get("key").and_then(Value::as_str)?, tag.get("value")?)))
}

/// Clears one plugin, resets another, exhausts a third, loads one that never returns, and switches
/// all off. Each is an annotation in the dashboard.
fn check_events(service: &Service, plugins: &[String], bed: &TestBed<'_>, report: &mut Report) {
    let [cleared, reset, exhausted, ..] = plugins else {
        return;
    };
    let scraped = || wait_for_scrape(bed);
    report.check("clear, reset, exhaust, fault and switch off", || {
        scraped();
        service.post("/admin/leaks/clear", &json!({ "leak_type": cleared }))?;
        scraped();
        service.post(&format!("/admin/leaks/{reset}/reset"), &json!({}))?;
        scraped();
        let requests = exhaust(service, exhausted)?;
        scraped();
        fault(service, bed.looping_component, &scraped)?;
        for plugin in plugins {
            service.switch(plugin, false)?;
        }
        scraped();
        Ok(format!(
            "{exhausted} was exhausted after {requests} requests"
        ))
    });
}

/// Loads a plugin that never returns, and lets a call exceed its deadline. It is unloaded after a
/// scrape.
fn fault(service: &Service, component: &Path, scraped: &impl Fn()) -> Result<()> {
    let component = fs::read(component).context("cannot read the fixture")?;
    let loaded = service.load(LOOPING_FIXTURE, &component)?;
    ensure!(
        loaded.get("id") == Some(&json!(LOOPING_FIXTURE)),
        "loaded {loaded} for {LOOPING_FIXTURE}"
    );
    // A fault is a change between two scrapes, so one scrape must see it running.
    scraped();
    service.switch(LOOPING_FIXTURE, true)?;
    service.get("/api/data")?;
    let status = service.get("/admin/leaks/status?all=true")?;
    let state = status.pointer(&format!("/leaks/{LOOPING_FIXTURE}/state"));
    ensure!(
        state == Some(&json!("faulted")),
        "{LOOPING_FIXTURE} is {state:?}"
    );
    scraped();
    scraped();
    service.unload(LOOPING_FIXTURE)?;
    Ok(())
}

/// Lowers the plugin's limit to just above its memory, and makes requests until the memory is used
/// up. Returns the number of requests.
pub(super) fn exhaust(service: &Service, plugin: &str) -> Result<u32> {
    let status = service.get("/admin/leaks/status?all=true")?;
    let megabytes = status
        .pointer(&format!("/leaks/{plugin}/linear_memory_mb"))
        .and_then(Value::as_f64)
        .context("no linear memory")?;
    let limit = (megabytes + 1.0).ceil();
    service.post(
        &format!("/admin/leaks/{plugin}"),
        &json!({ "memory_limit_mb": limit }),
    )?;
    for request in 1..=MAX_REQUESTS_TO_EXHAUST {
        let answer = service.get("/api/data")?;
        let failed = answer.get("leaks_failed").and_then(Value::as_array);
        let is_exhausted = failed
            .into_iter()
            .flatten()
            .any(|failed| failed.get("leak").and_then(Value::as_str) == Some(plugin));
        if is_exhausted {
            let state = service.get("/admin/leaks/status?all=true")?;
            let state = state.pointer(&format!("/leaks/{plugin}/state")).cloned();
            ensure!(state == Some(json!("exhausted")), "{plugin} is {state:?}");
            return Ok(request);
        }
    }
    bail!(
        "{plugin} still runs after {MAX_REQUESTS_TO_EXHAUST} requests with a limit of {limit} MiB"
    )
}
