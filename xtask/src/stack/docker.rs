//! The lab's quick start, with containers, where there is an engine to run them.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::report::Report;
use crate::http;
use crate::plugins::EXERCISES;
use crate::workspace::Workspace;

/// What the text opens in a browser or asks with curl.
const ANSWERS: [&str; 5] = [
    "http://localhost:8080/health",
    "http://localhost:16686/",
    "http://localhost:9090/-/ready",
    "http://localhost:3001/api/health",
    "http://localhost:8889/metrics",
];

/// Grafana asks each of its data sources whether it can work with it.
const SOURCES: [&str; 2] = ["prometheus", "jaeger"];

/// Images are pulled and built within this; the health checks come after it.
const HEALTHY_WITHIN: &str = "1800";

/// For what is there after a scrape, a batch or a restart.
const THERE_WITHIN: Duration = Duration::from_secs(60);

/// At 500 requests a second the limit is half a minute away.
const DIES_WITHIN: Duration = Duration::from_secs(240);

/// Lines of each container's log that are shown after a failure.
const LOG_LINES: &str = "40";

/// `up`, `ps`, the URLs, what Grafana sees, k6, the death at the limit, `down`.
pub(crate) fn quick_start(workspace: &Workspace, report: &mut Report) {
    println!("\nquick start with containers");
    let root = workspace.root();
    if let Err(why) = docker(root, &["info", "--format", "{{.ServerVersion}}"]) {
        report.skip(
            "quick start with containers",
            &why.context("there is no container engine"),
        );
        return;
    }
    // Somebody's lab is not ours to end, and its data not ours to delete.
    let ours = report.check("no lab is up yet", || {
        let running = docker(root, &["compose", "ps", "--all", "--quiet"])?;
        ensure!(
            running.trim().is_empty(),
            "containers of this project are there already; end them with: docker compose down -v"
        );
        Ok("none".to_owned())
    });
    if !ours {
        return;
    }
    let mut passed = report.check("docker compose up --build -d", || {
        docker(
            root,
            &[
                "compose",
                "up",
                "--build",
                "-d",
                "--wait",
                "--wait-timeout",
                HEALTHY_WITHIN,
            ],
        )?;
        Ok("up".to_owned())
    });
    if passed {
        passed = looks(root, report);
    }
    if !passed {
        show_why(root);
    }
    report.check("docker compose down -v", || {
        docker(root, &["compose", "--profile", "loadtest", "down", "-v"])?;
        Ok("gone".to_owned())
    });
}

/// Everything that a running lab is looked at for. True when all of it is so.
fn looks(root: &Path, report: &mut Report) -> bool {
    let mut passed = true;
    let mut check = |name: &str, check: &dyn Fn() -> Result<String>| {
        passed &= report.check(name, check);
    };
    check("docker compose ps", &|| healthy(root));
    check("the URLs of the text", &|| {
        for url in ANSWERS {
            http::wait_for(url, THERE_WITHIN, || http::text(url))?;
        }
        Ok(format!("{} answer", ANSWERS.len()))
    });
    check("dashboard in Grafana", &|| {
        let answer = http::json(&grafana("api/dashboards/uid/memory-leak-lab"))?;
        let title = answer.pointer("/dashboard/title").and_then(Value::as_str);
        ensure!(title == Some("Memory Leak Investigation"), "{title:?}");
        Ok("provisioned".to_owned())
    });
    for source in SOURCES {
        check(&format!("Grafana's data source {source}"), &|| {
            let url = grafana(&format!("api/datasources/uid/{source}/health"));
            http::wait_for(source, THERE_WITHIN, || {
                let answer = http::json(&url)?;
                ensure!(answer.get("status") == Some(&json!("OK")), "{answer}");
                Ok(answer)
            })?;
            Ok("it can work with it".to_owned())
        });
    }
    check("Prometheus scrapes both targets", &|| {
        http::wait_for("a target is down", THERE_WITHIN, scraped)
    });
    check("docker compose run lab16-k6", &|| {
        docker(root, &load("DURATION=20s", "RATE=50"))?;
        Ok("thresholds kept".to_owned())
    });
    check("metrics of the collector", &|| {
        http::wait_for("nothing of ours", THERE_WITHIN, || {
            let page = http::text("http://localhost:8889/metrics")?;
            ensure!(page.contains("otlp_leak_"), "none of ours");
            Ok("the service's own are among them".to_owned())
        })
    });
    check("a trace by the trace_id of a response", &traced);
    check("killed at the limit, and restarted", &|| killed(root));
    passed
}

fn grafana(path: &str) -> String {
    format!("http://admin:admin@localhost:3001/{path}")
}

/// `up` of the service and of the collector.
fn scraped() -> Result<String> {
    let answer = http::query(
        "http://localhost:9090/api/v1/query",
        &[("query", "sum(up == 1)")],
    )?;
    let up = answer
        .pointer("/data/result/0/value/1")
        .and_then(Value::as_str)
        .context("no target is up")?;
    ensure!(up == "2", "{up} of 2 targets are up");
    Ok("both are up".to_owned())
}

/// A request, and its trace in Jaeger, by the call that Grafana makes too.
fn traced() -> Result<String> {
    let answer = http::json("http://localhost:8080/api/data")?;
    let id = answer
        .get("trace_id")
        .and_then(Value::as_str)
        .context("the answer has no trace_id")?;
    let url = format!("http://localhost:16686/api/traces/{id}");
    http::wait_for("Jaeger has no such trace", THERE_WITHIN, || {
        let trace = http::json(&url)?;
        let spans = trace.pointer("/data/0/spans").and_then(Value::as_array);
        ensure!(spans.is_some_and(|spans| !spans.is_empty()), "it is empty");
        Ok(())
    })?;
    Ok(id.to_owned())
}

/// The danger zone: all leaks on, and a load that reaches the limit.
fn killed(root: &Path) -> Result<String> {
    for leak in EXERCISES {
        http::post(
            &format!("http://localhost:8080/admin/leaks/{leak}"),
            &json!({ "enabled": true }),
        )?;
    }
    // Its thresholds break when the service dies: that is what it is for. It goes on while the restarts are counted.
    let mut k6 = Command::new("docker")
        .args(load("DURATION=2m", "RATE=500"))
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("docker is not installed")?;
    let started = Instant::now();
    let restarts = loop {
        let count = docker(
            root,
            &[
                "inspect",
                "--format",
                "{{.RestartCount}}",
                "lab16-leaky-service",
            ],
        );
        let count = count.map(|text| text.trim().parse::<u32>().unwrap_or(0));
        match count {
            Ok(0) if started.elapsed() < DIES_WITHIN => sleep(Duration::from_secs(2)),
            // One that cannot be asked ends the load too.
            ended => break ended,
        }
    };
    let took = started.elapsed().as_secs();
    let _interrupted = k6.wait();
    ensure!(restarts? >= 1, "it lives after {took} s");
    http::wait_for("it does not come back", THERE_WITHIN, || {
        http::json("http://localhost:8080/health")
    })?;
    Ok(format!("restarted after {took} s, and it answers again"))
}

/// The text's own command, with a load of its own.
fn load<'a>(duration: &'a str, rate: &'a str) -> [&'a str; 10] {
    [
        "compose",
        "run",
        "--rm",
        "-e",
        duration,
        "-e",
        rate,
        "lab16-k6",
        "run",
        "/scripts/memory-stress.js",
    ]
}

fn healthy(root: &Path) -> Result<String> {
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
    ensure!(containers == 5, "{containers} containers run");
    Ok(format!("{containers} healthy"))
}

/// What the containers say of themselves, before they are gone.
fn show_why(root: &Path) {
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

fn docker(root: &Path, args: &[&str]) -> Result<String> {
    let output = output(root, args)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        bail!(
            "docker {}: {}",
            args.join(" "),
            last.unwrap_or("it gave no reason")
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
