//! What can be said of the stack's files without running anything but their own checkers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::dashboard::Dashboard;
use super::report::Report;
use super::tools::Tool;
use crate::python;
use crate::workspace::Workspace;

/// The release of Grafana's own model that reads the dashboard back.
const GRAFANA_MODEL: &str = "grafana-foundation-sdk==0.0.21";

/// All of them.
pub(crate) fn check(workspace: &Workspace, report: &mut Report) {
    println!("\nfiles");
    let root = workspace.root();
    let rules = root.join("compose/prometheus");
    match Tool::Promtool.obtain() {
        Ok(promtool) => {
            report.check("promtool check config", || {
                said(
                    Command::new(&promtool)
                        .args(["check", "config"])
                        .arg(rules.join("prometheus.yml")),
                )?;
                Ok("valid".to_owned())
            });
            report.check("promtool check rules", || {
                let files = files(&rules.join("rules"), "yml")?;
                said(
                    Command::new(&promtool)
                        .args(["check", "rules", "--lint=all", "--lint-fatal"])
                        .args(&files),
                )?;
                Ok(format!("{} files", files.len()))
            });
            report.check("promtool test rules", || {
                let files = files(&rules.join("tests"), "yml")?;
                said(Command::new(&promtool).args(["test", "rules"]).args(&files))?;
                Ok(format!("{} files", files.len()))
            });
        }
        Err(why) => report.skip("promtool", &why),
    }
    match Tool::Collector.obtain() {
        Ok(collector) => {
            report.check("collector configuration", || {
                said(
                    Command::new(&collector)
                        .args(["validate", "--config"])
                        .arg(root.join("compose/collector/config.yaml")),
                )?;
                Ok("valid".to_owned())
            });
        }
        Err(why) => report.skip("collector configuration", &why),
    }
    match Tool::K6.obtain() {
        Ok(k6) => {
            report.check("k6 scripts", || {
                let scripts = files(&root.join("k6"), "js")?;
                for script in &scripts {
                    said(Command::new(&k6).arg("inspect").arg(script))?;
                }
                Ok(format!("{} understood", scripts.len()))
            });
        }
        Err(why) => report.skip("k6 scripts", &why),
    }
    let dashboard = root.join("grafana/dashboards/memory-leak-lab.json");
    report.check("dashboard", || Dashboard::read(&dashboard)?.check());
    match python::with_package(GRAFANA_MODEL) {
        Ok(bin) => {
            report.check("dashboard read back by Grafana's model", || {
                said(
                    Command::new(bin.join("python"))
                        .arg(root.join("grafana/read_back.py"))
                        .arg(&dashboard),
                )?;
                Ok("nothing lost".to_owned())
            });
        }
        Err(why) => report.skip("dashboard read back by Grafana's model", &why),
    }
    report.check("the image's toolchain", || image_toolchain(root));
    match Tool::Compose.obtain() {
        Ok(compose) => {
            report.check("compose.yaml", || check_compose(&compose, root));
        }
        Err(why) => report.skip("compose.yaml", &why),
    }
}

/// Runs a checker. What it says is only of interest when it refuses.
fn said(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let out = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!(
            "{}\n{}",
            out.trim(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(out.into_owned())
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    ensure!(
        !files.is_empty(),
        "{} has no .{extension} files",
        folder.display()
    );
    files.sort();
    Ok(files)
}

/// The image's compiler is that of its base image: it must be the one that everybody else uses.
fn image_toolchain(root: &Path) -> Result<String> {
    let read = |name: &str| {
        std::fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"))
    };
    let toolchain = read("rust-toolchain.toml")?;
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'))
        .context("rust-toolchain.toml names no channel")?;
    let dockerfile = read("compose/Dockerfile")?;
    let image = format!("FROM rust:{channel}-");
    ensure!(
        dockerfile.lines().any(|line| line.starts_with(&image)),
        "compose/Dockerfile does not begin with {image}"
    );
    Ok(channel.to_owned())
}

/// A service of the lab's text: its name, which is also that of its container, and its published ports.
const SERVICES: [(&str, &[&str]); 6] = [
    ("lab16-leaky-service", &["8080:8080"]),
    (
        "lab16-otel-collector",
        &["4317:4317", "4318:4318", "8889:8889"],
    ),
    ("lab16-jaeger", &["16686:16686"]),
    ("lab16-prometheus", &["9090:9090"]),
    ("lab16-grafana", &["3001:3000"]),
    ("lab16-k6", &[]),
];

/// 256 MiB, as compose writes it out.
const MEMORY_LIMIT: &str = "268435456";

fn check_compose(compose: &Path, root: &Path) -> Result<String> {
    // Compose has the last word on what the files mean; from the root, as the lab's text has it.
    let config = said(Command::new(compose).current_dir(root).args([
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
        wrong.push(format!("{name} is not in the lab's text"));
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
        let load = name == "lab16-k6";
        if published(service) != ports {
            wrong.push(format!("{name}: its ports are not {ports:?}"));
        }
        if !load && text("/container_name") != name {
            wrong.push(format!("{name}: its container has another name"));
        }
        if !load && text("/restart") != "unless-stopped" {
            wrong.push(format!("{name}: it is not restarted"));
        }
        if !load && service.pointer("/healthcheck/test").is_none() {
            wrong.push(format!("{name}: it has no health check"));
        }
        if load && service.pointer("/profiles/0").and_then(Value::as_str) != Some("loadtest") {
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
    for (name, version) in same_versions() {
        let image = services
            .get(name)
            .and_then(|service| service.get("image"))
            .and_then(Value::as_str);
        if !image.is_some_and(|image| image.ends_with(&format!(":{version}"))) {
            wrong.push(format!("{name}: what is tested here is {version}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(format!("{} services as in the lab's text", services.len()))
}

/// Images whose program is the one that runs here, and its version.
fn same_versions() -> [(&'static str, String); 3] {
    let prometheus = Tool::Prometheus.version().replacen("0.3", "v3.", 1);
    [
        ("lab16-prometheus", prometheus),
        ("lab16-otel-collector", Tool::Collector.version().to_owned()),
        ("lab16-k6", Tool::K6.version().to_owned()),
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
    fn a_prometheus_module_names_its_release() {
        let versions = same_versions();
        assert_eq!(versions.first().unwrap().1, "v3.16.0");
    }

    #[test]
    fn ports_are_read_as_compose_writes_them_out() {
        let service = json!({"ports": [{"mode": "ingress", "target": 3000, "published": "3001", "protocol": "tcp"}]});
        assert_eq!(published(&service), ["3001:3000"]);
        assert_eq!(published(&json!({})), Vec::<String>::new());
    }

    #[test]
    fn a_checker_that_refuses_is_quoted() {
        let error = said(Command::new("sh").args(["-c", "echo why; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
    }
}
