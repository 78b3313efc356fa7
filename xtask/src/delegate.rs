//! Commands in separate crates, so that `cargo xtask run` does not compile them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use xtask_support::workspace::Workspace;

/// Arguments that the other crate reads.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Replaces this process by `cargo run` of another package, so that signals and the exit code are
/// the other program's.
///
/// # Errors
/// When cargo cannot be started. Otherwise this does not return.
pub(crate) fn exec(
    workspace: &Workspace,
    package: &str,
    subcommand: Option<&str>,
    args: &Args,
) -> Result<ExitCode> {
    run(workspace.cargo_run(package), subcommand, args)
}

/// Like [`exec`], for a package that runs guests: it is built with optimisation.
///
/// # Errors
/// When cargo cannot be started. Otherwise this does not return.
pub(crate) fn exec_release(workspace: &Workspace, package: &str, args: &Args) -> Result<ExitCode> {
    let mut cargo = workspace.cargo_run(package);
    cargo.arg("--release");
    run(cargo, None, args)
}

fn run(mut cargo: Command, subcommand: Option<&str>, args: &Args) -> Result<ExitCode> {
    cargo.arg("--").args(subcommand).args(&args.args);
    let error = cargo.exec();
    Err(error).with_context(|| format!("cannot start {cargo:?}"))
}
