//! `guest-heap run`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use wasmtime::component::Val;
use wasmtime_wasi::I32Exit;

use crate::arguments::RunArguments;
use crate::engine::{engine, engine_error, of_engine};
use crate::growth_reports::GrowthReports;
use crate::guest::Guest;
use crate::heap::RawHeap;
use crate::host_state::World;
use crate::invocation::{Invocation, exported_calls};
use crate::load::{LoadedComponent, Profile, load};
use crate::output;
use crate::report;
use crate::run_verdict::RunSamples;
use crate::signals::{Stop, stopped};
use crate::trap::GuestError;

/// Exit codes of shells: a trap is like an abort, Ctrl-C ends with 130 and SIGTERM with 143.
const EXIT_TRAP: u8 = 134;
const EXIT_INTERRUPTED: u8 = 130;
const EXIT_TERMINATED: u8 = 143;

/// Why the guest ended.
enum Ended {
    Returned(Vec<Val>),
    Trapped(anyhow::Error),
    Stopped(Stop),
}

/// Runs a component, reports its heap and returns the guest's exit code.
///
/// # Errors
/// When the component cannot be loaded or started, or a file cannot be written.
pub(crate) async fn run(arguments: RunArguments) -> Result<ExitCode> {
    output::check(&arguments.report.output)?;
    let engine = engine()?;
    let loaded = load(&engine, &arguments.component, Profile::Heap)?;
    if let Some(why) = loaded.off() {
        stderr_line!("warning: the heap is not attributed: {why}");
    }
    let mut growth = arguments.report.every.map(GrowthReports::new);
    let symbols = loaded.symbols.clone();
    let samples = RunSamples::new();
    let sampled = samples.clone();
    let mut guest = Guest::start(
        &engine,
        loaded,
        &arguments.component,
        &arguments.arguments,
        World::Inherited,
        move |store| {
            sampled.sample(|| RawHeap::read(store).symbolize(&symbols));
            if let Some(growth) = growth.as_mut().filter(|growth| growth.is_due()) {
                growth.print(&RawHeap::read(store).symbolize(&symbols));
            }
        },
    )
    .await?;
    let call = arguments
        .invoke
        .clone()
        .map_or_else(|| command(&guest), Ok)?;
    let invocation = Invocation::resolve(
        &call,
        &guest.loaded.component,
        &guest.instance,
        &mut guest.store,
    )?;
    let ended = tokio::select! {
        // In this order, so that signals are caught before the guest begins.
        biased;
        stop = stopped() => Ended::Stopped(stop?),
        done = invocation.call(&mut guest.store) => match done {
            Ok(results) => Ended::Returned(results),
            Err(error) => Ended::Trapped(engine_error(error)),
        },
    };
    let code = exit_code(&ended, arguments.invoke.is_some(), &guest.loaded);
    let heap = guest.heap();
    stderr_text!(
        "{}",
        report::of_heap(&heap, arguments.report.by.into(), arguments.report.top)
    );
    stderr_line!("verdict: {}", samples.verdict(&heap));
    output::write_all(&arguments.report.output, &heap)?;
    Ok(code)
}

/// The `run` of the `wasi:cli/run` that a command exports.
fn command(guest: &Guest) -> Result<String> {
    let component = &guest.loaded.component;
    let engine = guest.store.engine();
    let ty = component.component_type();
    let mut names = ty.exports(engine).map(|(name, _)| name);
    let command = names.find(|name| name.starts_with("wasi:cli/run@"));
    let command = command.with_context(|| {
        let calls = exported_calls(component, engine);
        format!(
            "the component is no command: it does not export wasi:cli/run. Say with --invoke what \
             to call; it exports:\n  {}",
            calls.join("\n  ")
        )
    })?;
    Ok(format!("{command}#run()"))
}

/// Says how the guest ended, and returns its exit code.
fn exit_code(ended: &Ended, shows_results: bool, loaded: &LoadedComponent) -> ExitCode {
    match ended {
        Ended::Returned(results) => {
            for result in results.iter().filter(|_| shows_results) {
                let text = wasmtime::component::wasm_wave::to_string(result);
                stdout_line!("{}", text.unwrap_or_else(|_| format!("{result:?}")));
            }
            match results.as_slice() {
                [Val::Result(Err(_))] => ExitCode::FAILURE,
                _ => ExitCode::SUCCESS,
            }
        }
        Ended::Trapped(error) => match of_engine(error).and_then(|it| it.downcast_ref::<I32Exit>())
        {
            Some(exit) => ExitCode::from(u8::try_from(exit.0).unwrap_or(u8::MAX)),
            None => {
                let error = GuestError::of(error, &loaded.meta);
                stderr_text!("the guest has trapped: {}", error.describe(&loaded.symbols));
                ExitCode::from(EXIT_TRAP)
            }
        },
        Ended::Stopped(Stop::Interrupted) => {
            stderr_line!("interrupted");
            ExitCode::from(EXIT_INTERRUPTED)
        }
        Ended::Stopped(Stop::Terminated) => {
            stderr_line!("terminated");
            ExitCode::from(EXIT_TERMINATED)
        }
    }
}
