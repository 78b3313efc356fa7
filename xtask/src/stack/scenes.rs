//! `stack test`: the files, then the whole stack in three scenes, then every question that the dashboard
//! and the rules ask, about all that has happened.

mod away;
mod contract;
mod leaks;
mod limit;
mod questions;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};

use super::addresses::Addresses;
use super::lab::{Lab, Programs};
use super::load::K6;
use super::process::Run;
use super::queries::Prometheus;
use super::report::Report;
use super::service::Files;
use super::tools::Tool;
use super::{HostFiles, docker, files, runs};
use crate::plugins;
use crate::workspace::Workspace;

/// The fixture that has to be stopped by its deadline.
const LOOPS: &str = "fixture-loops";

/// Arguments of `stack test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    host: HostFiles,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How long k6 leaks, in seconds; the text's own five minutes are for people. Below 150 no
    /// leak is confirmed and no fragmentation found.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(10..=3600))]
    seconds: u32,
    /// Requests a second while leaking.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=5000))]
    rate: u32,
    /// Also the lab's quick start, with containers.
    #[arg(long)]
    docker: bool,
}

/// A part of the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Configuration, rules, dashboard, scripts, compose file.
    Files,
    /// Every leak on, under load; traces; what happens to a plugin.
    Leaks,
    /// The memory limit, the death and the restart.
    Limit,
    /// A collector that goes away under load.
    Away,
}

/// What the scenes play with.
struct Stage<'a> {
    lab: Lab,
    programs: &'a Programs,
    files: &'a Files,
    /// A component that never returns.
    loops: &'a Path,
    k6: Option<K6>,
    prometheus: Option<Prometheus>,
    load: Load,
}

/// How hard the first scene leaks.
#[derive(Debug, Clone, Copy)]
struct Load {
    seconds: u32,
    rate: u32,
}

/// Entry of `stack test`.
///
/// # Errors
/// When the service is not built or a program that is there does not start.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut report = Report::default();
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    if wanted(Part::Files) {
        files::check(workspace, &mut report);
    }
    if [Part::Leaks, Part::Limit, Part::Away]
        .into_iter()
        .any(wanted)
    {
        live(workspace, args, wanted, &mut report)?;
    }
    if args.docker {
        docker::quick_start(workspace, &mut report);
    }
    Ok(if report.print() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn live(
    workspace: &Workspace,
    args: &Args,
    wanted: impl Fn(Part) -> bool,
    report: &mut Report,
) -> Result<()> {
    let found = args.host.find(workspace)?;
    let loops = plugins::build_one(workspace, LOOPS)?;
    let programs = Programs::obtain();
    let k6 = match Tool::K6.obtain() {
        Ok(program) => Some(K6 {
            program,
            scripts: workspace.root().join("k6"),
        }),
        Err(why) => {
            report.skip("k6", &why);
            None
        }
    };
    for (name, program) in [
        ("Prometheus", &programs.prometheus),
        ("collector", &programs.collector),
        ("Jaeger", &programs.jaeger),
    ] {
        if let Err(why) = program {
            report.skip(name, &anyhow!("{why:#}"));
        }
    }
    let name = format!("test-{}", std::process::id());
    let run = Run::new(runs(workspace).join(name))?;
    run.end_on_signals()?;
    let files = Files {
        plugins: copied(&found.plugins, &run.folder().join("plugins"))?,
        ..found
    };
    println!("\nrunning stack: logs in {}", run.folder().display());
    let lab = Lab::start(workspace, &programs, Addresses::free()?, run)?;
    let prometheus = lab
        .prometheus
        .is_some()
        .then(|| Prometheus::new(lab.addresses.prometheus_url()));
    let mut stage = Stage {
        lab,
        programs: &programs,
        files: &files,
        loops: &loops,
        k6,
        prometheus,
        load: Load {
            seconds: args.seconds,
            rate: args.rate,
        },
    };
    if wanted(Part::Leaks) {
        leaks::play(&mut stage, report)?;
    }
    if wanted(Part::Limit) {
        limit::play(&mut stage, report)?;
    }
    if wanted(Part::Away) {
        away::play(&mut stage, report)?;
    }
    let every_scene = wanted(Part::Leaks) && wanted(Part::Limit);
    questions::ask(workspace, &stage, every_scene, report);
    Ok(())
}

/// A folder of the test's own with the same components: what it loads and unloads is nobody else's.
fn copied(components: &Path, folder: &Path) -> Result<PathBuf> {
    let copy = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(components)? {
            let file = entry?.path();
            if let Some(name) = file.file_name()
                && file.extension().is_some_and(|e| e == "wasm")
            {
                fs::copy(&file, folder.join(name))?;
            }
        }
        Ok(())
    };
    copy().with_context(|| format!("cannot copy {}", components.display()))?;
    Ok(folder.to_owned())
}
