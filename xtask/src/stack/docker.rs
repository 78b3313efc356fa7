//! The lab's quick start, with containers, where there is an engine to run them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::report::Report;
use crate::http;
use crate::workspace::Workspace;

/// What the text opens in a browser or asks with curl.
const ANSWERS: [&str; 5] = [
    "http://localhost:8080/health",
    "http://localhost:16686/",
    "http://localhost:9090/-/healthy",
    "http://localhost:3001/api/health",
    "http://localhost:8889/metrics",
];

/// Images are pulled and built within this; the health checks come after it.
const HEALTHY_WITHIN: &str = "1800";

/// `up`, `ps`, the URLs, k6, `down`.
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
    let up = report.check("docker compose up --build -d", || {
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
    if up {
        report.check("docker compose ps", || healthy(root));
        report.check("the URLs of the text", || {
            for url in ANSWERS {
                http::wait_for(url, Duration::from_secs(60), || http::text(url))?;
            }
            Ok(format!("{} answer", ANSWERS.len()))
        });
        report.check("dashboard in Grafana", || {
            let url = "http://admin:admin@localhost:3001/api/dashboards/uid/memory-leak-lab";
            let answer = http::json(url)?;
            let title = answer.pointer("/dashboard/title").and_then(Value::as_str);
            ensure!(title == Some("Memory Leak Investigation"), "{title:?}");
            Ok("provisioned".to_owned())
        });
        report.check("docker compose run lab16-k6", || {
            let run = [
                "compose",
                "run",
                "--rm",
                "-e",
                "DURATION=20s",
                "lab16-k6",
                "run",
                "/scripts/memory-stress.js",
            ];
            docker(root, &run)?;
            Ok("thresholds kept".to_owned())
        });
    }
    report.check("docker compose down -v", || {
        docker(root, &["compose", "--profile", "loadtest", "down", "-v"])?;
        Ok("gone".to_owned())
    });
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

fn docker(root: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("docker")
        .args(args)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .context("docker is not installed")?;
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
