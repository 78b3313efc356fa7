//! `cargo xtask plugins`: builds the guests as components.

use std::fs;
use std::process::ExitCode;

use anyhow::Result;
use xtask_support::components::{self, Members};
use xtask_support::toolchain;
use xtask_support::workspace::Workspace;

/// Arguments of `cargo xtask plugins`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also build the fixtures that the host's tests load.
    #[arg(long)]
    fixtures: bool,
}

/// # Errors
/// When a target cannot be added or a plugin does not build.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    toolchain::ensure_wasm_targets(workspace)?;
    let members = if args.fixtures {
        Members::All
    } else {
        Members::Shipped
    };
    for (name, component) in components::build(workspace, members)? {
        println!(
            "{name:<28} {:>6} KiB  {}",
            fs::metadata(&component)?.len() / 1024,
            component.display()
        );
    }
    println!(
        "components for the host: {}",
        workspace.components().display()
    );
    Ok(ExitCode::SUCCESS)
}
