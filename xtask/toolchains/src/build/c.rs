//! Programs in C and C++: clang with wasi-libc, and the same after binaryen's optimiser.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask_support::tools;

use super::Sources;
use crate::toolchain::{self, WASI_LIBRARY};
use crate::{Group, Program, component};

/// The version of binaryen.
pub(super) const BINARYEN: &str = "132.0.0";

/// The programs that use C's heap.
const PROGRAMS: [&str; 4] = ["operations", "leak", "resize", "wrapper"];

const LEVELS: [&str; 6] = ["-O0", "-O1", "-O2", "-O3", "-Os", "-Oz"];

pub(super) fn clang(sources: &Sources) -> Group {
    Group {
        name: "clang",
        programs: programs(sources),
    }
}

fn programs(sources: &Sources) -> Result<Vec<Program>> {
    probe()?;
    let mut programs = Vec::new();
    for name in PROGRAMS {
        let source = sources.path(&format!("c/{name}.c"));
        for level in LEVELS {
            programs.push(library(
                format!("clang {level} {name}"),
                &source,
                &[level, "-g"],
            ));
        }
        programs.push(library(
            format!("clang -O2 stripped {name}"),
            &source,
            &["-O2", "-Wl,--strip-all"],
        ));
        programs.push(library(
            format!("clang -O2 -flto {name}"),
            &source,
            &["-O2", "-g", "-flto"],
        ));
    }
    let own = sources.path("c/own.c");
    for level in LEVELS {
        for define in ["-DSEPARATE", "-DINLINE"] {
            programs.push(library(
                format!("clang {level} own {define}"),
                &own,
                &[
                    level,
                    "-g",
                    "-nostdlib",
                    "-fno-builtin",
                    define,
                    "-Wl,--no-entry",
                ],
            ));
        }
    }
    let pool = sources.path("c/pool.c");
    let declarations = std::fs::read_to_string(sources.path("c/pool.heap.toml"))?;
    for level in LEVELS {
        programs.push(Program {
            options: guest_heap::Options::default().declarations(&declarations)?,
            ..library(
                format!("clang {level} declared pool"),
                &pool,
                &[level, "-g", "-nostdlib", "-fno-builtin", "-Wl,--no-entry"],
            )
        });
    }
    let command = sources.path("c/command.c");
    for level in ["-O0", "-O2"] {
        let command = command.clone();
        programs.push(Program {
            name: format!("clang {level} command"),
            build: Box::new(move |folder| {
                let out = folder.join("command.wasm");
                toolchain::run(
                    Command::new("clang")
                        .args(["--target=wasm32-wasi", level, "-g", "-o"])
                        .arg(&out)
                        .arg(&command),
                )?;
                component::command(&std::fs::read(out)?)
            }),
            options: guest_heap::Options::default(),
        });
    }
    let source = sources.path("cpp/containers.cpp");
    for level in ["-O0", "-O2", "-Os"] {
        let source = source.clone();
        programs.push(Program {
            name: format!("clang++ {level} containers"),
            build: Box::new(move |folder| {
                let out = folder.join("containers.wasm");
                toolchain::run(
                    Command::new("clang++")
                        .args(WASI_LIBRARY)
                        .args([level, "-g", "-fno-exceptions", "-o"])
                        .arg(&out)
                        .arg(&source),
                )?;
                component::library(&std::fs::read(out)?)
            }),
            options: guest_heap::Options::default(),
        });
    }
    let [consumer, provider] =
        ["consumer", "provider"].map(|name| sources.path(&format!("compose/{name}.c")));
    programs.push(Program {
        name: "clang -O2 composed".to_owned(),
        build: Box::new(move |folder| {
            let build = |source: &Path, world: &str| {
                let arguments = ["-O2", "-g"].map(str::to_owned);
                let out = module(folder, source, &arguments)?;
                component::of_world(&std::fs::read(out)?, world)
            };
            let consumer = build(&consumer, "consumer")?;
            let provider = build(&provider, "provider")?;
            component::composed(folder, &consumer, &provider)
        }),
        options: guest_heap::Options::default(),
    });
    Ok(programs)
}

/// Whether clang has a C library for wasm.
fn probe() -> Result<()> {
    tools::on_path("clang")?;
    let output = Command::new("clang")
        .args(["--target=wasm32-wasi", "-print-file-name=libc.a"])
        .output()?;
    let found = String::from_utf8(output.stdout)?;
    let path = PathBuf::from(found.trim());
    path.is_absolute()
        .then_some(())
        .context("clang has no C library for wasm (Debian: wasi-libc, libclang-rt-14-dev-wasm32)")
}

fn library(name: String, source: &Path, arguments: &[&str]) -> Program {
    let source = source.to_path_buf();
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    Program {
        name,
        build: Box::new(move |folder| {
            let out = module(folder, &source, &arguments)?;
            component::library(&std::fs::read(out)?)
        }),
        options: guest_heap::Options::default(),
    }
}

/// Compiles and links a library with clang.
fn module(folder: &Path, source: &Path, arguments: &[String]) -> Result<PathBuf> {
    let out = folder.join("module.wasm");
    toolchain::run(
        Command::new("clang")
            .args(WASI_LIBRARY)
            .args(arguments)
            .arg("-o")
            .arg(&out)
            .arg(source),
    )?;
    Ok(out)
}

pub(super) fn wasm_opt(sources: &Sources, binaryen: Result<PathBuf>) -> Group {
    Group {
        name: "wasm-opt",
        programs: binaryen.and_then(|binaryen| optimised(sources, &binaryen)),
    }
}

fn optimised(sources: &Sources, binaryen: &Path) -> Result<Vec<Program>> {
    probe()?;
    let mut programs = Vec::new();
    let variants: [(&str, &[&str]); 8] = [
        ("-O1 -g", &["-O1", "-g"]),
        ("-O2 -g", &["-O2", "-g"]),
        ("-O3 -g", &["-O3", "-g"]),
        ("-O4 -g", &["-O4", "-g"]),
        ("-Os -g", &["-Os", "-g"]),
        ("-Oz -g", &["-Oz", "-g"]),
        ("-O3", &["-O3"]),
        ("-O3 x3 -g", &["-O3", "-O3", "-O3", "-g"]),
    ];
    for name in PROGRAMS {
        for (label, passes) in variants {
            let source = sources.path(&format!("c/{name}.c"));
            let binaryen = binaryen.to_path_buf();
            programs.push(Program {
                name: format!("clang wasm-opt {label} {name}"),
                build: Box::new(move |folder| {
                    let arguments = ["-O2", "-g"].map(str::to_owned);
                    let module = module(folder, &source, &arguments)?;
                    let out = folder.join("optimised.wasm");
                    toolchain::wasm_opt(&binaryen, passes, &module, &out)?;
                    component::library(&std::fs::read(out)?)
                }),
                options: guest_heap::Options::default(),
            });
        }
    }
    Ok(programs)
}
