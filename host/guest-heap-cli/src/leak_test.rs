//! `guest-heap test`: calls exports in windows and finds what grows from window to window.

mod floors;
mod format;
mod handle_floors;
mod outcome;
mod verdict;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::arguments::TestArguments;
use crate::engine::engine;
use crate::guest::{Guest, Heap, World};
use crate::invocation::Invocation;
use crate::leak_test::floors::Floors;
use crate::leak_test::handle_floors::HandleFloors;
use crate::leak_test::outcome::Outcome;
use crate::load::load;

/// Tests a component and prints the report. The exit code is 0 if nothing leaks, else 1.
///
/// # Errors
/// When the component cannot be loaded or started, a call is wrong, or the guest traps.
pub(crate) async fn run(arguments: TestArguments) -> Result<ExitCode> {
    let engine = engine()?;
    let loaded = load(&engine, &arguments.component)?;
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
    let mut invocations = Vec::new();
    for text in &arguments.invoke {
        invocations.push(Invocation::resolve(
            text,
            &guest.loaded.component,
            &guest.instance,
            &mut guest.store,
        )?);
    }
    let mut floors = Floors::new(arguments.windows, arguments.rounds);
    let mut handles = HandleFloors::new(arguments.windows);
    for _ in 0..arguments.warm_up {
        round(&mut guest, &invocations).await?;
    }
    for window in 0..arguments.windows as usize {
        for _ in 0..arguments.rounds {
            round(&mut guest, &invocations).await?;
            let snapshot = guest.heap().snapshot;
            floors.add(window, &snapshot);
            handles.add(window, &snapshot);
        }
    }
    let heap = guest.heap();
    let outcome = Outcome::of(&arguments, &floors, &handles, &heap);
    print!("{}", format::report(arguments.format, &outcome));
    Ok(if outcome.fails() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn round(guest: &mut Guest, invocations: &[Invocation]) -> Result<()> {
    for invocation in invocations {
        if let Err(error) = invocation.call(&mut guest.store).await {
            let heap: Heap = guest.heap();
            bail!(
                "`{}` has trapped: {error:#}\n\nthe heap at the trap:\n{}",
                invocation.text,
                crate::report::of_heap(&heap, guest_heap::snapshot::GroupBy::Line, 10)
            );
        }
    }
    Ok(())
}
