//! The lab's quick start with containers, if a container engine runs.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use xtask_support::components::EXERCISES;
use xtask_support::http;
use xtask_support::report::Report;
use xtask_support::tools::run_quietly;
use xtask_support::wait::{INTERVAL, wait_for};
use xtask_support::workspace::Workspace;

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
const HEALTHY_TIMEOUT_SECONDS: &str = "1800";

/// For data that appears after a scrape, a batch or a restart.
const DATA_TIMEOUT: Duration = Duration::from_secs(60);

/// At 500 requests a second the service reaches its limit in half a minute.
const KILL_TIMEOUT: Duration = Duration::from_secs(240);

/// Lines of each container's log that are shown after a failure.
const LOG_LINES: &str = "40";

/// `up`, `ps`, the URLs, Grafana's view, k6, the kill at the limit, `down`.
pub(crate) fn quick_start(workspace: &Workspace, report: &mut Report) {
    println!("\nquick start with containers");
    let root = workspace.root();
    if let Err(reason) = docker(root, &["info", "--format", "{{.ServerVersion}}"]) {
        report.skip(
            "quick start with containers",
            format_args!("there is no container engine: {reason:#}"),
        );
        return;
    }
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
                HEALTHY_TIMEOUT_SECONDS,
            ],
        )?;
        Ok("up".to_owned())
    });
    if passed {
        passed = check_running(root, report);
    }
    if !passed {
        print_logs(root);
    }
    report.check("docker compose down -v", || {
        docker(root, &["compose", "--profile", "loadtest", "down", "-v"])?;
        Ok("removed".to_owned())
    });
}

/// Checks the running lab. True when every check passes.
fn check_running(root: &Path, report: &mut Report) -> bool {
    let mut passed = true;
    let mut check = |name: &str, check: &dyn Fn() -> Result<String>| {
        passed &= report.check(name, check);
    };
    check("docker compose ps", &|| healthy(root));
    check("the URLs of the README", &|| {
        for url in URLS {
            wait_for(url, DATA_TIMEOUT, INTERVAL, || http::text(url))?;
        }
        Ok(format!("{} answer", URLS.len()))
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
            wait_for(source, DATA_TIMEOUT, INTERVAL, || {
                let answer = http::json(&url)?;
                ensure!(answer.get("status") == Some(&json!("OK")), "{answer}");
                Ok(answer)
            })?;
            Ok("usable".to_owned())
        });
    }
    check("Prometheus scrapes both targets", &|| {
        wait_for("a target is down", DATA_TIMEOUT, INTERVAL, check_targets)
    });
    check("docker compose run lab16-k6", &|| {
        docker(root, &k6_arguments("DURATION=20s", "RATE=50"))?;
        Ok("thresholds kept".to_owned())
    });
    check("metrics of the collector", &|| {
        wait_for("no metric of the service", DATA_TIMEOUT, INTERVAL, || {
            let page = http::text("http://localhost:8889/metrics")?;
            ensure!(page.contains("otlp_leak_"), "no otlp_leak_ metric");
            Ok("with those of the service".to_owned())
        })
    });
    check("a trace by the trace_id of a response", &check_trace);
    check("killed at the limit, and restarted", &|| {
        check_restart(root)
    });
    passed
}

fn grafana(path: &str) -> String {
    format!("http://admin:admin@localhost:3001/{path}")
}

/// The service and the collector are up.
fn check_targets() -> Result<String> {
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

/// Switches all leaks on and sends requests until the service reaches its limit.
fn check_restart(root: &Path) -> Result<String> {
    for leak in EXERCISES {
        http::post(
            &format!("http://localhost:8080/admin/leaks/{leak}"),
            &json!({ "enabled": true }),
        )?;
    }
    // Its thresholds break when the service is killed, as intended. It continues while the restarts
    // are counted.
    let mut k6 = Command::new("docker")
        .args(k6_arguments("DURATION=2m", "RATE=500"))
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
            Ok(0) if started.elapsed() < KILL_TIMEOUT => sleep(Duration::from_secs(2)),
            // An error ends the load too.
            ended => break ended,
        }
    };
    let took = started.elapsed().as_secs();
    let _interrupted = k6.wait();
    ensure!(restarts? >= 1, "it still runs after {took} s");
    wait_for("it does not come back", DATA_TIMEOUT, INTERVAL, || {
        http::json("http://localhost:8080/health/ready")
    })?;
    Ok(format!("restarted after {took} s, and it answers again"))
}

/// The README's command, with this duration and rate.
fn k6_arguments<'a>(duration: &'a str, rate: &'a str) -> [&'a str; 10] {
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
    ensure!(containers == 6, "{containers} containers run");
    Ok(format!("{containers} healthy"))
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

fn docker(root: &Path, args: &[&str]) -> Result<String> {
    run_quietly(Command::new("docker").args(args).current_dir(root))
        .with_context(|| format!("docker {}", args.join(" ")))
}
