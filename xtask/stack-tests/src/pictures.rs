//! `stack dashboard`: checks the dashboard, and draws its panels without Grafana.
//!
//! Grafana's own components, from npm, draw them in a headless Chromium, from the data of a real
//! Prometheus. Grafana itself does not run, so the pictures show neither its server nor its
//! data source.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use serde_json::json;
use xtask_support::layout::{DASHBOARD, DASHBOARD_PICTURES, FLEET_DASHBOARD};
use xtask_support::report;
use xtask_support::workspace::Workspace;

use crate::dashboard::Dashboard;
use crate::prometheus::now;
use crate::{ServiceArgs, runs_folder};

use scenario::Scenario;
use tools::Tools;

mod load;
mod scenario;
mod tools;

/// What the pictures do not show.
const UNSEEN: &str = "Grafana itself stays unseen: its components from npm drew these pictures. \
    Gauge, state timeline and heatmap are stand-ins, because npm has no such component. \
    Annotations, links, tooltips and Grafana's own queries are not shown.";

/// Arguments of `stack dashboard`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    /// Draw every panel from a service that is idle, leaks, is killed at its limit, and is started
    /// again: 5 minutes. Needs Go, Node.js, npm and Chromium, and is skipped without them.
    #[arg(long)]
    pictures: bool,
    /// The folder for the pictures. Default: `stack/pictures` in the target folder.
    #[arg(long, value_name = "DIR", requires = "pictures")]
    out: Option<PathBuf>,
    /// Draw the last 15 minutes of a Prometheus that runs, such as that of `stack up`.
    #[arg(long, value_name = "URL", requires = "pictures")]
    prometheus: Option<String>,
    /// Draw the dashboard of all hosts.
    #[arg(long, requires = "prometheus")]
    fleet: bool,
    /// The plugin whose row is drawn.
    #[arg(long, default_value = "cache")]
    plugin: String,
    /// Grafana's theme.
    #[arg(long, value_enum, default_value_t = Theme::Dark)]
    theme: Theme,
    /// The width of the dashboard, in pixels.
    #[arg(long, default_value_t = 1600, value_parser = clap::value_parser!(u32).range(600..=4000))]
    width: u32,
    /// Requests a second while leaking. With fewer, the kill takes longer.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Theme {
    Dark,
    Light,
}

/// A moment that is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Moment {
    /// The beginning of the pictures' names.
    name: &'static str,
    /// The time range, in seconds since 1970.
    from: u64,
    to: u64,
}

/// # Errors
/// When the dashboard is wrong, the service is not built, or a picture fails.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let dashboard = Dashboard::read(&workspace.root().join(DASHBOARD))?;
    println!("{}", dashboard.check()?);
    let fleet = Dashboard::read(&workspace.root().join(FLEET_DASHBOARD))?;
    println!("all hosts: {}", fleet.check_fleet()?);
    if !args.pictures {
        return Ok(ExitCode::SUCCESS);
    }
    let tools = match Tools::find(workspace) {
        Ok(tools) => tools,
        Err(reason) => {
            println!("skipped the pictures of the dashboard: {reason:#}");
            println!("1 skipped");
            return Ok(ExitCode::SUCCESS);
        }
    };
    if let Some(url) = &args.prometheus {
        let to = now();
        let moments = [Moment {
            name: "now",
            from: to.saturating_sub(900),
            to,
        }];
        let drawn = if args.fleet { &fleet } else { &dashboard };
        return draw(workspace, args, &tools, drawn, url, &moments);
    }
    let files = args.service.find(workspace)?;
    let scenario = match Scenario::start(workspace, &files)? {
        Ok(scenario) => scenario,
        Err(reason) => {
            println!("skipped the pictures of the dashboard: {reason:#}");
            println!("1 skipped");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let url = scenario.prometheus_url();
    let moments = scenario.play(&files, args.rate)?;
    draw(workspace, args, &tools, &dashboard, &url, &moments)
}

fn draw(
    workspace: &Workspace,
    args: &Args,
    tools: &Tools,
    dashboard: &Dashboard,
    prometheus: &str,
    moments: &[Moment],
) -> Result<ExitCode> {
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| runs_folder(workspace).join("pictures"));
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let shots: Vec<_> = moments
        .iter()
        .flat_map(|moment| shots(moment, &dashboard.rows(), args))
        .collect();
    let mut node = Command::new(&tools.node);
    node.arg(workspace.root().join(DASHBOARD_PICTURES).join("draw.mjs"));
    node.arg("--page").arg(&tools.page);
    node.arg("--chromium").arg(&tools.chromium);
    node.arg("--dashboard")
        .arg(workspace.root().join(match args.fleet {
            true => FLEET_DASHBOARD,
            false => DASHBOARD,
        }));
    node.args(["--prometheus", prometheus]);
    node.arg("--out").arg(&out);
    node.arg("--shots").arg(json!(shots).to_string());
    report::must_succeed("drawing the dashboard", &mut node)?;
    println!("\n{} pictures in {}", shots.len(), out.display());
    println!("{UNSEEN}");
    Ok(ExitCode::SUCCESS)
}

/// One picture for each row. The rows are those of the dashboard, with a number in front, so that a
/// folder lists them in order.
fn shots(moment: &Moment, rows: &[&str], args: &Args) -> Vec<serde_json::Value> {
    let theme = match args.theme {
        Theme::Dark => "dark",
        Theme::Light => "light",
    };
    let shot = |(index, row): (usize, &&str)| {
        let name = slug(&row.replace("$plugin", &args.plugin));
        json!({
            "file": format!("{}-{}-{name}-{theme}.png", moment.name, index + 1),
            "row": row,
            "plugin": if row.contains("$plugin") { args.plugin.as_str() } else { "" },
            "theme": theme,
            "width": args.width,
            "from": moment.from,
            "to": moment.to,
        })
    };
    rows.iter().enumerate().map(shot).collect()
}

/// A title as part of a file name.
fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn each_row_is_a_picture_and_the_last_names_its_plugin() {
        let arguments = ["stack", "--plugin", "warm-up", "--theme", "light"];
        let args = Cli::try_parse_from(arguments).unwrap().args;
        let moment = Moment {
            name: "idle",
            from: 100,
            to: 400,
        };
        let shots = shots(&moment, &["Leak Details", "Plugin: $plugin"], &args);
        let text = |shot: usize, field: &str| shots[shot][field].as_str().unwrap().to_owned();
        assert_eq!(text(0, "file"), "idle-1-leak-details-light.png");
        assert_eq!(text(0, "plugin"), "");
        assert_eq!(text(1, "file"), "idle-2-plugin-warm-up-light.png");
        assert_eq!(text(1, "plugin"), "warm-up");
        assert_eq!(
            (&shots[1]["from"], &shots[1]["to"]),
            (&json!(100), &json!(400))
        );
    }

    #[test]
    fn a_folder_or_prometheus_needs_pictures() {
        assert!(Cli::try_parse_from(["stack", "--out", "a"]).is_err());
        assert!(Cli::try_parse_from(["stack", "--prometheus", "http://a"]).is_err());
        assert!(Cli::try_parse_from(["stack", "--pictures", "--out", "a"]).is_ok());
    }
}
