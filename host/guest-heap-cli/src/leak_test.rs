//! `guest-heap test`: calls exports in windows and finds what grows from window to window.

mod calls;
mod floors;
mod format;
mod http_request;
mod outcome;

use std::process::ExitCode;

use anyhow::Result;

use crate::EXIT_ERROR;
use crate::arguments::TestArguments;
use crate::engine::engine;
use crate::guest::Guest;
use crate::handle_floors::HandleFloors;
use crate::host_state::World;
use crate::leak_test::calls::Calls;
use crate::leak_test::floors::Floors;
use crate::leak_test::outcome::{Outcome, TestResult};
use crate::load::{Profile, load};

/// Tests a component and prints the report. The exit code is 0 if nothing leaks, 1 if
/// something does, and 2 if there were too few rounds to tell.
///
/// # Errors
/// When the component cannot be loaded or started, a call is wrong, or the guest traps.
pub(crate) async fn run(arguments: TestArguments) -> Result<ExitCode> {
    let engine = engine()?;
    let loaded = load(&engine, &arguments.component, Profile::Heap)?;
    let world = World::Repeatable {
        output: arguments.guest_output,
    };
    let mut guest = Guest::start(
        &engine,
        loaded,
        &arguments.component,
        &[],
        world,
        |_store| {},
    )
    .await?;
    let mut calls = Calls::resolve(&arguments, &mut guest)?;
    let mut floors = Floors::new(arguments.windows, arguments.rounds);
    let mut handles = HandleFloors::new(arguments.windows as usize);
    for _ in 0..arguments.warm_up {
        calls.round(&mut guest).await?;
    }
    for window in 0..arguments.windows as usize {
        for _ in 0..arguments.rounds {
            calls.round(&mut guest).await?;
            let heap = guest.heap();
            floors.add(window, &heap);
            handles.add(window, &heap.snapshot);
        }
    }
    let heap = guest.heap();
    let outcome = Outcome::of(&arguments, &calls, &floors, &handles, &heap);
    stdout_text!("{}", format::report(arguments.format, &outcome));
    Ok(match outcome.result() {
        TestResult::Passed => ExitCode::SUCCESS,
        TestResult::Failed => ExitCode::FAILURE,
        TestResult::Undecided => ExitCode::from(EXIT_ERROR),
    })
}
