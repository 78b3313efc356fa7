//! `cargo xtask stack`: the whole lab without containers — Prometheus, the collector, Jaeger and k6 run
//! as programs on the configuration files that `compose/` gives to the containers — and the tests that
//! show that it works.
//!
//! A program that this machine cannot have is skipped, and every skip is counted and printed.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::workspace::Workspace;

mod addresses;
mod dashboard;
mod docker;
mod dockerfile;
mod files;
mod image;
mod lab;
mod load;
mod process;
mod queries;
mod report;
mod scenes;
mod service;
pub(crate) mod tools;
mod up;

pub(crate) use tools::on_path;

/// What to do with the stack.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run the service, Prometheus, the collector and Jaeger on the lab's ports until Ctrl-C or `down`.
    Up(up::Args),
    /// End what `up` runs, from another terminal.
    Down,
    /// Check every file of the stack, then the running whole, k6 included.
    Test(scenes::Args),
    /// Build the programs ahead of time.
    Tools,
    /// Run the build steps of the images on this machine and try what they make.
    ImageSteps(image::Args),
}

/// Where the service's parts are.
#[derive(Debug, clap::Args)]
pub(crate) struct HostFiles {
    /// The service; by default what `cargo build --release` leaves.
    #[arg(long, env = "LEAK_HOST")]
    host: Option<PathBuf>,
    /// Folder of components; by default what `cargo xtask plugins` leaves.
    #[arg(long, env = "LEAK_PLUGINS")]
    plugins: Option<PathBuf>,
}

impl HostFiles {
    /// The files, which must be there.
    ///
    /// # Errors
    /// When they are not, with the command that makes them.
    fn find(&self, workspace: &Workspace) -> Result<service::Files> {
        let binary = self.host.clone().unwrap_or_else(|| workspace.host_binary());
        let plugins = self
            .plugins
            .clone()
            .unwrap_or_else(|| workspace.components());
        ensure!(
            binary.is_file(),
            "there is no service at {}: cargo build --release --workspace --bin leak-host",
            binary.display()
        );
        ensure!(
            plugins.is_dir(),
            "there are no plugins at {}: cargo xtask plugins",
            plugins.display()
        );
        // Somebody else's binary was built from somebody else's sources.
        let revision = self.host.is_none().then(|| workspace.revision()).flatten();
        Ok(service::Files {
            binary,
            plugins,
            revision,
        })
    }
}

/// Entry of the subcommand.
///
/// # Errors
/// When something cannot be started. A check that fails is no error but the exit code 1.
pub(crate) fn run(workspace: &Workspace, command: &Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => up::up(workspace, args),
        Command::Down => up::down(workspace),
        Command::Test(args) => scenes::run(workspace, args),
        Command::Tools => tools(),
        Command::ImageSteps(args) => image::run(workspace, args),
    }
}

fn tools() -> Result<ExitCode> {
    let mut missing = 0_u32;
    for tool in tools::Tool::ALL {
        match tool.obtain() {
            Ok(program) => println!("{:<16} {}", tool.name(), program.display()),
            Err(why) => {
                missing += 1;
                println!("{:<16} skipped: {why:#}", tool.name());
            }
        }
    }
    println!("{missing} skipped");
    Ok(ExitCode::SUCCESS)
}

/// Where the folders of all runs are.
fn runs(workspace: &Workspace) -> PathBuf {
    workspace.target().join("stack")
}
