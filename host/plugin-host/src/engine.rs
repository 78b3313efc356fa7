//! The wasm engine: one for the process, with the epoch clock that interrupts guests which do not
//! return.
//!
//! The host interrupts by epochs, not by fuel: a guest pays one load and one compare at each loop
//! header, and nothing per instruction. The clock counts ticks that really happened. A process that
//! was stopped or starved therefore does not see all its guests time out at once.

use std::thread;
use std::time::Duration;

use wasmtime::{Config, Engine};

/// Time between two epoch ticks: the resolution of a call's deadline.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Builds the engine and starts its clock thread. The thread ends after the last clone of the
/// engine is dropped.
///
/// # Errors
///
/// When the machine has no code generator, or when no thread can be started.
pub fn start() -> wasmtime::Result<Engine> {
    let engine = Engine::new(&config())?;
    let clock = engine.weak();
    thread::Builder::new()
        .name("epoch".into())
        .stack_size(64 << 10)
        .spawn(move || {
            loop {
                thread::sleep(TICK);
                let Some(engine) = clock.upgrade() else {
                    return;
                };
                engine.increment_epoch();
            }
        })?;
    Ok(engine)
}

/// Builds an engine that compiles for the one of [`start`] and runs nothing: it has no clock.
///
/// # Errors
///
/// When the machine has no code generator.
pub(crate) fn for_compiling() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

fn config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    // Backtraces without line tables: the lab reads symbols itself, off the request path.
    guest_heap::configure(&mut config);
    // No plugin uses component-model async; without its bookkeeping each host call is cheaper.
    config.concurrency_support(false);
    config
}
