//! The engine that compiles and runs components.

use std::error::Error;
use std::fmt;

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

/// An error of the engine in the form of the other errors. Both have the same causes, and
/// [`of_engine`] finds the original again.
pub(crate) fn engine_error(error: wasmtime::Error) -> anyhow::Error {
    anyhow::Error::new(EngineError(error))
}

/// The error of the engine that another error was made of.
pub(crate) fn of_engine(error: &anyhow::Error) -> Option<&wasmtime::Error> {
    let mut causes = error.chain();
    causes.find_map(|cause| Some(&cause.downcast_ref::<EngineError>()?.0))
}

/// `wasmtime::Error` does not implement the trait of errors.
#[derive(Debug)]
struct EngineError(wasmtime::Error);

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.chain().nth(1)
    }
}
