//! Programs in Rust, with several global allocators and profiles.

use std::path::{Path, PathBuf};

use anyhow::Result;
use xtask_support::workspace::{PLUGIN_TARGET, Workspace};

use super::Sources;
use crate::{Group, Program, component, toolchain};

/// The features of the program that select a global allocator.
const ALLOCATORS: [&str; 15] = [
    "default", "talc", "lol", "wee", "rlsf", "dl", "bump", "buddy", "linked", "embedded",
    "emballoc", "mini", "span", "arena", "cache",
];

/// Allocators of programs without WASI.
const WITHOUT_WASI: [&str; 5] = ["default", "talc", "dl", "arena", "cache"];

/// The target of programs without WASI.
const BARE_TARGET: &str = "wasm32-unknown-unknown";

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
            let built = built(workspace, sources, (allocator, profile, PLUGIN_TARGET));
            programs.push(Program {
                name: format!("rust {allocator} {profile}"),
                build: Box::new(move |folder| Ok(std::fs::read(built(folder)?)?)),
                options: guest_heap::Options::default(),
            });
        }
    }
    for allocator in WITHOUT_WASI {
        for profile in PROFILES {
            let built = built(workspace, sources, (allocator, profile, BARE_TARGET));
            programs.push(Program {
                name: format!("rust without WASI {allocator} {profile}"),
                build: Box::new(move |folder| component::library(&std::fs::read(built(folder)?)?)),
                options: guest_heap::Options::default(),
            });
        }
    }
    Ok(programs)
}

/// Builds the program for a target, and returns the path of the result.
fn built(
    workspace: &Workspace,
    sources: &Sources,
    (allocator, profile, target): (&'static str, &'static str, &'static str),
) -> impl Fn(&Path) -> Result<PathBuf> + 'static {
    let workspace = workspace.clone();
    let manifest = sources.path("rust/Cargo.toml");
    move |folder| {
        let mut cargo = workspace.cargo_in("xtask/toolchains/programs/rust");
        cargo
            .args(["build", "--quiet", "--locked", "--target", target])
            .args(["--profile", profile, "--manifest-path"])
            .arg(&manifest)
            .env("CARGO_TARGET_DIR", folder.join("rust"));
        let file = if target == BARE_TARGET {
            cargo.arg("--lib");
            "library.wasm"
        } else {
            cargo.args(["--bin", "ledger"]);
            "ledger.wasm"
        };
        if allocator != "default" {
            cargo.args(["--features", allocator]);
        }
        toolchain::run(&mut cargo)?;
        Ok(folder.join("rust").join(target).join(profile).join(file))
    }
}
