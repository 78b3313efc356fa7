//! The commands of this repository: `cargo xtask run`, `test`, `test-console`, `test-api`, `lint`,
//! `plugins`, `new-plugin`, `check-plugin`, `languages`; and, in separate crates, `test-hostile`,
//! `bench`, `kubernetes`, `python`, `record-shapes`, `soak`, `stack` and `toolchains`.
//!
//! They are written in Rust rather than as scripts, so that they behave the same on every machine
//! with the toolchain, and can say what a step of several minutes is doing.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask_support::workspace::Workspace;

mod check_plugin;
mod delegate;
mod languages;
mod lint;
mod new_plugin;
mod plugins;
mod run;
mod test;
mod test_api;
mod test_console;

/// The commands of the leak lab.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the plugins and the host, start the lab and print its addresses.
    Run(run::Args),
    /// Build everything and run every test.
    Test(test::Args),
    /// Try the API with requests that schemathesis generates from its description. Needs Python.
    TestApi(test_api::Args),
    /// Upload components that are made to hurt the host, and measure what others notice of it.
    #[command(disable_help_flag = true)]
    TestHostile(delegate::Args),
    /// Drive the console with a real browser; or remake its pictures.
    TestConsole(test_console::Args),
    /// Build the plugins as WebAssembly components.
    Plugins(plugins::Args),
    /// Make a new plugin from the template, here or in another folder.
    NewPlugin(new_plugin::Args),
    /// Build the plugins that are written in C, JavaScript and Python.
    Languages(languages::Args),
    /// Check whether components keep the promises of the contract.
    CheckPlugin(check_plugin::Args),
    /// Check language, structure, formatting, lints and dependencies.
    Lint(lint::Args),
    /// Measure the running lab and the heap profiler, and compare with their limits.
    #[command(disable_help_flag = true)]
    Bench(delegate::Args),
    /// Load for minutes or days: the host itself must not leak. Needs `wrk`.
    #[command(disable_help_flag = true)]
    Soak(delegate::Args),
    /// The lab with Prometheus, collector, Jaeger and k6, without containers; and its tests.
    #[command(disable_help_flag = true)]
    Stack(delegate::Args),
    /// The Helm chart and the kustomize base: generate what is generated, and test both.
    #[command(disable_help_flag = true)]
    Kubernetes(delegate::Args),
    /// Record what a scrape sees of each pattern, for the tests of the alert rules.
    #[command(disable_help_flag = true)]
    RecordShapes(delegate::Args),
    /// Compare the lines of Python programs with their ledgers and with tracemalloc.
    Python(delegate::Args),
    /// Compare heap profiles with the ledgers of programs of many toolchains.
    #[command(disable_help_flag = true)]
    Toolchains(delegate::Args),
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let workspace = Workspace::find()?;
    match cli.task {
        Task::Run(args) => run::run(&workspace, &args),
        Task::Test(args) => test::run(&workspace, &args),
        Task::TestApi(args) => test_api::run(&workspace, &args),
        Task::TestHostile(args) => delegate::exec(&workspace, "xtask-hostile", None, &args),
        Task::TestConsole(args) => test_console::run(&workspace, &args),
        Task::Plugins(args) => plugins::run(&workspace, &args),
        Task::NewPlugin(args) => new_plugin::run(&workspace, &args),
        Task::Languages(args) => languages::run(&workspace, &args),
        Task::CheckPlugin(args) => check_plugin::run(&workspace, &args),
        Task::Lint(args) => lint::run(&workspace, &args),
        Task::Bench(args) => delegate::exec(&workspace, "xtask-bench", Some("bench"), &args),
        Task::Soak(args) => delegate::exec(&workspace, "xtask-bench", Some("soak"), &args),
        Task::Stack(args) => delegate::exec(&workspace, "xtask-stack-tests", None, &args),
        Task::Kubernetes(args) => delegate::exec(&workspace, "xtask-kubernetes", None, &args),
        Task::RecordShapes(args) => delegate::exec_release(&workspace, "xtask-shapes", &args),
        Task::Python(args) => delegate::exec_release(&workspace, "xtask-python", &args),
        Task::Toolchains(args) => delegate::exec_release(&workspace, "xtask-toolchains", &args),
    }
}
