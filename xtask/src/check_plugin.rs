//! `cargo xtask check-plugin`: checks whether components keep the promises of the contract.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use xtask_support::components::{self, Members};
use xtask_support::workspace::Workspace;
use xtask_support::{host_process, report, toolchain};

/// Arguments of `cargo xtask check-plugin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The components. Without one: all that are shipped, which are built first.
    files: Vec<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Requests of each run.
    #[arg(long)]
    requests: Option<u32>,
}

/// Exits with 0 if all conform, with 1 if one does not, with 2 if one cannot be checked.
///
/// # Errors
/// When something does not build or cannot be started.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut files = args.files.clone();
    if files.is_empty() {
        toolchain::ensure_wasm_targets(workspace)?;
        files = components::build(workspace, Members::Shipped)?
            .into_values()
            .collect();
    }
    host_process::build(workspace)?;
    let mut worst = 0;
    for file in files {
        if !args.json {
            report::announce(format_args!("checking {}", file.display()));
        }
        let mut check = host_process::command(workspace);
        check.arg("check").arg(&file);
        if args.json {
            check.arg("--json");
        }
        if let Some(requests) = args.requests {
            check.args(["--requests", &requests.to_string()]);
        }
        let status = check
            .status()
            .with_context(|| format!("cannot start {check:?}"))?;
        worst = worst.max(host_process::exit_code(status));
    }
    Ok(ExitCode::from(worst))
}
