//! Checks of the stack's files that start nothing but the files' own checkers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask_support::layout::{COMPOSE, DASHBOARD, DASHBOARD_READER, FLEET_DASHBOARD, K6_SCRIPTS};
use xtask_support::report::Report;
use xtask_support::tools::{python_environment, run_quietly};
use xtask_support::workspace::Workspace;

use crate::dashboard::Dashboard;
use crate::tools;

mod alert_pages;
mod compose;
mod shapes;

/// Grafana's own model of a dashboard.
const GRAFANA_MODEL: &str = "grafana-foundation-sdk==0.0.21";

/// Makes every check.
pub(crate) fn check(workspace: &Workspace, report: &mut Report) {
    println!("\nfiles");
    let root = workspace.root();
    let configuration = root.join(COMPOSE);
    let rules = configuration.join("prometheus");
    match tools::PROMTOOL.obtain() {
        Ok(promtool) => {
            report.check("promtool check config", || {
                run_quietly(
                    Command::new(&promtool)
                        .args(["check", "config"])
                        .arg(rules.join("prometheus.yml")),
                )?;
                Ok("valid".to_owned())
            });
            report.check("promtool check rules", || {
                let files = files(&rules.join("rules"), "yml")?;
                run_quietly(
                    Command::new(&promtool)
                        .args(["check", "rules", "--lint=all", "--lint-fatal"])
                        .args(&files),
                )?;
                Ok(format!("{} files", files.len()))
            });
            report.check("promtool test rules", || {
                let files = files(&rules.join("tests"), "yml")?;
                run_quietly(Command::new(&promtool).args(["test", "rules"]).args(&files))?;
                Ok(format!("{} files", files.len()))
            });
            for scale in shapes::SCALES {
                report.check(
                    &format!("rules on recorded shapes, {}", scale.name()),
                    || shapes::check(&promtool, workspace, scale),
                );
            }
        }
        Err(reason) => report.skip("promtool", format_args!("{reason:#}")),
    }
    match tools::AMTOOL.obtain() {
        Ok(amtool) => {
            report.check("alertmanager configuration", || {
                let file = configuration.join("alertmanager/alertmanager.yml");
                run_quietly(Command::new(&amtool).arg("check-config").arg(file))?;
                Ok("valid".to_owned())
            });
        }
        Err(reason) => report.skip("alertmanager configuration", format_args!("{reason:#}")),
    }
    report.check("a page for each alert", || alert_pages::check(root));
    match tools::COLLECTOR.obtain() {
        Ok(collector) => {
            report.check("collector configuration", || {
                run_quietly(
                    Command::new(&collector)
                        .args(["validate", "--config"])
                        .arg(configuration.join("collector/config.yaml")),
                )?;
                Ok("valid".to_owned())
            });
        }
        Err(reason) => report.skip("collector configuration", format_args!("{reason:#}")),
    }
    match tools::K6.obtain() {
        Ok(k6) => {
            report.check("k6 scripts", || {
                let scripts = files(&root.join(K6_SCRIPTS), "js")?;
                for script in &scripts {
                    run_quietly(Command::new(&k6).arg("inspect").arg(script))?;
                }
                Ok(format!("{} valid", scripts.len()))
            });
        }
        Err(reason) => report.skip("k6 scripts", format_args!("{reason:#}")),
    }
    let dashboard = root.join(DASHBOARD);
    report.check("dashboard", || Dashboard::read(&dashboard)?.check());
    let fleet = root.join(FLEET_DASHBOARD);
    report.check("dashboard of all hosts", || {
        Dashboard::read(&fleet)?.check_fleet()
    });
    match python_environment(GRAFANA_MODEL) {
        Ok(bin) => {
            report.check("dashboard read back by Grafana's model", || {
                run_quietly(
                    Command::new(bin.join("python"))
                        .arg(root.join(DASHBOARD_READER))
                        .arg(&dashboard),
                )?;
                run_quietly(
                    Command::new(bin.join("python"))
                        .arg(root.join(DASHBOARD_READER))
                        .arg(&fleet),
                )?;
                Ok("nothing lost".to_owned())
            });
        }
        Err(reason) => report.skip(
            "dashboard read back by Grafana's model",
            format_args!("{reason:#}"),
        ),
    }
    report.check("the image's toolchain", || image_toolchain(root));
    report.check("the image's build context", || build_context(root));
    match tools::COMPOSE.obtain() {
        Ok(compose) => {
            report.check("compose.yaml", || compose::check(&compose, root));
        }
        Err(reason) => report.skip("compose.yaml", format_args!("{reason:#}")),
    }
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

/// Each path that the service's image copies from the checkout must exist and not be ignored.
fn build_context(root: &Path) -> Result<String> {
    let dockerfile = read(root, "compose/Dockerfile")?;
    let ignored = read(root, ".dockerignore")?;
    let sources = copied_paths(&dockerfile);
    for source in &sources {
        let ignored = ignored.lines().any(|ignored| ignored == *source);
        ensure!(!ignored, "COPY {source}: .dockerignore leaves it out");
        ensure!(
            root.join(source).exists(),
            "COPY {source}: it does not exist"
        );
    }
    Ok(format!("{} paths", sources.len()))
}

/// The sources of `COPY` without `--from`, which come from the build context.
fn copied_paths(dockerfile: &str) -> Vec<&str> {
    let copies = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|rest| !rest.contains("--from="));
    let mut sources = Vec::new();
    for copy in copies {
        let mut words: Vec<&str> = copy.split_whitespace().collect();
        words.retain(|word| !word.starts_with("--"));
        words.pop();
        sources.extend(words);
    }
    sources
}

fn read(root: &Path, name: &str) -> Result<String> {
    std::fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"))
}

/// The base image of the service's image must have the compiler of `rust-toolchain.toml`.
fn image_toolchain(root: &Path) -> Result<String> {
    let toolchain = read(root, "rust-toolchain.toml")?;
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'))
        .context("rust-toolchain.toml names no channel")?;
    let dockerfile = read(root, "compose/Dockerfile")?;
    let image = format!("FROM rust:{channel}-");
    ensure!(
        dockerfile.lines().any(|line| line.starts_with(&image)),
        "compose/Dockerfile does not begin with {image}"
    );
    Ok(channel.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_copies_from_the_checkout_are_read() {
        let dockerfile = "FROM a\nCOPY --from=b /x /y\nCOPY --chown=1:1 c d /e\nCOPY . .\n";
        assert_eq!(copied_paths(dockerfile), ["c", "d", "."]);
    }

    #[test]
    fn the_build_context_of_this_checkout_is_complete() {
        let workspace = Workspace::find().unwrap();
        assert_eq!(build_context(workspace.root()).unwrap(), "4 paths");
        image_toolchain(workspace.root()).unwrap();
    }
}
