//! `cargo xtask test`: every test that needs nothing but Rust.

use std::process::ExitCode;

use anyhow::Result;
use xtask_support::components::{self, Members};
use xtask_support::layout::PROFILER_RUNTIME;
use xtask_support::report::{self, Report};
use xtask_support::toolchain;
use xtask_support::tools::Fetch;
use xtask_support::workspace::Workspace;

use crate::languages;

const HOST_TESTS: &str = "host: unit, integration and documentation tests";

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this, in both workspaces.
    filter: Option<String>,
}

/// # Errors
/// When a build cannot be started. A failing test is not an error but exit code 1.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    toolchain::ensure_wasm_targets(workspace)?;
    let mut report = Report::default();

    let mut plugins = workspace.plugins_cargo();
    plugins.args(["test", "--workspace", "--no-fail-fast"]);
    report.tests(
        "plugins: unit and documentation tests",
        plugins.args(&args.filter),
    )?;

    let mut runtime = workspace.cargo_in(PROFILER_RUNTIME);
    runtime.args(["test", "--no-fail-fast"]);
    report.tests(
        "heap profiler's runtime: tests of the tables",
        runtime.args(&args.filter),
    )?;

    let built = report.check("plugins: components, with the fixtures", || {
        let components = components::build(workspace, Members::All)?;
        Ok(format!("{} built", components.len()))
    });
    if built {
        report::announce(
            "the host next: a first build compiles the wasm engine, which takes some minutes",
        );
        let mut host = workspace.cargo();
        host.args(["test", "--release", "--workspace", "--no-fail-fast"]);
        report.tests(HOST_TESTS, host.args(&args.filter))?;
    } else {
        report.skip(HOST_TESTS, "they need the components");
    }
    if args.filter.is_none() {
        languages::build(workspace, Fetch::Never, &[], true, &mut report)?;
    }
    Ok(report.finish())
}
