//! A program in JavaScript on QuickJS, an engine that requests each object from `malloc`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use xtask_support::tools::{self, Fetch};

use super::Sources;
use crate::toolchain::{self, WASI_LIBRARY};
use crate::{Group, Program, component};

/// The version of the crate that contains QuickJS.
const VERSION: &str = "0.9.0";

/// The engine's sources, without those of its command.
const ENGINE: [&str; 5] = [
    "quickjs.c",
    "libregexp.c",
    "libunicode.c",
    "cutils.c",
    "libbf.c",
];

/// What the crate defines for WASI, and the C library lacks.
const DEFINES: [&str; 5] = [
    "-D_GNU_SOURCE",
    "-DEMSCRIPTEN=1",
    "-DFE_DOWNWARD=0",
    "-DFE_UPWARD=0",
    "-DCONFIG_VERSION=\"2024\"",
];

pub(super) fn group(sources: &Sources, fetch: Fetch) -> Group {
    let source = sources.path("javascript/quickjs.c");
    let programs = tools::on_path("clang").and_then(|_| engine(fetch));
    Group {
        name: "quickjs",
        programs: programs.map(|engine| {
            ["-O0", "-O2", "-Os"]
                .map(|level| {
                    let (engine, source) = (engine.clone(), source.clone());
                    Program {
                        name: format!("quickjs {level} ledger"),
                        build: Box::new(move |folder| build(folder, level, &engine, &source)),
                        options: guest_heap::Options::default(),
                    }
                })
                .into()
        }),
    }
}

/// The folder of the engine's sources, from the registry of crates.
fn engine(fetch: Fetch) -> Result<std::path::PathBuf> {
    let sources = "vendor/rquickjs-sys/quickjs";
    let proof = format!("{sources}/quickjs.c");
    let folder = tools::obtain(fetch, "quickjs", VERSION, &proof, |folder| {
        let manifest = format!(
            "[package]\nname = \"engine\"\nedition = \"2021\"\n\
             [dependencies]\nrquickjs-sys = \"={VERSION}\"\n[workspace]\n"
        );
        std::fs::write(folder.join("Cargo.toml"), manifest)?;
        std::fs::create_dir(folder.join("src"))?;
        std::fs::write(folder.join("src/lib.rs"), "")?;
        toolchain::run(
            Command::new("cargo")
                .args(["vendor", "--quiet"])
                .current_dir(folder),
        )
    })?;
    Ok(folder.join(sources))
}

fn build(folder: &Path, level: &str, engine: &Path, source: &Path) -> Result<Vec<u8>> {
    let out = folder.join("quickjs.wasm");
    toolchain::run(
        Command::new("clang")
            .args(WASI_LIBRARY)
            .args([level, "-g", "-w"])
            .args(DEFINES)
            .arg("-I")
            .arg(engine)
            .arg(source)
            .args(ENGINE.map(|file| engine.join(file)))
            .arg("-o")
            .arg(&out),
    )?;
    component::library(&std::fs::read(out)?)
}
