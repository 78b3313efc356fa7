//! The leak lab's host: runs each leak pattern as a WebAssembly component, passes the service's
//! requests to it, and shows its effect on memory.

mod app;
mod check;
mod config;
mod dataset;
mod fleet_command;
mod health_check;
mod listener;
mod mcp;
mod mystery_client;
mod play;
mod plugin_loader;
mod score;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use config::{Action, CommandLine};
use plugin_host::load::compiler::worker;
use process_memory::allocator;

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let result = match command_line.action {
        Some(Action::Check(args)) => return check::run(&args),
        Some(Action::Verify(args)) => return verify::run(&args),
        Some(Action::Mcp(args)) => return mcp::run(&args),
        Some(Action::Play(args)) => return play::run(&args),
        Some(Action::Score(args)) => return score::run(&args),
        Some(Action::Dataset(args)) => return dataset::run(&args),
        Some(Action::Fleet(args)) => return fleet_command::run(&args),
        Some(Action::Health { listen, alive }) => health_check::check(listen, alive),
        Some(Action::Compile(args)) => {
            allocator::limit_arenas();
            return ExitCode::from(worker::run(args.options()));
        }
        None => app::run(&command_line.config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leak-host: {error:#}");
            ExitCode::FAILURE
        }
    }
}
