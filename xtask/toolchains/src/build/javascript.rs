//! A program in JavaScript, with an engine inside the component.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use xtask_support::tools::Fetch;

use super::Sources;
use crate::toolchain::{self, npm_package};
use crate::{Group, Program, component};

/// The version of componentize-js.
const VERSION: &str = "0.23.0";

pub(super) fn group(sources: &Sources, fetch: Fetch) -> Group {
    let compiler = npm_package(fetch, "@bytecodealliance/componentize-js", VERSION);
    let source = sources.path("javascript/ledger.js");
    Group {
        name: "componentize-js",
        // Only the release build of the engine, which has no names. With the debug build, the
        // profile counts the engine's blocks, and the program's ledger has only what the program
        // keeps, so the two cannot be compared to the byte.
        programs: compiler.map(|compiler| {
            vec![Program {
                name: "componentize-js ledger".to_owned(),
                build: Box::new(move |folder| build(folder, &compiler, &source)),
                options: guest_heap::Options::default(),
            }]
        }),
    }
}

fn build(folder: &Path, compiler: &Path, source: &Path) -> Result<Vec<u8>> {
    let worlds = folder.join("worlds.wit");
    std::fs::write(&worlds, component::WORLDS)?;
    let out = folder.join("javascript.wasm");
    toolchain::run(
        Command::new(compiler.join("node_modules/.bin/componentize-js"))
            .args(["--world-name", "library", "--wit"])
            .arg(&worlds)
            .args(["--disable", "http", "fetch-event", "--out"])
            .arg(&out)
            .arg(source),
    )?;
    Ok(std::fs::read(out)?)
}
