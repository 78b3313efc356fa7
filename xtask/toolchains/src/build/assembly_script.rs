//! Programs in AssemblyScript, with each of its runtimes.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use xtask_support::tools::Fetch;

use super::Sources;
use crate::toolchain::{self, npm_package};
use crate::{Group, Program, component};

/// The version of the compiler.
const VERSION: &str = "0.28.20";

/// Levels of optimisation, with function names and without.
const LEVELS: [(&str, &[&str]); 7] = [
    ("-O0", &["-O0", "--debug"]),
    ("-O1", &["-O1", "--debug"]),
    ("-O2", &["-O2", "--debug"]),
    ("-O3", &["-O3", "--debug"]),
    ("-Oz", &["-Oz", "--debug"]),
    ("-O3 converged", &["-O3", "--converge", "--debug"]),
    ("-O2 stripped", &["-O2"]),
];

pub(super) fn group(sources: &Sources, fetch: Fetch) -> Group {
    let compiler = npm_package(fetch, "assemblyscript", VERSION);
    Group {
        name: "assemblyscript",
        programs: compiler.map(|compiler| programs(sources, &compiler)),
    }
}

fn programs(sources: &Sources, compiler: &Path) -> Vec<Program> {
    let mut programs = Vec::new();
    for (name, runtimes) in [
        ("blocks", &["incremental", "minimal", "stub"] as &[&str]),
        ("objects", &["incremental", "minimal", "stub"]),
    ] {
        for runtime in runtimes {
            for (label, arguments) in LEVELS {
                let source = sources.path(&format!("assemblyscript/{name}.ts"));
                let compiler = compiler.to_path_buf();
                let runtime = (*runtime).to_owned();
                programs.push(Program {
                    name: format!("assemblyscript {runtime} {label} {name}"),
                    build: Box::new(move |folder| {
                        build(folder, &compiler, &source, &runtime, arguments)
                    }),
                    options: guest_heap::Options::default(),
                });
            }
        }
    }
    programs
}

fn build(
    folder: &Path,
    compiler: &Path,
    source: &Path,
    runtime: &str,
    arguments: &[&str],
) -> Result<Vec<u8>> {
    let out = folder.join("assemblyscript.wasm");
    toolchain::run(
        Command::new(compiler.join("node_modules/.bin/asc"))
            .arg(source)
            .args(arguments)
            .args(["--runtime", runtime, "--use", "abort=", "-o"])
            .arg(&out),
    )?;
    component::library(&std::fs::read(out)?)
}
