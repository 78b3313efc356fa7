//! The loader of plugins, for serving and for `leak-host check`.

use std::path::PathBuf;

use crate::config::CodeOptions;
use plugin_host::engine;
use plugin_host::load::cache::{Cache, CacheLimits};
use plugin_host::load::compiler::{CompileLimits, Compiler};
use plugin_host::load::loader::Loader;
use process_memory::byte_size::ByteSize;

/// This program, even after its file was replaced or removed.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Starts the wasm engine and a loader on it. Without `cache_folder`, compiled code is not stored.
/// Components are compiled in child processes of this one.
///
/// # Errors
///
/// When the engine does not start on this machine, or a pattern of `code` is wrong.
pub(crate) fn start(
    cache_folder: Option<PathBuf>,
    cache_limits: CacheLimits,
    max_plugin_size: ByteSize,
    limits: CompileLimits,
    code: &CodeOptions,
) -> anyhow::Result<Loader> {
    let engine = engine::start().map_err(to_anyhow)?;
    let cache = Cache::open(cache_folder, cache_limits, &engine);
    let compiler = Compiler::in_child_process(PathBuf::from(THIS_PROGRAM), limits);
    let loader =
        Loader::new(engine, cache, compiler, max_plugin_size.bytes()).map_err(to_anyhow)?;
    Ok(loader.with_symbol_options(code.symbol_options()?))
}

/// wasmtime's error type does not implement the standard error trait.
fn to_anyhow(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}
