//! The engine that compiles and runs components.

use anyhow::Result;
use wasmtime::{Config, Engine};

/// The engine of both commands.
///
/// # Errors
/// When this machine is not supported.
pub(crate) fn engine() -> Result<Engine> {
    let mut config = Config::new();
    guest_heap::configure(&mut config);
    config.epoch_interruption(true);
    config.wasm_component_model_async(true);
    Engine::new(&config).map_err(engine_error)
}

/// An error of the engine in the form of the other errors. Both keep the causes.
pub(crate) fn engine_error(error: wasmtime::Error) -> anyhow::Error {
    anyhow::Error::from_boxed(error.into_boxed_dyn_error())
}
