//! The exercises' leaks on, under the lab's own load; then everything that can happen to a plugin.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use super::super::queries::Prometheus;
use super::super::report::Report;
use super::super::service::Service;
use super::contract::{LABELLED, SERIES};
use super::{Load, Stage};
use crate::http;
use crate::plugins::EXERCISES;

/// The containers' own. Twice what the load retains, so that only the scene of the limit reaches it, and
/// near enough for the forecast of the lab's windows to warn.
const LIMIT: &str = "256MiB";

/// From the end of a request to its trace in Jaeger: two batches of a second or so, and a busy machine.
const TRACE_WITHIN: Duration = Duration::from_secs(30);

/// The id of the fixture that never returns.
const FAULTS: &str = "fixture-loops";

/// The pattern whose linear memory grows while its live memory does not.
const FRAGMENTED: &str = "fragmentation";

/// What its requests replace over the whole load: so much that its linear memory is still growing in the end, which
/// it does up to five times what is live. The lab's window is two minutes and a half.
const REPLACED_BYTES: u64 = 18 << 20;

/// More requests than any plugin's free memory lasts for.
const REQUESTS_TO_EXHAUST: u32 = 20_000;

pub(super) fn play(stage: &mut Stage<'_>, report: &mut Report) -> Result<()> {
    println!("\nevery leak of the exercises on");
    let addresses = stage.lab.addresses;
    let run = stage.lab.run.clone();
    let mut service = Service::start(stage.files, addresses, &run, &["--memory-limit", LIMIT])?;
    let plugins = EXERCISES.map(str::to_owned);
    let loaded = service.plugins()?;
    ensure!(
        plugins.iter().all(|plugin| loaded.contains(plugin)),
        "there are only the plugins {loaded:?}"
    );
    let scraped = |prometheus: &Option<Prometheus>| {
        if let Some(prometheus) = prometheus {
            prometheus.let_scrape();
        }
    };
    // Prometheus sees them off first: a switch is a change between two scrapes.
    scraped(&stage.prometheus);
    for plugin in &plugins {
        service.switch(plugin, true)?;
    }
    let fragmented = loaded.iter().any(|plugin| plugin == FRAGMENTED);

    if let Some(k6) = &stage.k6 {
        if fragmented {
            fragment(&service, stage.load)?;
        }
        let (rate, duration) = (
            stage.load.rate.to_string(),
            format!("{}s", stage.load.seconds),
        );
        let environment = [("RATE", rate.as_str()), ("DURATION", duration.as_str())];
        report.check("k6 memory-stress with the exercises' leaks on", || {
            let outcome = k6.run(
                "k6-memory-stress",
                "memory-stress.js",
                &addresses.service_url(),
                &environment,
                &run,
                &mut service,
            )?;
            ensure!(outcome.failed_share == 0.0, "{outcome:?}");
            ensure!(outcome.kept, "a threshold was broken: {outcome:?}");
            let expected = u64::from(stage.load.rate) * u64::from(stage.load.seconds);
            ensure!(
                outcome.requests * 100 >= expected * 95,
                "only {} of {expected} requests were made",
                outcome.requests
            );
            Ok(format!(
                "{} requests, none failed, p95 {:.1} ms",
                outcome.requests, outcome.p95_ms
            ))
        });
        report.check("k6 burst", || {
            let environment = [("BURST", "200"), ("ROUNDS", "2"), ("PAUSE", "5")];
            let outcome = k6.run(
                "k6-burst",
                "burst.js",
                &addresses.service_url(),
                &environment,
                &run,
                &mut service,
            )?;
            ensure!(outcome.kept && outcome.failed_share == 0.0, "{outcome:?}");
            Ok(format!("{} requests, none failed", outcome.requests))
        });
        if fragmented {
            service.switch(FRAGMENTED, false)?;
        }
        report.check("each leak retains one object a request", || {
            one_object_a_request(&service, &plugins)
        });
    } else {
        report.skip("load on the leaks", &anyhow!("there is no k6"));
    }
    if stage.lab.jaeger.is_some() && stage.lab.collector.is_some() {
        report.check("trace found by the trace_id of a response", || {
            trace(&service, &addresses.jaeger_url(), &plugins)
        });
    }
    if stage.lab.collector.is_some() {
        report.check("metrics of the collector", || {
            let page = http::text(&format!("http://{}/metrics", addresses.collector_metrics))?;
            let series = page
                .lines()
                .filter(|line| line.starts_with("otlp_"))
                .count();
            ensure!(
                page.contains("otlp_leak_"),
                "none of ours among {series} series"
            );
            Ok(format!("{series} series"))
        });
    }
    happenings(&service, &plugins, stage, report);
    // Growth, forecast and lines that grow want the load.
    if let Some(prometheus) = stage.prometheus.as_ref().filter(|_| stage.k6.is_some()) {
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

/// Switches fragmentation on, at a pace that lasts for the whole load.
fn fragment(service: &Service, load: Load) -> Result<()> {
    let requests = u64::from(load.rate) * u64::from(load.seconds);
    service.post(
        &format!("/admin/leaks/{FRAGMENTED}"),
        &json!({ "enabled": true, "payload_bytes": (REPLACED_BYTES / requests.max(1)).max(1) }),
    )?;
    Ok(())
}

/// Every request leaves one object behind in each plugin: what the lab's text counts on.
fn one_object_a_request(service: &Service, plugins: &[String]) -> Result<String> {
    let status = service.get("/admin/leaks/status")?;
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

/// The request's own trace: a server span with one child for each plugin, which says what it retained.
fn trace(service: &Service, jaeger: &str, plugins: &[String]) -> Result<String> {
    let answer = service.get("/api/data")?;
    let id = answer
        .get("trace_id")
        .and_then(Value::as_str)
        .context("the answer has no trace_id")?;
    let spans = http::wait_for("Jaeger has no whole trace", TRACE_WITHIN, || {
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
            bail!("the span of {plugin} does not say how many bytes it retains: {keys:?}");
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

/// Clears one plugin, resets another, exhausts a third, loads one that never returns, switches all off:
/// each is an annotation.
fn happenings(service: &Service, plugins: &[String], stage: &Stage<'_>, report: &mut Report) {
    let [cleared, reset, exhausted, ..] = plugins else {
        return;
    };
    let scraped = || {
        if let Some(prometheus) = &stage.prometheus {
            prometheus.let_scrape();
        }
    };
    report.check("clear, reset, exhaust, fault and switch off", || {
        scraped();
        service.post("/admin/leaks/clear", &json!({ "leak_type": cleared }))?;
        scraped();
        service.post(&format!("/admin/leaks/{reset}/reset"), &json!({}))?;
        scraped();
        let requests = exhaust(service, exhausted)?;
        scraped();
        fault(service, stage.loops, &scraped)?;
        for plugin in plugins {
            service.switch(plugin, false)?;
        }
        scraped();
        Ok(format!(
            "{exhausted} was exhausted after {requests} requests"
        ))
    });
}

/// Loads a plugin that never returns, and lets it run over its deadline. It stays until all has been scraped.
fn fault(service: &Service, component: &Path, scraped: &impl Fn()) -> Result<()> {
    let component = fs::read(component).context("cannot read the fixture")?;
    let loaded = service.load(FAULTS, &component)?;
    ensure!(
        loaded.get("id") == Some(&json!(FAULTS)),
        "loaded {loaded} for {FAULTS}"
    );
    // Running first: a fault is a change between two scrapes.
    scraped();
    service.switch(FAULTS, true)?;
    service.get("/api/data")?;
    let status = service.get("/admin/leaks/status")?;
    let state = status.pointer(&format!("/leaks/{FAULTS}/state"));
    ensure!(state == Some(&json!("faulted")), "{FAULTS} is {state:?}");
    scraped();
    scraped();
    service.unload(FAULTS)?;
    Ok(())
}

/// Lowers the plugin's limit to what it has, and makes requests until that is used up.
fn exhaust(service: &Service, plugin: &str) -> Result<u32> {
    let status = service.get("/admin/leaks/status")?;
    let megabytes = status
        .pointer(&format!("/leaks/{plugin}/linear_memory_mb"))
        .and_then(Value::as_f64)
        .context("no linear memory")?;
    let limit = (megabytes + 1.0).ceil();
    service.post(
        &format!("/admin/leaks/{plugin}"),
        &json!({ "memory_limit_mb": limit }),
    )?;
    for request in 1..=REQUESTS_TO_EXHAUST {
        let answer = service.get("/api/data")?;
        let failed = answer.get("leaks_failed").and_then(Value::as_array);
        let ours = failed
            .into_iter()
            .flatten()
            .any(|failed| failed.get("leak").and_then(Value::as_str) == Some(plugin));
        if ours {
            let state = service.get("/admin/leaks/status")?;
            let state = state.pointer(&format!("/leaks/{plugin}/state")).cloned();
            ensure!(state == Some(json!("exhausted")), "{plugin} is {state:?}");
            return Ok(request);
        }
    }
    bail!("{plugin} still runs after {REQUESTS_TO_EXHAUST} requests with a limit of {limit} MiB")
}
