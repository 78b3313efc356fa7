//! What `docker compose config` makes of the compose files.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask_support::tools::run_quietly;

use crate::tools;

/// Each service of the README: its name, which its container has too, and its published ports.
const SERVICES: [(&str, &[&str]); 7] = [
    ("lab16-leaky-service", &["8080:8080"]),
    (
        "lab16-otel-collector",
        &["4317:4317", "4318:4318", "8889:8889"],
    ),
    ("lab16-jaeger", &["16686:16686"]),
    ("lab16-prometheus", &["9090:9090"]),
    ("lab16-alertmanager", &["9093:9093"]),
    ("lab16-grafana", &["3001:3000"]),
    ("lab16-k6", &[]),
];

/// 256 MiB in bytes.
const MEMORY_LIMIT: &str = "268435456";

/// Compares `docker compose config` with the README.
///
/// # Errors
/// All differences together.
pub(super) fn check(compose: &Path, root: &Path) -> Result<String> {
    // Compose itself resolves the files, in the root, where the README calls it.
    let config = run_quietly(Command::new(compose).current_dir(root).args([
        "--profile",
        "loadtest",
        "config",
        "--format",
        "json",
    ]))?;
    let config: Value = serde_json::from_str(&config).context("compose config is not JSON")?;
    let services = config
        .get("services")
        .and_then(Value::as_object)
        .context("there are no services")?;
    let mut wrong = Vec::new();
    let names: Vec<&str> = SERVICES.iter().map(|(name, _)| *name).collect();
    for name in services
        .keys()
        .filter(|name| !names.contains(&name.as_str()))
    {
        wrong.push(format!("{name} is not in the README"));
    }
    for (name, ports) in SERVICES {
        let Some(service) = services.get(name) else {
            wrong.push(format!("{name} is missing"));
            continue;
        };
        let text = |pointer: &str| {
            service
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let is_load = name == "lab16-k6";
        if published(service) != ports {
            wrong.push(format!("{name}: its ports are not {ports:?}"));
        }
        if !is_load && text("/container_name") != name {
            wrong.push(format!("{name}: its container has another name"));
        }
        if !is_load && text("/restart") != "unless-stopped" {
            wrong.push(format!("{name}: it is not restarted"));
        }
        if !is_load && service.pointer("/healthcheck/test").is_none() {
            wrong.push(format!("{name}: it has no health check"));
        }
        if is_load && service.pointer("/profiles/0").and_then(Value::as_str) != Some("loadtest") {
            wrong.push(format!("{name}: it is not in the profile loadtest"));
        }
        if text("/image").ends_with(":latest") || !text("/image").contains(':') {
            wrong.push(format!("{name}: its image has no version"));
        }
    }
    if let Some(service) = services.get("lab16-leaky-service") {
        for field in ["mem_limit", "memswap_limit"] {
            if service.get(field).and_then(Value::as_str) != Some(MEMORY_LIMIT) {
                wrong.push(format!("the service's {field} is not {MEMORY_LIMIT}"));
            }
        }
        if service.get("read_only").and_then(Value::as_bool) != Some(true) {
            wrong.push("the service can write to its file system".to_owned());
        }
    }
    for (name, version) in tested_versions() {
        let image = services
            .get(name)
            .and_then(|service| service.get("image"))
            .and_then(Value::as_str);
        if !image.is_some_and(|image| image.ends_with(&format!(":{version}"))) {
            wrong.push(format!("{name}: the tests use {version}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(format!("{} services as in the README", services.len()))
}

/// Images whose program the tests run without a container, and its version.
fn tested_versions() -> [(&'static str, String); 4] {
    let prometheus = tools::PROMETHEUS.version.replacen("0.3", "v3.", 1);
    [
        ("lab16-prometheus", prometheus),
        ("lab16-otel-collector", tools::COLLECTOR.version.to_owned()),
        (
            "lab16-alertmanager",
            format!("v{}", tools::ALERTMANAGER.version),
        ),
        ("lab16-k6", tools::K6.version.to_owned()),
    ]
}

fn published(service: &Value) -> Vec<String> {
    let ports = service.get("ports").and_then(Value::as_array);
    ports
        .into_iter()
        .flatten()
        .map(|port| {
            let published = port
                .get("published")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let target = port
                .get("target")
                .and_then(Value::as_u64)
                .unwrap_or_default();
            format!("{published}:{target}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_version_of_prometheus_is_that_of_its_release() {
        let (name, version) = &tested_versions()[0];
        assert_eq!((*name, version.as_str()), ("lab16-prometheus", "v3.16.0"));
    }

    #[test]
    fn ports_are_read_in_the_long_form_of_compose() {
        let service = json!({"ports": [{
            "mode": "ingress", "target": 3000, "published": "3001", "protocol": "tcp",
        }]});
        assert_eq!(published(&service), ["3001:3000"]);
        assert_eq!(published(&json!({})), Vec::<String>::new());
    }
}
