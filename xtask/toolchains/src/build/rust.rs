//! Programs in Rust, with several global allocators and profiles.

use anyhow::Result;
use xtask_support::workspace::{PLUGIN_TARGET, Workspace};

use super::Sources;
use crate::{Group, Program, toolchain};

/// The features of the program that select a global allocator.
const ALLOCATORS: [&str; 7] = ["default", "talc", "lol", "wee", "rlsf", "dl", "bump"];

const PROFILES: [&str; 4] = ["release", "lto", "size", "stripped"];

pub(super) fn group(workspace: &Workspace, sources: &Sources) -> Group {
    Group {
        name: "rust",
        programs: programs(workspace, sources),
    }
}

fn programs(workspace: &Workspace, sources: &Sources) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for allocator in ALLOCATORS {
        for profile in PROFILES {
            let workspace = workspace.clone();
            let manifest = sources.path("rust/Cargo.toml");
            programs.push(Program {
                name: format!("rust {allocator} {profile}"),
                build: Box::new(move |folder| {
                    let mut cargo = workspace.cargo_in("xtask/toolchains/programs/rust");
                    cargo
                        .args(["build", "--quiet", "--locked", "--target", PLUGIN_TARGET])
                        .args(["--profile", profile, "--manifest-path"])
                        .arg(&manifest)
                        .env("CARGO_TARGET_DIR", folder.join("rust"));
                    if allocator != "default" {
                        cargo.args(["--features", allocator]);
                    }
                    toolchain::run(&mut cargo)?;
                    let built = folder.join("rust").join(PLUGIN_TARGET).join(profile);
                    Ok(std::fs::read(built.join("ledger.wasm"))?)
                }),
                options: guest_heap::Options::default(),
            });
        }
    }
    Ok(programs)
}
