//! Programs in C by `zig cc`, whose C library has an allocator in Zig, and programs in Zig.

use std::process::Command;

use anyhow::Result;
use xtask_support::tools::Fetch;

use super::Sources;
use crate::toolchain::{self, WASI_LIBRARY, Zig};
use crate::{Group, Program, component};

/// Versions of the package ziglang. Their C libraries have different allocators.
const VERSIONS: [(&str, &str); 3] = [
    ("zig 0.13.0", "0.13.0"),
    ("zig 0.15.2", "0.15.2"),
    ("zig 0.17.1", "0.17.1"),
];

pub(super) fn groups(sources: &Sources, fetch: Fetch) -> Vec<Group> {
    let group = |(name, version): &(&'static str, &str)| Group {
        name,
        programs: Zig::obtain(fetch, version).map(|zig| programs(sources, name, version, &zig)),
    };
    VERSIONS.iter().map(group).collect()
}

fn programs(sources: &Sources, label: &str, version: &str, zig: &Zig) -> Vec<Program> {
    let mut programs = Vec::new();
    for name in ["operations", "leak", "resize", "wrapper"] {
        for level in ["-O0", "-O2", "-O3", "-Os"] {
            let source = sources.path(&format!("c/{name}.c"));
            let zig = zig.clone();
            programs.push(Program {
                name: format!("{label} cc {level} {name}"),
                build: Box::new(move |folder| {
                    let out = folder.join("zig-cc.wasm");
                    compile(
                        zig.command()
                            .arg("cc")
                            .args(WASI_LIBRARY)
                            .args([level, "-g", "-o"])
                            .arg(&out)
                            .arg(&source),
                    )?;
                    component::library(&std::fs::read(out)?)
                }),
                options: guest_heap::Options::default(),
            });
        }
    }
    if version == "0.15.2" {
        for allocator in ["wasm", "page", "debug"] {
            for mode in ["Debug", "ReleaseSafe", "ReleaseFast", "ReleaseSmall"] {
                let source = sources.path(&format!("zig/{allocator}.zig"));
                let zig = zig.clone();
                programs.push(Program {
                    name: format!("{label} {mode} {allocator}_allocator"),
                    build: Box::new(move |folder| {
                        let out = folder.join("zig-program.wasm");
                        compile(
                            zig.command()
                                .args(["build-exe", "-target", "wasm32-wasi", "-fno-entry"])
                                .args(["-rdynamic", "-fno-strip", "-O", mode])
                                .arg(format!("-femit-bin={}", out.display()))
                                .arg(&source),
                        )?;
                        component::library(&std::fs::read(out)?)
                    }),
                    options: guest_heap::Options::default(),
                });
            }
        }
    }
    programs
}

fn compile(command: &mut Command) -> Result<()> {
    toolchain::run(command)
}
