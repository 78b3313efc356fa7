//! Reads a component, instruments it and compiles it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Attribution, InstrumentedMeta, Options, embed_declarations, instrument};
use wasi_preview1_component_adapter_provider as adapters;
use wasmparser::{Encoding, Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;
use wit_component::ComponentEncoder;

use crate::arguments::ComponentArguments;
use crate::bounded_file;
use crate::cache::Cache;

/// The size of the largest component that is read.
const MAX_COMPONENT_BYTES: u64 = 1 << 30;

/// A compiled component, and what the profiler needs to read its heap.
pub(crate) struct LoadedComponent {
    pub(crate) component: Component,
    pub(crate) meta: Arc<InstrumentedMeta>,
    pub(crate) symbols: Arc<Symbols>,
}

/// Whether the guest's allocations are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// They are.
    Heap,
    /// The component runs as it is, to see what the profile costs.
    Off,
}

/// Loads the component of the command line.
///
/// # Errors
/// When the file is no component and no module for WASI preview 1, or does not compile.
pub(crate) fn load(
    engine: &Engine,
    arguments: &ComponentArguments,
    profile: Profile,
) -> Result<LoadedComponent> {
    let file = arguments.file.display();
    let bytes = bounded_file::read(&arguments.file, MAX_COMPONENT_BYTES)?;
    let original = to_component(bytes).with_context(|| format!("{file} cannot be loaded"))?;
    let original = with_declarations(original, &arguments.file)?;
    let symbols = Symbols::new(&original, symbol_options(arguments)?)
        .with_context(|| format!("cannot read the symbols of {file}"))?;
    let symbols = Arc::new(symbols);
    if profile == Profile::Off {
        let component =
            compile(engine, &original).with_context(|| format!("cannot compile {file}"))?;
        return Ok(LoadedComponent {
            component,
            meta: Arc::new(InstrumentedMeta::off("--no-profile")),
            symbols,
        });
    }
    let cache = Cache::at(arguments.cache.clone()).filter(|_| !arguments.no_cache);
    if let Some((component, meta)) = cache.as_ref().and_then(|it| it.read(engine, &original)) {
        return Ok(LoadedComponent {
            component,
            meta,
            symbols,
        });
    }
    let instrumented = instrument(&original, &Options::default())
        .with_context(|| format!("cannot instrument {file}"))?;
    let component = compile(engine, &instrumented.component)
        .with_context(|| format!("cannot compile {file}"))?;
    if let Some(cache) = cache
        && let Err(error) = cache.write(engine, &original, &instrumented, &component)
    {
        stderr_line!("warning: the compiled component is not kept: {error:#}");
    }
    Ok(LoadedComponent {
        component,
        meta: instrumented.meta,
        symbols,
    })
}

fn compile(engine: &Engine, component: &[u8]) -> Result<Component> {
    Component::new(engine, component).map_err(crate::engine::engine_error)
}

impl LoadedComponent {
    /// The reason why nothing can be attributed, if so.
    pub(crate) fn off(&self) -> Option<&str> {
        match self.meta.attribution() {
            Attribution::Off { why } => Some(why),
            _ => None,
        }
    }
}

fn symbol_options(arguments: &ComponentArguments) -> Result<SymbolOptions> {
    let mut options = SymbolOptions::default();
    for pattern in &arguments.own_code {
        options = options.own_code(pattern).context("--own-code")?;
    }
    for pattern in &arguments.skip_function {
        options = options.skip_function(pattern).context("--skip-function")?;
    }
    Ok(options)
}

/// The component with the declarations in the file next to it, if there is one: `app.heap.toml` for
/// `app.wasm`.
fn with_declarations(component: Vec<u8>, path: &Path) -> Result<Vec<u8>> {
    let path = path.with_extension("heap.toml");
    let toml = match fs::read_to_string(&path) {
        Ok(toml) => toml,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(component),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let checked = Options::default().declarations(&toml);
    checked.with_context(|| format!("{} is wrong", path.display()))?;
    Ok(embed_declarations(&component, &toml))
}

/// Makes a component of a core module for WASI preview 1. A component stays as it is.
fn to_component(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let first = Parser::new(0).parse_all(&bytes).next();
    match first {
        Some(Ok(Payload::Version {
            encoding: Encoding::Component,
            ..
        })) => return Ok(bytes),
        Some(Ok(Payload::Version { .. })) => {}
        _ => bail!("it is not a WebAssembly file"),
    }
    let is_command = wasmparser::Parser::new(0)
        .parse_all(&bytes)
        .flatten()
        .filter_map(|payload| match payload {
            Payload::ExportSection(exports) => Some(exports),
            _ => None,
        })
        .flatten()
        .flatten()
        .any(|export| export.name == "_start");
    let adapter = if is_command {
        adapters::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER
    } else {
        adapters::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER
    };
    ComponentEncoder::default()
        .module(&bytes)?
        .adapter(adapters::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?
        .encode()
        .context(
            "it is a core module, and can only be run if it imports nothing but WASI preview 1",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(bytes: &[u8]) -> String {
        format!("{:#}", to_component(bytes.to_vec()).unwrap_err())
    }

    #[test]
    fn a_component_stays_as_it_is() {
        let component = wat::parse_str("(component)").unwrap();
        assert_eq!(to_component(component.clone()).unwrap(), component);
    }

    #[test]
    fn a_command_becomes_a_component() {
        let module = wat::parse_str(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (func (export "_start") (call $exit (i32.const 3))))"#,
        );
        let component = to_component(module.unwrap()).unwrap();
        let engine = crate::engine::engine().unwrap();
        let component = Component::new(&engine, component).unwrap();
        let exports = component.component_type();
        let names: Vec<_> = exports
            .exports(&engine)
            .map(|(name, _)| name.to_owned())
            .collect();
        assert!(
            names
                .iter()
                .any(|name| name.starts_with("wasi:cli/run@0.2")),
            "{names:?}"
        );
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        assert_eq!(error_of(b"#!/bin/sh"), "it is not a WebAssembly file");
        assert_eq!(error_of(b""), "it is not a WebAssembly file");
        let module = wat::parse_str(r#"(module (import "env" "other" (func)))"#).unwrap();
        let error = error_of(&module);
        assert!(
            error.starts_with("it is a core module, and can only be run if"),
            "{error}"
        );
    }
}
