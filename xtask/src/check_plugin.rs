//! `cargo xtask check-plugin`: whether components keep the promises of the contract.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::host_process;
use crate::plugins::{self, Members};
use crate::progress;
use crate::toolchain;
use crate::workspace::Workspace;

/// Arguments of `cargo xtask check-plugin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The components; without one, all that are shipped, which are built first.
    files: Vec<PathBuf>,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Requests of each run.
    #[arg(long)]
    requests: Option<u32>,
}

/// Entry of the subcommand. Exits with 0 if all conform, with 1 if one does not, with 2 if one cannot be checked.
///
/// # Errors
/// When something does not build or cannot be started.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut files = args.files.clone();
    if files.is_empty() {
        toolchain::ensure_wasm_targets(workspace)?;
        files = plugins::build(workspace, Members::Shipped)?
            .into_values()
            .collect();
    }
    host_process::build(workspace)?;
    let mut worst = 0;
    for file in files {
        if !args.json {
            progress::announce(format_args!("checking {}", file.display()));
        }
        let program = workspace.host_binary();
        let mut check = Command::new(&program);
        check.arg("check").arg(&file);
        if args.json {
            check.arg("--json");
        }
        if let Some(requests) = args.requests {
            check.args(["--requests", &requests.to_string()]);
        }
        let status = check
            .status()
            .with_context(|| format!("cannot start {}", program.display()))?;
        worst = worst.max(host_process::exit_code(status));
    }
    Ok(ExitCode::from(worst))
}
