//! The commands of this repository, one per trade: `cargo xtask run`, `test`, `plugins`,
//! `check-plugin`, `lint`, `bench`.
//!
//! They live in Rust rather than in scripts so that they behave the same on every machine that has
//! the toolchain, and so that a step that takes minutes can say what it is doing.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

mod bench;
mod check_plugin;
mod host_process;
mod invariants;
mod lint;
mod plugins;
mod progress;
mod run;
mod stack;
mod test;
mod toolchain;
mod workspace;

/// The commands of the leak lab.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the plugins and the host, start the lab and say where it answers.
    Run(run::Args),
    /// Build everything and run every test: what to trust a checkout by.
    Test(test::Args),
    /// Build the plugins as WebAssembly components.
    Plugins(plugins::Args),
    /// Check whether components keep the promises of the contract.
    CheckPlugin(check_plugin::Args),
    /// Check formatting, lints, the invariants of ARCHITECTURE.md and the dependencies.
    Lint,
    /// Measure the running lab and compare with its limits.
    Bench(bench::Args),
    /// The lab with Prometheus, collector, Jaeger and k6, without containers; and its tests.
    #[command(subcommand)]
    Stack(stack::Command),
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let workspace = Workspace::find()?;
    match cli.task {
        Task::Run(args) => run::run(&workspace, &args),
        Task::Test(args) => test::run(&workspace, &args),
        Task::Plugins(args) => plugins::run(&workspace, &args),
        Task::CheckPlugin(args) => check_plugin::run(&workspace, &args),
        Task::Lint => lint::run(&workspace),
        Task::Bench(args) => bench::run(&workspace, &args),
        Task::Stack(command) => stack::run(&workspace, &command),
    }
}
