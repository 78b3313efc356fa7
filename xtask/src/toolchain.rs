//! What has to be on the machine before a build can start, and how to get it there.
//!
//! `rust-toolchain.toml` names the targets and components, but rustup only installs them by itself
//! where automatic installation is on; so they are looked for and asked for here.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::progress;
use crate::workspace::{PLUGIN_TARGET, Workspace};

/// Plugins are built for the first; the heap profiler's runtime that is linked into them for the second.
const WASM_TARGETS: [&str; 2] = [PLUGIN_TARGET, "wasm32-unknown-unknown"];

/// Makes sure that the compiler can build for wasm, by `rustup target add` when it cannot yet.
///
/// # Errors
/// When a target is missing and there is no rustup to add it, or rustup fails.
pub(crate) fn ensure_wasm_targets(workspace: &Workspace) -> Result<()> {
    let missing: Vec<&str> = {
        let mut missing = Vec::new();
        for target in WASM_TARGETS {
            if !has_target(workspace.root(), target)? {
                missing.push(target);
            }
        }
        missing
    };
    if missing.is_empty() {
        return Ok(());
    }
    let mut rustup = rustup(workspace);
    rustup.args(["target", "add"]).args(&missing);
    add(
        &format!("adding the compilation targets {}", missing.join(", ")),
        &mut rustup,
    )
}

/// Makes sure that `cargo fmt` and `cargo clippy` are there.
///
/// # Errors
/// When one is missing and there is no rustup to add it, or rustup fails.
pub(crate) fn ensure_lint_components(workspace: &Workspace) -> Result<()> {
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if !answers(workspace.cargo().args([subcommand, "--version"])) {
            let mut rustup = rustup(workspace);
            rustup.args(["component", "add", component]);
            add(
                &format!("adding the toolchain component {component}"),
                &mut rustup,
            )?;
        }
    }
    Ok(())
}

/// True when a program exists and exits with success; its output is not shown.
pub(crate) fn answers(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The compiler itself is asked: that holds for toolchains that did not come from rustup, too.
fn has_target(folder: &Path, target: &str) -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(folder)
        .output()
        .context("cannot start rustc: is Rust installed? See https://rustup.rs")?;
    if !output.status.success() {
        bail!(
            "this Rust compiler does not know the target {target}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

fn rustup(workspace: &Workspace) -> Command {
    let mut rustup = Command::new("rustup");
    rustup.current_dir(workspace.root());
    rustup
}

fn add(step: &str, rustup: &mut Command) -> Result<()> {
    if !answers(Command::new("rustup").arg("--version")) {
        bail!(
            "{step}: rustup is not installed. Add it with your distribution's packages, or install rustup"
        );
    }
    progress::must_succeed(step, rustup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_target_is_found_and_a_made_up_one_is_an_error() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(has_target(here, PLUGIN_TARGET).is_ok());
        let error = has_target(here, "pdp11-unknown-none")
            .unwrap_err()
            .to_string();
        assert!(error.contains("pdp11-unknown-none"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_exist_does_not_answer() {
        assert!(answers(&mut Command::new("true")));
        assert!(!answers(&mut Command::new("false")));
        assert!(!answers(&mut Command::new("no-such-program-here")));
    }
}
