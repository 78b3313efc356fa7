//! `cargo xtask lint`: what a change must pass before it is read by a person.

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Result;

use crate::progress::{self, Report};
use crate::workspace::{PLUGIN_TARGET, PROFILER_FIXTURES, PROFILER_RUNTIME, Workspace};
use crate::{invariants, toolchain};

/// The parts of cargo-deny that need no network; advisories are fetched from a Git host.
const DENY_CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

/// One policy serves both workspaces, so each has entries that only the other one needs.
const UNUSED_IS_FINE: [&str; 8] = [
    "--allow",
    "license-exception-not-encountered",
    "--allow",
    "license-not-encountered",
    "--allow",
    "unmatched-skip",
    "--allow",
    "unmatched-skip-root",
];

/// Entry of the subcommand.
///
/// # Errors
/// When a tool cannot be started. A finding is not an error but exit code 1.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    toolchain::ensure_wasm_targets(workspace)?;
    toolchain::ensure_lint_components(workspace)?;
    let mut report = Report::default();

    progress::announce("invariants of ARCHITECTURE.md");
    let started = Instant::now();
    let broken = invariants::check(workspace.root())?;
    for finding in &broken {
        eprintln!("{finding}");
    }
    report.record("invariants", broken.is_empty(), started.elapsed());

    report.check(
        "format: host and xtask",
        workspace.cargo().args(["fmt", "--all", "--check"]),
    )?;
    report.check(
        "format: plugins",
        workspace.plugins_cargo().args(["fmt", "--all", "--check"]),
    )?;

    for folder in [PROFILER_RUNTIME, PROFILER_FIXTURES] {
        let mut format = workspace.cargo_in(folder);
        report.check(
            &format!("format: {folder}"),
            format.args(["fmt", "--all", "--check"]),
        )?;
    }

    let deny_warnings = ["--", "--deny", "warnings"];
    report.check(
        // In release, so that the build scripts and macros of the tests' build serve here too.
        "clippy: host and xtask",
        workspace
            .cargo()
            .args([
                "clippy",
                "--keep-going",
                "--release",
                "--workspace",
                "--all-targets",
            ])
            .args(deny_warnings),
    )?;
    report.check(
        "clippy: heap profiler's runtime",
        workspace
            .cargo_in(PROFILER_RUNTIME)
            .args(["clippy", "--all-targets"])
            .args(deny_warnings),
    )?;
    report.check(
        "clippy: plugins, native",
        workspace
            .plugins_cargo()
            .args(["clippy", "--workspace", "--all-targets"])
            .args(deny_warnings),
    )?;
    report.check(
        "clippy: plugins, wasm",
        workspace
            .plugins_wasm_cargo()
            .args([
                "clippy",
                "--release",
                "--workspace",
                "--target",
                PLUGIN_TARGET,
            ])
            .args(deny_warnings),
    )?;

    if toolchain::answers(workspace.cargo().args(["deny", "--version"])) {
        let config = workspace.root().join("deny.toml");
        let deny = |cargo: &mut Command| {
            cargo
                .args(["deny", "--locked", "--config"])
                .arg(&config)
                .arg("check")
                .args(UNUSED_IS_FINE)
                .args(DENY_CHECKS);
        };
        let mut root = workspace.cargo();
        deny(&mut root);
        report.check("dependencies: host and xtask", &mut root)?;
        let mut plugins = workspace.plugins_cargo();
        deny(&mut plugins);
        report.check("dependencies: plugins", &mut plugins)?;
    } else {
        report.skip(
            "dependencies",
            "cargo-deny is not installed (cargo install --locked cargo-deny)",
        );
    }
    Ok(if report.print() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
