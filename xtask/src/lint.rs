//! `cargo xtask lint`: everything a change must pass before a person reads it.
//!
//! The text checks read all files that Git tracks and take about a second. Clippy and cargo-deny
//! come last, because they take minutes.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Result;

use self::finding::Finding;
use self::language::Language;
use self::source::Source;
use crate::progress::{self, Report};
use crate::workspace::{PLUGIN_TARGET, PROFILER_FIXTURES, PROFILER_RUNTIME, Workspace};
use crate::{invariants, toolchain};

mod columns;
mod commits;
mod file_size;
mod finding;
mod language;
mod lexer;
mod source;

/// The parts of cargo-deny that need no network; advisories are fetched from a Git host.
const DENY_CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

/// One policy serves both workspaces, so each has entries that only the other one needs.
const UNUSED_ENTRIES_ALLOWED: [&str; 8] = [
    "--allow",
    "license-exception-not-encountered",
    "--allow",
    "license-not-encountered",
    "--allow",
    "unmatched-skip",
    "--allow",
    "unmatched-skip-root",
];

const DENY_WARNINGS: [&str; 3] = ["--", "--deny", "warnings"];

/// Arguments of `cargo xtask lint`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these checks.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Check>,
    /// Check the subjects of commits after this one. Without it: all since the rule exists.
    #[arg(long, env = commits::BASE_VARIABLE)]
    commits_since: Option<String>,
    /// Text checks only look at files below these paths, relative to the root.
    paths: Vec<PathBuf>,
}

/// One group of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Check {
    /// Phrases and names of xtask/src/lint/language.txt.
    Language,
    /// Width of comments and Markdown.
    Columns,
    /// Lines of a Rust file.
    FileSize,
    /// Subjects of new commits.
    Commits,
    /// Invariants of ARCHITECTURE.md.
    Invariants,
    /// rustfmt in every workspace.
    Format,
    /// Clippy in every workspace.
    Clippy,
    /// Licenses, bans and sources of the dependencies.
    Deny,
}

/// Entry of the subcommand.
///
/// # Errors
/// When a tool cannot be started. A finding is not an error but exit code 1.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let wanted = |check| args.only.is_empty() || args.only.contains(&check);
    let mut report = Report::default();
    text_checks(workspace, args, &mut report)?;
    if wanted(Check::Commits) {
        check_commits(workspace, args, &mut report)?;
    }
    if wanted(Check::Invariants) {
        let started = Instant::now();
        let broken = invariants::check(workspace.root())?;
        for finding in &broken {
            println!("{finding}");
        }
        report.record("invariants", broken.is_empty(), started.elapsed());
    }
    if wanted(Check::Format) {
        toolchain::ensure_lint_components(workspace)?;
        check_format(workspace, &mut report)?;
    }
    if wanted(Check::Clippy) {
        toolchain::ensure_wasm_targets(workspace)?;
        toolchain::ensure_lint_components(workspace)?;
        check_clippy(workspace, &mut report)?;
    }
    if wanted(Check::Deny) {
        check_dependencies(workspace, &mut report)?;
    }
    Ok(if report.print() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The checks that read one file at a time.
fn text_checks(workspace: &Workspace, args: &Args, report: &mut Report) -> Result<()> {
    type TextCheck<'a> = Box<dyn Fn(&Source) -> Vec<Finding> + 'a>;
    let language = Language::load()?;
    let checks: [(Check, &str, TextCheck<'_>); 3] = [
        (
            Check::Language,
            "plain language",
            Box::new(|source| language.check(source)),
        ),
        (Check::Columns, "columns", Box::new(columns::check)),
        (
            Check::FileSize,
            "file size",
            Box::new(|source| file_size::check(source).into_iter().collect()),
        ),
    ];
    let mut sources = None;
    for (check, name, find) in checks {
        if !args.only.is_empty() && !args.only.contains(&check) {
            continue;
        }
        progress::announce(name);
        let started = Instant::now();
        let sources = match &mut sources {
            Some(sources) => sources,
            none => none.insert(source::read_all(workspace.root())?),
        };
        let selected = |source: &&Source| {
            args.paths.is_empty() || args.paths.iter().any(|path| source.path.starts_with(path))
        };
        let findings: Vec<Finding> = sources.iter().filter(selected).flat_map(find).collect();
        finding::print(&findings);
        report.record(name, findings.is_empty(), started.elapsed());
    }
    Ok(())
}

fn check_commits(workspace: &Workspace, args: &Args, report: &mut Report) -> Result<()> {
    let name = "commit subjects";
    progress::announce(name);
    let started = Instant::now();
    match commits::check(workspace.root(), args.commits_since.as_deref())? {
        commits::Outcome::Checked(broken) => {
            for line in &broken {
                println!("{line}");
            }
            report.record(name, broken.is_empty(), started.elapsed());
        }
        commits::Outcome::Skipped(reason) => report.skip(name, &reason),
    }
    Ok(())
}

fn check_format(workspace: &Workspace, report: &mut Report) -> Result<()> {
    let mut root = workspace.cargo();
    report.check(
        "format: host and xtask",
        root.args(["fmt", "--all", "--check"]),
    )?;
    let mut plugins = workspace.plugins_cargo();
    report.check("format: plugins", plugins.args(["fmt", "--all", "--check"]))?;
    for folder in [PROFILER_RUNTIME, PROFILER_FIXTURES] {
        let mut format = workspace.cargo_in(folder);
        report.check(
            &format!("format: {folder}"),
            format.args(["fmt", "--all", "--check"]),
        )?;
    }
    Ok(())
}

fn check_clippy(workspace: &Workspace, report: &mut Report) -> Result<()> {
    let mut root = workspace.cargo();
    // In release, so that the build scripts and macros of the tests' build serve here too.
    root.args([
        "clippy",
        "--keep-going",
        "--release",
        "--workspace",
        "--all-targets",
    ]);
    report.check("clippy: host and xtask", root.args(DENY_WARNINGS))?;
    let mut runtime = workspace.cargo_in(PROFILER_RUNTIME);
    runtime.args(["clippy", "--all-targets"]);
    report.check(
        "clippy: heap profiler's runtime",
        runtime.args(DENY_WARNINGS),
    )?;
    let mut plugins = workspace.plugins_cargo();
    plugins.args(["clippy", "--workspace", "--all-targets"]);
    report.check("clippy: plugins, native", plugins.args(DENY_WARNINGS))?;
    let mut wasm = workspace.plugins_wasm_cargo();
    wasm.args([
        "clippy",
        "--release",
        "--workspace",
        "--target",
        PLUGIN_TARGET,
    ]);
    report.check("clippy: plugins, wasm", wasm.args(DENY_WARNINGS))?;
    Ok(())
}

fn check_dependencies(workspace: &Workspace, report: &mut Report) -> Result<()> {
    if !toolchain::answers(workspace.cargo().args(["deny", "--version"])) {
        report.skip(
            "dependencies",
            "cargo-deny is not installed (cargo install --locked cargo-deny)",
        );
        return Ok(());
    }
    let config = workspace.root().join("deny.toml");
    let deny = |mut cargo: Command| {
        cargo
            .args(["deny", "--locked", "--config"])
            .arg(&config)
            .arg("check")
            .args(UNUSED_ENTRIES_ALLOWED)
            .args(DENY_CHECKS);
        cargo
    };
    report.check("dependencies: host and xtask", &mut deny(workspace.cargo()))?;
    report.check(
        "dependencies: plugins",
        &mut deny(workspace.plugins_cargo()),
    )?;
    Ok(())
}
