//! `guest-heap`: profiles the heap of a WebAssembly component, and tests a component for leaks.
//!
//! - `guest-heap run APP.wasm` runs a command and reports what its heap holds at the end.
//! - `guest-heap test APP.wasm --invoke CALL` calls an export many times and names the lines whose
//!   memory grows with each call. `--http REQUEST` does the same with an HTTP service.
//! - `guest-heap serve APP.wasm` serves an HTTP service and shows what its requests leave behind.
//!
//! The exit code of `run` is that of the guest. `test` exits with 0 if nothing leaks and with 1 if
//! something does. All exit with 2 after a wrong command line or another error.

// They panic when nobody reads the output: see `terminal`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod terminal;

mod arguments;
mod bounded_file;
mod cache;
mod engine;
mod growth_reports;
mod guest;
mod handle_floors;
mod heap;
mod host_state;
mod imports;
mod invocation;
mod leak_test;
mod load;
mod memory_limit;
mod one_request;
mod outgoing;
mod output;
mod report;
mod run;
mod run_verdict;
mod sample_call;
mod serve;
mod service;
mod signals;
mod trap;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

/// The exit code for a wrong command line, a file that is no component, and the like.
const EXIT_ERROR: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(arguments) => run::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Test(arguments) => leak_test::run(arguments).await,
    };
    done.unwrap_or_else(|error| {
        stderr_line!("error: {error:#}");
        ExitCode::from(EXIT_ERROR)
    })
}
