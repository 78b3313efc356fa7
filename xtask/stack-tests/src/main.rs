//! `cargo xtask stack`: the whole lab without containers, and the tests of it.
//!
//! Prometheus, the collector, Jaeger and k6 run as programs with the configuration files that
//! `compose/` gives to the containers. A program that this machine cannot run is skipped, and every
//! skip is counted and printed.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use xtask_support::workspace::Workspace;

mod addresses;
mod containers;
mod dashboard;
mod files;
mod k6;
mod pictures;
mod process;
mod profiles;
mod prometheus;
mod scenarios;
mod scorer;
mod service;
mod stack;
mod tools;
mod up;

/// The lab with Prometheus, collector, Jaeger and k6, without containers; and its tests.
#[derive(Debug, Parser)]
#[command(name = "xtask-stack-tests", bin_name = "cargo xtask stack")]
enum Cli {
    /// Run the service, Prometheus, the collector and Jaeger on the lab's ports until Ctrl-C or
    /// `down`.
    Up(up::Args),
    /// End what `up` runs, from another terminal.
    Down,
    /// Check every file of the stack, then the running stack, k6 included.
    Test(scenarios::Args),
    /// Check the dashboard, or draw its panels without Grafana.
    Dashboard(pictures::Args),
    /// Build the programs ahead of time.
    Tools,
    /// The steps of `test --docker`, next to the engine that it started.
    #[command(hide = true)]
    ContainersInside(containers::Inside),
}

/// Where the service's files are.
#[derive(Debug, clap::Args)]
struct ServiceArgs {
    /// The service. Default: the binary of `cargo build --release`.
    #[arg(long, env = "LEAK_HOST")]
    host: Option<PathBuf>,
    /// Folder of components. Default: the folder of `cargo xtask plugins`.
    #[arg(long, env = "LEAK_PLUGINS")]
    plugins: Option<PathBuf>,
}

impl ServiceArgs {
    /// The files, which must exist.
    ///
    /// # Errors
    /// When they do not, with the command that makes them.
    fn find(&self, workspace: &Workspace) -> Result<service::ServiceFiles> {
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
        // The sources of a binary from elsewhere are unknown.
        let revision = self.host.is_none().then(|| workspace.revision()).flatten();
        Ok(service::ServiceFiles {
            binary,
            plugins,
            revision,
        })
    }
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    match cli {
        // It runs where there is no cargo that finds the workspace.
        Cli::ContainersInside(inside) => Ok(containers::check_inside(&inside)),
        Cli::Up(args) => up::up(&Workspace::find()?, &args),
        Cli::Down => up::down(&Workspace::find()?),
        Cli::Dashboard(args) => pictures::run(&Workspace::find()?, &args),
        Cli::Test(args) => scenarios::run(&Workspace::find()?, &args),
        Cli::Tools => {
            build_tools();
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn build_tools() {
    let mut missing = 0_u32;
    for tool in tools::Tool::ALL {
        match tool.obtain() {
            Ok(program) => println!("{:<16} {}", tool.name, program.display()),
            Err(reason) => {
                missing += 1;
                println!("{:<16} skipped: {reason:#}", tool.name);
            }
        }
    }
    println!("{missing} skipped");
}

/// The parent of every run's folder.
fn runs_folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("stack")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_those_of_the_command() {
        for arguments in [
            "stack up --memory-limit 128MiB",
            "stack down",
            "stack dashboard --pictures --out a --plugin b --theme light",
            "stack tools",
            "stack test --only files --docker",
            "stack test --only containers",
            "stack test --only profiles",
            "stack test --only leaks,alerts,limit,away --seconds 60 --rate 10 --host a --plugins b",
        ] {
            Cli::try_parse_from(arguments.split(' ')).unwrap();
        }
    }
}
