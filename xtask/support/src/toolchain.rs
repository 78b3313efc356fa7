//! Toolchain components that a build needs, and how to add them.
//!
//! `rust-toolchain.toml` names targets and components, but rustup installs them by itself only
//! where automatic installation is on. So each command looks for what it needs and asks rustup to
//! add it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::report;
use crate::workspace::{PLUGIN_TARGET, Workspace};

/// Plugins are built for the first, the heap profiler's runtime that is linked into them for the
/// second.
const WASM_TARGETS: [&str; 2] = [PLUGIN_TARGET, "wasm32-unknown-unknown"];

/// Makes sure that the compiler can build for wasm. Adds a missing target with `rustup target add`.
///
/// # Errors
/// When a target is missing and rustup is missing too, or fails.
pub fn ensure_wasm_targets(workspace: &Workspace) -> Result<()> {
    let mut missing = Vec::new();
    for target in WASM_TARGETS {
        if !has_target(workspace.root(), target)? {
            missing.push(target);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let step = format!("adding the compilation targets {}", missing.join(", "));
    add(workspace, &step, &["target", "add"], &missing)
}

/// Makes sure that `cargo fmt` and `cargo clippy` work. Adds a missing component with rustup.
///
/// # Errors
/// When one is missing and rustup is missing too, or fails.
pub fn ensure_lint_components(workspace: &Workspace) -> Result<()> {
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if !succeeds(workspace.cargo().args([subcommand, "--version"])) {
            let step = format!("adding the toolchain component {component}");
            add(workspace, &step, &["component", "add"], &[component])?;
        }
    }
    Ok(())
}

/// True when a program exists and exits with success. Its output is not shown.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What `rustc` prints for these arguments.
///
/// # Errors
/// When there is no rustc, or it refuses.
pub fn rustc(folder: &Path, arguments: &[&str]) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(arguments)
        .current_dir(folder)
        .output()
        .context("cannot start rustc: is Rust installed? See https://rustup.rs")?;
    if !output.status.success() {
        bail!(
            "rustc {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Asks the compiler itself, which also works for toolchains that did not come from rustup.
fn has_target(folder: &Path, target: &str) -> Result<bool> {
    let libraries = rustc(folder, &["--print", "target-libdir", "--target", target])?;
    Ok(Path::new(&libraries).is_dir())
}

fn add(workspace: &Workspace, step: &str, subcommand: &[&str], names: &[&str]) -> Result<()> {
    if !succeeds(Command::new("rustup").arg("--version")) {
        bail!("{step}: install rustup, or add it with your distribution's packages");
    }
    let mut rustup = Command::new("rustup");
    rustup.current_dir(workspace.root());
    report::must_succeed(step, rustup.args(subcommand).args(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_rustc_does_not_know_is_an_error() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(has_target(here, PLUGIN_TARGET).is_ok());
        let error = has_target(here, "pdp11-unknown-none").unwrap_err();
        assert!(error.to_string().contains("pdp11-unknown-none"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_exist_does_not_succeed() {
        assert!(succeeds(&mut Command::new("true")));
        assert!(!succeeds(&mut Command::new("false")));
        assert!(!succeeds(&mut Command::new("no-such-program-here")));
    }
}
