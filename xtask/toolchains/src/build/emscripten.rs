//! Programs in C by Emscripten, with both of its allocators.

use std::process::Command;

use anyhow::Context;
use xtask_support::tools;

use super::Sources;
use crate::{Group, Program, component, toolchain};

pub(super) fn group(sources: &Sources) -> Group {
    let compiler = tools::on_path("emcc").context("Debian: emscripten");
    Group {
        name: "emscripten",
        programs: compiler.map(|_| programs(sources)),
    }
}

fn programs(sources: &Sources) -> Vec<Program> {
    let mut programs = Vec::new();
    for allocator in ["dlmalloc", "emmalloc"] {
        for level in ["-O0", "-O2", "-O3"] {
            let source = sources.path("c/operations.c");
            programs.push(Program {
                name: format!("emscripten {level} {allocator} operations"),
                build: Box::new(move |folder| {
                    let out = folder.join("emscripten.wasm");
                    // Memory that grows needs an import that is not WASI's.
                    toolchain::run(
                        Command::new("emcc")
                            .args([level, "-g", "-sSTANDALONE_WASM", "--no-entry"])
                            .arg(format!("-sMALLOC={allocator}"))
                            .args(["-sEXPORTED_FUNCTIONS=_run", "-sINITIAL_MEMORY=64MB", "-o"])
                            .arg(&out)
                            .arg(&source),
                    )?;
                    component::library(&std::fs::read(out)?)
                }),
                options: guest_heap::Options::default(),
            });
        }
    }
    programs
}
