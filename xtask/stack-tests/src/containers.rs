//! The lab in containers: with the Docker engine of this machine, or with an engine of its own.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use xtask_support::report::Report;
use xtask_support::tools::run_quietly;
use xtask_support::workspace::Workspace;

use crate::ServiceArgs;

mod death;
mod engine;
mod exercises;
mod fleet;
mod steps;

pub(crate) use engine::Inside;

/// An image of the lab that only a registry has.
const PUBLISHED_IMAGE: &str = "gcr.io/distroless/cc-debian13:nonroot";

/// What the images are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Images {
    /// The published ones, and what `compose/Dockerfile` builds from the sources.
    Published,
    /// Programs that this machine has, under the names of the published images.
    StandIns,
}

/// Runs the lab in containers. Skipped where there is no engine and none can be started.
pub(crate) fn check(workspace: &Workspace, service: &ServiceArgs, report: &mut Report) {
    println!("\nthe lab in containers");
    let root = workspace.root();
    let of_machine = docker(root, &["info", "--format", "{{.ServerVersion}}"])
        .context("there is no container engine")
        .and_then(|version| {
            docker(root, &["manifest", "inspect", PUBLISHED_IMAGE])
                .context("the container engine reaches no registry")?;
            Ok(version)
        });
    match of_machine {
        Ok(version) => {
            println!("  Docker {} of this machine", version.trim());
            steps::run(root, Images::Published, report);
        }
        Err(reason) => {
            println!("  {reason:#}");
            println!("  an engine from Debian's packages runs in namespaces of its own instead");
            if let Err(reason) = engine::run(workspace, service, report) {
                report.skip("the lab in containers", format_args!("{reason:#}"));
            }
        }
    }
}

/// The steps, run by [`engine`] next to its own engine.
pub(crate) fn check_inside(inside: &Inside) -> ExitCode {
    let mut report = Report::default();
    report.check("the engine from Debian's packages", || {
        let version = docker(&inside.root, &["version", "--format={{.Server.Version}}"])?;
        Ok(format!("Docker {}", version.trim()))
    });
    if engine::build_stand_ins(inside, &mut report) {
        steps::run(&inside.root, Images::StandIns, &mut report);
    }
    report.finish_as_tests()
}

fn docker(root: &Path, args: &[&str]) -> Result<String> {
    run_quietly(Command::new("docker").args(args).current_dir(root))
        .with_context(|| format!("docker {}", args.join(" ")))
}
