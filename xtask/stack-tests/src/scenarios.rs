//! `stack test`: the files, then the running stack in four scenarios, then the queries of the
//! dashboard and the rules over everything that happened.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use xtask_support::components;
use xtask_support::layout::K6_SCRIPTS;
use xtask_support::report::Report;
use xtask_support::workspace::Workspace;

use crate::addresses::Addresses;
use crate::k6::K6;
use crate::process::Run;
use crate::prometheus::Prometheus;
use crate::service::ServiceFiles;
use crate::stack::{Programs, Stack};
use crate::tools;
use crate::{ServiceArgs, containers, files, profiles, runs_folder, scorer};

mod alerts;
mod collector_outage;
mod exemplars;
mod leaks;
mod memory_limit;
mod queries;
mod series;

/// The fixture that never returns and has to be stopped by its deadline.
const LOOPING_FIXTURE: &str = "fixture-loops";

/// Arguments of `stack test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Suite>,
    /// How long k6 leaks, in seconds. The README takes five minutes. Below 150 no leak is confirmed
    /// and no fragmentation found.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(10..=3600))]
    seconds: u32,
    /// Requests a second while leaking.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=5000))]
    rate: u32,
    /// Also the lab in containers: with the Docker engine of this machine, or as root with one from
    /// Debian's packages in namespaces of its own. Skipped where neither is possible.
    #[arg(long)]
    docker: bool,
}

/// A part of the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Suite {
    /// Configuration, rules, dashboard, scripts, compose file.
    Files,
    /// The alert scorer and the dataset.
    Scorer,
    /// Every leak on, under load; traces; every event of a plugin.
    Leaks,
    /// An alert from the rule to the console, and its end.
    Alerts,
    /// The memory limit, the kill and the restart.
    Limit,
    /// A collector that stops under load.
    Away,
    /// Heap profiles over OTLP to the real collector.
    Profiles,
    /// Only with this name or with `--docker`: the lab in containers.
    Containers,
}

/// The running stack that the scenarios share.
struct TestBed<'a> {
    stack: Stack,
    programs: &'a Programs,
    files: &'a ServiceFiles,
    /// A component that never returns.
    looping_component: &'a Path,
    k6: Option<K6>,
    prometheus: Option<Prometheus>,
    load: LeakLoad,
}

/// The load of the first scenario.
#[derive(Debug, Clone, Copy)]
struct LeakLoad {
    seconds: u32,
    /// Requests a second.
    rate: u32,
}

/// # Errors
/// When the service is not built, or an available program does not start.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut report = Report::default();
    let wanted = |suite| args.only.is_empty() || args.only.contains(&suite);
    if wanted(Suite::Files) {
        files::check(workspace, &mut report);
    }
    if wanted(Suite::Scorer) {
        scorer::check(workspace, &args.service, &mut report)?;
    }
    if [Suite::Leaks, Suite::Alerts, Suite::Limit, Suite::Away]
        .into_iter()
        .any(wanted)
    {
        run_scenarios(workspace, args, wanted, &mut report)?;
    }
    if wanted(Suite::Profiles) {
        profiles::check(workspace, &args.service, &mut report)?;
    }
    if args.docker || args.only.contains(&Suite::Containers) {
        containers::check(workspace, &args.service, &mut report);
    }
    Ok(report.finish())
}

fn run_scenarios(
    workspace: &Workspace,
    args: &Args,
    wanted: impl Fn(Suite) -> bool,
    report: &mut Report,
) -> Result<()> {
    let found = args.service.find(workspace)?;
    let looping_component = components::build_one(workspace, LOOPING_FIXTURE)?;
    let programs = Programs::obtain();
    let k6 = match tools::K6.obtain() {
        Ok(program) => Some(K6 {
            program,
            scripts: workspace.root().join(K6_SCRIPTS),
        }),
        Err(reason) => {
            report.skip("k6", format_args!("{reason:#}"));
            None
        }
    };
    for (name, program) in [
        ("Prometheus", &programs.prometheus),
        ("Alertmanager", &programs.alertmanager),
        ("collector", &programs.collector),
        ("Jaeger", &programs.jaeger),
    ] {
        if let Err(reason) = program {
            report.skip(name, format_args!("{reason:#}"));
        }
    }
    let name = format!("test-{}", std::process::id());
    let run = Run::new(runs_folder(workspace).join(name))?;
    run.end_on_signals()?;
    // Copies, because the scenarios load and unload plugins.
    let plugins = run.folder().join("plugins");
    components::copy_all(&found.plugins, &plugins)?;
    let files = ServiceFiles { plugins, ..found };
    println!("\nrunning stack: logs in {}", run.folder().display());
    let stack = Stack::start(workspace, &programs, Addresses::free()?, run)?;
    let prometheus = stack
        .prometheus
        .is_some()
        .then(|| Prometheus::new(stack.addresses.prometheus_url()));
    let mut bed = TestBed {
        stack,
        programs: &programs,
        files: &files,
        looping_component: &looping_component,
        k6,
        prometheus,
        load: LeakLoad {
            seconds: args.seconds,
            rate: args.rate,
        },
    };
    if wanted(Suite::Leaks) {
        leaks::run(&bed, report)?;
    }
    if wanted(Suite::Alerts) {
        alerts::run(&bed, report)?;
    }
    if wanted(Suite::Limit) {
        memory_limit::run(&bed, report)?;
    }
    if wanted(Suite::Away) {
        collector_outage::run(&mut bed, report)?;
    }
    let every_scenario = wanted(Suite::Leaks) && wanted(Suite::Limit);
    queries::run(workspace, &bed, every_scenario, report);
    Ok(())
}
