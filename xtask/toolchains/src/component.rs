//! Makes components of core modules, as the tools of each language do.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use wasi_preview1_component_adapter_provider as adapters;
use wasm_compose::composer::ComponentComposer;
use wasm_compose::config::Config;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::toolchain;

/// The worlds of the programs that are libraries. `run` does so many operations more and returns
/// the live bytes by the program's own ledger.
pub(crate) const WORLDS: &str = "package toolchains:ledger;
interface store { put: func(size: u32) -> u64; }
world library { export run: func(operations: u32) -> u64; }
world provider { export store; }
world consumer { import store; export run: func(operations: u32) -> u64; }
interface shelf { keep: func(size: u32) -> u64; }
world middle { import store; export shelf; }
world outer { import store; import shelf; export run: func(operations: u32) -> u64; }";

/// A component of a module that exports `run`.
///
/// # Errors
/// When the module does not have the export, or imports something that is not WASI's.
pub(crate) fn library(module: &[u8]) -> Result<Vec<u8>> {
    of_world(module, "library")
}

/// A component of a module with the imports and exports of one of the worlds.
///
/// # Errors
/// When the module does not fit the world.
pub(crate) fn of_world(module: &[u8], world: &str) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("worlds.wit", WORLDS)?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    encode(&module, adapters::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
}

/// One component of several: the imports of the first are the exports of the others.
///
/// # Errors
/// When they do not fit.
pub(crate) fn composed(folder: &Path, consumer: &[u8], providers: &[&[u8]]) -> Result<Vec<u8>> {
    let (consumer, definitions) = written(folder, consumer, providers)?;
    let config = Config {
        definitions,
        ..Config::default()
    };
    ComponentComposer::new(&consumer, &config).compose()
}

/// The same by `wac plug`.
///
/// # Errors
/// When they do not fit.
pub(crate) fn plugged(
    (wac, folder): (&Path, &Path),
    consumer: &[u8],
    providers: &[&[u8]],
) -> Result<Vec<u8>> {
    let (consumer, providers) = written(folder, consumer, providers)?;
    let out = folder.join("plugged.wasm");
    let mut command = Command::new(wac);
    command.arg("plug").arg(consumer).arg("-o").arg(&out);
    for provider in providers {
        command.arg("--plug").arg(provider);
    }
    toolchain::run(&mut command)?;
    Ok(std::fs::read(out)?)
}

fn written(folder: &Path, consumer: &[u8], providers: &[&[u8]]) -> Result<(PathBuf, Vec<PathBuf>)> {
    let consumer_path = folder.join("consumer.wasm");
    std::fs::write(&consumer_path, consumer)?;
    let mut paths = Vec::new();
    for (number, provider) in providers.iter().enumerate() {
        let path = folder.join(format!("provider-{number}.wasm"));
        std::fs::write(&path, provider)?;
        paths.push(path);
    }
    Ok((consumer_path, paths))
}

/// A component of a WASI command.
///
/// # Errors
/// When the module is not a command.
pub(crate) fn command(module: &[u8]) -> Result<Vec<u8>> {
    encode(module, adapters::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
}

/// A component of a component, of a command or of a library.
///
/// # Errors
/// When it is none of them.
pub(crate) fn of_any(bytes: &[u8]) -> Result<Vec<u8>> {
    const COMPONENT: [u8; 4] = [0x0D, 0, 1, 0];
    if bytes.get(4..8) == Some(&COMPONENT) {
        return Ok(bytes.to_vec());
    }
    let error = match library(bytes) {
        Ok(component) => return Ok(component),
        Err(error) => error,
    };
    command(bytes).map_err(|_| error)
}

fn encode(module: &[u8], adapter: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default()
        .module(module)?
        .adapter(adapters::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?
        .encode()
        .context("the module cannot be made a component")
}
