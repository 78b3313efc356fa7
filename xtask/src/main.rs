//! The commands of this repository, one per trade: `cargo xtask run`, `test`, `test-console`, `test-api`,
//! `plugins`, `languages`, `new-plugin`, `check-plugin`, `lint`, `bench`, `soak`, `stack`.
//!
//! They live in Rust rather than in scripts so that they behave the same on every machine that has
//! the toolchain, and so that a step that takes minutes can say what it is doing.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

mod bench;
mod check_plugin;
mod console;
mod host_process;
mod http;
mod invariants;
mod languages;
mod lint;
mod new_plugin;
mod plugins;
mod progress;
mod python;
mod run;
mod soak;
mod stack;
mod test;
mod test_api;
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
    /// Try the API with requests that schemathesis makes up from its description. Needs Python.
    TestApi(test_api::Args),
    /// Drive the console with a real browser; or remake its pictures.
    TestConsole(console::Args),
    /// Build the plugins as WebAssembly components.
    Plugins(plugins::Args),
    /// Make a new plugin from the template, here or in a folder of its own.
    NewPlugin(new_plugin::Args),
    /// Build the plugins that are written in C, JavaScript and Python.
    Languages(languages::Args),
    /// Check whether components keep the promises of the contract.
    CheckPlugin(check_plugin::Args),
    /// Check formatting, lints, the invariants of ARCHITECTURE.md and the dependencies.
    Lint(lint::Args),
    /// Measure the running lab and the heap profiler, and compare with their limits.
    Bench(bench::Args),
    /// Load for minutes or days: the host itself must not leak. Needs `wrk`.
    Soak(soak::Args),
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
        Task::TestApi(args) => test_api::run(&workspace, &args),
        Task::TestConsole(args) => console::run(&workspace, &args),
        Task::Plugins(args) => plugins::run(&workspace, &args),
        Task::NewPlugin(args) => new_plugin::run(&workspace, &args),
        Task::Languages(args) => languages::run(&workspace, &args),
        Task::CheckPlugin(args) => check_plugin::run(&workspace, &args),
        Task::Lint(args) => lint::run(&workspace, &args),
        Task::Bench(args) => bench::run(&workspace, &args),
        Task::Soak(args) => soak::run(&workspace, &args),
        Task::Stack(command) => stack::run(&workspace, &command),
    }
}
