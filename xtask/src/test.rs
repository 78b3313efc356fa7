//! `cargo xtask test`: everything that a reader of the README needs to trust the checkout.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::languages::{self, Fetch};
use crate::plugins::{self, Members};
use crate::progress::{self, Report};
use crate::toolchain;
use crate::workspace::{PROFILER_RUNTIME, Workspace};

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this, in both workspaces.
    filter: Option<String>,
}

/// Entry of the subcommand.
///
/// # Errors
/// When a build cannot be started. A failing test is not an error but exit code 1.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    toolchain::ensure_wasm_targets(workspace)?;
    let mut report = Report::default();

    report.tests(
        "plugins: unit and documentation tests",
        workspace
            .plugins_cargo()
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(&args.filter),
    )?;

    report.tests(
        "heap profiler's runtime: unit tests",
        workspace
            .cargo_in(PROFILER_RUNTIME)
            .args(["test", "--no-fail-fast"])
            .args(&args.filter),
    )?;

    let started = Instant::now();
    let built = plugins::build(workspace, Members::All);
    report.record(
        "plugins: components, with the fixtures",
        built.is_ok(),
        started.elapsed(),
    );
    match built {
        Ok(_) => {
            progress::announce(
                "the host next: a first build compiles the wasm engine, which takes some minutes",
            );
            report.tests(
                "host: unit, integration and documentation tests",
                workspace
                    .cargo()
                    .args(["test", "--release", "--workspace", "--no-fail-fast"])
                    .args(&args.filter),
            )?;
        }
        Err(error) => {
            eprintln!("{error:#}");
            report.skip(
                "host: unit, integration and documentation tests",
                "they need the components",
            );
        }
    }
    if args.filter.is_none() {
        languages::build(workspace, Fetch::Never, &[], true, &mut report)?;
    }
    Ok(if report.print() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
