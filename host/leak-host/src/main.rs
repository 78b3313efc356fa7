//! The leak lab's host: loads each leak pattern as a WebAssembly component, hands it the service's requests,
//! and shows what that does to memory.

mod app;
mod check;
mod config;
mod health_check;
mod listener;

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
