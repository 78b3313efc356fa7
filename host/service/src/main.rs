//! The leak lab's host: loads each leak pattern as a WebAssembly component, hands it the service's requests,
//! and shows what that does to memory.

mod api;
mod app;
mod bindings;
mod check;
mod config;
mod conformance;
mod console;
mod engine;
mod health_check;
mod heap;
mod instruments;
mod listener;
mod memory;
mod monitor;
mod plugin;
mod post_mortem;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;
use config::{Action, CommandLine};

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let outcome = match command_line.action {
        Some(Action::Check(args)) => return check::run(&args),
        Some(Action::Health { listen }) => health_check::ask(listen),
        None => app::run(command_line.config),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leak-host: {error:#}");
            ExitCode::FAILURE
        }
    }
}
