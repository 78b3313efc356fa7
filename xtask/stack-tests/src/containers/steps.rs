//! The steps: up, healthy, the exercises, telemetry, the kill at the limit, down.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use xtask_support::http;
use xtask_support::report::Report;
use xtask_support::wait::{INTERVAL, wait_for};

use super::{Images, death, docker, exercises, fleet};

/// The URLs of the README.
const URLS: [&str; 5] = [
    "http://localhost:8080/health/ready",
    "http://localhost:16686/",
    "http://localhost:9090/-/ready",
    "http://localhost:3001/api/health",
    "http://localhost:8889/metrics",
];

/// Grafana's data sources. It can check each of them.
const SOURCES: [&str; 2] = ["prometheus", "jaeger"];

/// Seconds within which all containers are healthy, after images have been pulled and built.
const HEALTHY_TIMEOUT_SECONDS: &str = "600";

/// For data that appears after a scrape, a batch or a restart.
const DATA_TIMEOUT: Duration = Duration::from_secs(60);

/// Lines of each container's log that are shown after a failure.
const LOG_LINES: &str = "40";

/// Requests whose traces are not recorded.
const UNTRACED: [&str; 2] = ["GET /health", "GET /metrics"];

/// Runs the lab, and removes it at the end.
pub(super) fn run(root: &Path, images: Images, report: &mut Report) {
    // A lab that runs already belongs to the user: the test neither ends it nor deletes its data.
    let unused = report.check("no lab is up yet", || {
        let running = docker(root, &["compose", "ps", "--all", "--quiet"])?;
        ensure!(
            running.trim().is_empty(),
            "containers of this project exist already; end them with: docker compose down -v"
        );
        Ok("none".to_owned())
    });
    if !unused {
        return;
    }
    let up = report.check("docker compose up --build -d --wait", || {
        let timeout = ["--wait-timeout", HEALTHY_TIMEOUT_SECONDS];
        let up = ["compose", "up", "--build", "-d", "--wait"];
        docker(root, &[&up[..], &timeout].concat())?;
        Ok("up".to_owned())
    });
    let passed = up && check_running(root, images, report);
    if !passed {
        print_logs(root);
    }
    report.check("docker compose down -v", || {
        // The replicas of the fleet are orphans for the files of the lab.
        let down = ["--profile", "loadtest", "down", "-v", "--remove-orphans"];
        docker(root, &[&["compose"][..], &down].concat())?;
        check_nothing_left(root)
    });
}

/// Checks the running lab. True when every check passes.
fn check_running(root: &Path, images: Images, report: &mut Report) -> bool {
    let failed_before = report.failed();
    report.check("docker compose ps", || healthy(root));
    report.check("the URLs of the README", || {
        for url in URLS {
            wait_for(url, DATA_TIMEOUT, INTERVAL, || http::text(url))?;
        }
        Ok(format!("{} answer", URLS.len()))
    });
    match images {
        Images::Published => check_grafana(report),
        Images::StandIns => report.skip("Grafana", "a stand-in that only answers its health check"),
    }
    report.check("Prometheus scrapes its targets", || {
        wait_for("a target is down", DATA_TIMEOUT, INTERVAL, check_targets)
    });
    report.check("a trace by the trace_id of a response", check_trace);
    match exercises::run(root, report) {
        Ok(last) => {
            report.check("Jaeger has no traces of health checks", check_untraced);
            report.check("metrics of the collector", || {
                wait_for("no metric of the service", DATA_TIMEOUT, INTERVAL, || {
                    let page = http::text("http://localhost:8889/metrics")?;
                    ensure!(page.contains("otlp_leak_"), "no otlp_leak_ metric");
                    Ok("with those of the service".to_owned())
                })
            });
            if let Some(block) = last {
                death::check(root, &block, report);
            }
            fleet::check(root, report);
        }
        Err(error) => {
            report.check("the exercises", || Err(error));
        }
    }
    report.failed() == failed_before
}

fn check_grafana(report: &mut Report) {
    report.check("dashboard in Grafana", || {
        let answer = http::json(&grafana("api/dashboards/uid/memory-leak-lab"))?;
        let title = answer.pointer("/dashboard/title").and_then(Value::as_str);
        ensure!(title == Some("Memory Leak Investigation"), "{title:?}");
        Ok("provisioned".to_owned())
    });
    for source in SOURCES {
        report.check(&format!("Grafana's data source {source}"), || {
            let url = grafana(&format!("api/datasources/uid/{source}/health"));
            wait_for(source, DATA_TIMEOUT, INTERVAL, || {
                let answer = http::json(&url)?;
                ensure!(answer.get("status") == Some(&json!("OK")), "{answer}");
                Ok(answer)
            })?;
            Ok("usable".to_owned())
        });
    }
}

fn grafana(path: &str) -> String {
    format!("http://admin:admin@localhost:3001/{path}")
}

/// The service, the collector and every other target are up.
fn check_targets() -> Result<String> {
    let count = |query: &str| -> Result<u32> {
        let answer = http::query("http://localhost:9090/api/v1/query", &[("query", query)])?;
        let value = answer.pointer("/data/result/0/value/1");
        let value = value.and_then(Value::as_str).unwrap_or("0");
        value.parse().with_context(|| value.to_owned())
    };
    let (up, all) = (count("count(up == 1)")?, count("count(up)")?);
    ensure!(up >= 2 && up == all, "{up} of {all} targets are up");
    Ok(format!("{up} are up"))
}

/// Finds the trace of a request in Jaeger, by the same call as Grafana.
fn check_trace() -> Result<String> {
    let answer = http::json("http://localhost:8080/api/data")?;
    let id = answer
        .get("trace_id")
        .and_then(Value::as_str)
        .context("the answer has no trace_id")?;
    let url = format!("http://localhost:16686/api/traces/{id}");
    wait_for("Jaeger has no such trace", DATA_TIMEOUT, INTERVAL, || {
        let trace = http::json(&url)?;
        let spans = trace.pointer("/data/0/spans").and_then(Value::as_array);
        ensure!(
            spans.is_some_and(|spans| !spans.is_empty()),
            "it has no spans"
        );
        Ok(())
    })?;
    Ok(id.to_owned())
}

/// The health check and Prometheus have called the service many times by now.
fn check_untraced() -> Result<String> {
    let url = "http://localhost:16686/api/services/leaky-service/operations";
    let answer = http::json(url)?;
    let operations = answer.get("data").and_then(Value::as_array);
    let operations = operations.context("Jaeger knows no operations")?;
    ensure!(!operations.is_empty(), "Jaeger knows no operations");
    for name in operations.iter().filter_map(Value::as_str) {
        let traced = UNTRACED.iter().any(|untraced| name.starts_with(untraced));
        ensure!(!traced, "{name} has traces");
    }
    Ok(format!("{} operations", operations.len()))
}

fn healthy(root: &Path) -> Result<String> {
    let services = docker(root, &["compose", "config", "--services"])?;
    let lines = docker(root, &["compose", "ps", "--format", "json"])?;
    let mut containers = 0;
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let container: Value = serde_json::from_str(line).context("docker compose ps")?;
        let field = |name: &str| {
            container
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        ensure!(
            field("Health") == "healthy",
            "{} is {}",
            field("Name"),
            field("Status")
        );
        containers += 1;
    }
    let expected = services.lines().count();
    ensure!(containers == expected, "{containers} of {expected} run");
    Ok(format!("{containers} healthy"))
}

/// Neither containers nor volumes nor networks of this project exist.
fn check_nothing_left(root: &Path) -> Result<String> {
    let project = "label=com.docker.compose.project=leak-lab";
    for (what, list) in [
        ("containers", &["ps", "--all"][..]),
        ("volumes", &["volume", "ls"]),
        ("networks", &["network", "ls"]),
    ] {
        let left = docker(root, &[list, &["--quiet", "--filter", project]].concat())?;
        ensure!(left.trim().is_empty(), "{what} are left: {left}");
    }
    Ok("no container, volume or network is left".to_owned())
}

/// Prints the logs of the containers before they are removed.
fn print_logs(root: &Path) {
    for args in [
        &["compose", "ps", "--all"][..],
        &["compose", "logs", "--no-color", "--tail", LOG_LINES],
    ] {
        println!("\n$ docker {}", args.join(" "));
        match output(root, args) {
            Ok(output) => println!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) => println!("{error:#}"),
        }
    }
}

fn output(root: &Path, args: &[&str]) -> Result<Output> {
    Command::new("docker")
        .args(args)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .context("docker is not installed")
}
