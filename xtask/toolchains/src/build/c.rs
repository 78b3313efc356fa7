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
const PROGRAMS: [&str; 5] = ["operations", "leak", "resize", "wrapper", "library"];

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
    let array = sources.path("c/array.c");
    for level in LEVELS {
        for define in ["-DSEPARATE", "-DINLINE"] {
            let arguments = [level, "-g", "-fno-builtin", define];
            let name = format!("clang {level} array {define}");
            programs.push(library(name, &array, &arguments));
        }
    }
    for (name, define) in [
        ("containers", "-DPLAIN"),
        ("operators", "-DPLAIN"),
        ("operators", "-DARRAY"),
    ] {
        let source = sources.path(&format!("cpp/{name}.cpp"));
        for level in ["-O0", "-O2", "-Os"] {
            for debug in ["-g", "-g0"] {
                let name = format!("clang++ {level} {debug} {name} {define}");
                let arguments = [level, debug, "-fno-exceptions", define];
                programs.push(library(name, &source, &arguments));
            }
        }
    }
    Ok(programs)
}

/// Whether clang has a C library for wasm.
pub(super) fn probe() -> Result<()> {
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
///
/// In two steps: if clang optimises and links in one, it runs the `wasm-opt` that is on the path,
/// which removes names.
pub(super) fn module(folder: &Path, source: &Path, arguments: &[String]) -> Result<PathBuf> {
    let (object, out) = (folder.join("module.o"), folder.join("module.wasm"));
    let is_cxx = source.extension().is_some_and(|it| it == "cpp");
    let compiler = if is_cxx { "clang++" } else { "clang" };
    let for_linker = |argument: &&String| argument.starts_with("-Wl,");
    toolchain::run(
        Command::new(compiler)
            .args(WASI_LIBRARY)
            .args(arguments.iter().filter(|it| !for_linker(it)))
            .args(["-Wno-unused-command-line-argument", "-c", "-o"])
            .arg(&object)
            .arg(source),
    )?;
    toolchain::run(
        Command::new(compiler)
            .args(WASI_LIBRARY)
            .args(arguments.iter().filter(|it| !it.starts_with("-O")))
            .arg("-o")
            .arg(&out)
            .arg(&object),
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
