//! `cargo xtask lint`: everything a change must pass before a person reads it.
//!
//! The text checks read every file that Git tracks and take a second or two. Clippy and cargo-deny
//! come last, because they take minutes.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};
use xtask_support::layout::{COMMAND_FIXTURES, PROFILER_FIXTURES, PROFILER_RUNTIME};
use xtask_support::report::{self, Report};
use xtask_support::toolchain;
use xtask_support::workspace::{PLUGIN_TARGET, Workspace};

use self::finding::Finding;
use self::language::PhraseList;
use self::source::SourceFile;

mod columns;
mod commits;
mod crates;
mod features;
mod file_size;
mod finding;
mod language;
mod lexer;
mod modules;
mod packages;
mod source;

/// The checks of cargo-deny that need no network. Advisories are fetched from a Git host.
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
    /// Check the subjects of commits after this one. Default: the last commit before the rule.
    #[arg(long, env = commits::BASE_VARIABLE)]
    commits_since: Option<String>,
    /// Language, columns and file size only of files below these paths, relative to the root.
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
    /// Circles of modules.
    Modules,
    /// Arrows between crates.
    Crates,
    /// Features of the wasm engine in builds of one crate.
    Features,
    /// Contents of the crates that can be published.
    Packages,
    /// Subjects of new commits.
    Commits,
    /// rustfmt in every workspace.
    Format,
    /// Clippy in every workspace.
    Clippy,
    /// Licenses, bans and sources of the dependencies.
    Deny,
}

impl Args {
    fn wants(&self, check: Check) -> bool {
        self.only.is_empty() || self.only.contains(&check)
    }
}

/// # Errors
/// When a tool cannot be started. A finding is not an error but exit code 1.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut report = Report::default();
    let text = [
        Check::Language,
        Check::Columns,
        Check::FileSize,
        Check::Modules,
    ];
    if text.into_iter().any(|check| args.wants(check)) {
        check_text(workspace, args, &mut report)?;
    }
    if args.wants(Check::Crates) {
        report.check("arrows between crates", || check_crates(workspace));
    }
    if args.wants(Check::Features) {
        report.check("features of the wasm engine", || check_features(workspace));
    }
    if args.wants(Check::Packages) {
        report.check("contents of packages", || check_packages(workspace));
    }
    if args.wants(Check::Commits) {
        check_commits(workspace, args, &mut report)?;
    }
    if args.wants(Check::Format) || args.wants(Check::Clippy) {
        toolchain::ensure_lint_components(workspace)?;
    }
    if args.wants(Check::Format) {
        check_format(workspace, &mut report)?;
    }
    if args.wants(Check::Clippy) {
        toolchain::ensure_wasm_targets(workspace)?;
        check_clippy(workspace, &mut report)?;
    }
    if args.wants(Check::Deny) {
        check_dependencies(workspace, &mut report)?;
    }
    Ok(report.finish())
}

fn check_text(workspace: &Workspace, args: &Args, report: &mut Report) -> Result<()> {
    let all = source::read_all(workspace.root())?;
    let selected: Vec<&SourceFile> = all
        .iter()
        .filter(|source| {
            args.paths.is_empty() || args.paths.iter().any(|path| source.path.starts_with(path))
        })
        .collect();
    let mut check = |check: Check, name: &str, find: &dyn Fn(&SourceFile) -> Vec<Finding>| {
        if args.wants(check) {
            report::announce(name);
            report.check(name, || {
                let findings: Vec<Finding> = selected.iter().flat_map(|s| find(s)).collect();
                finding::print(&findings);
                none_of(findings.len(), "findings", selected.len(), "files")
            });
        }
    };
    let language = PhraseList::load()?;
    check(Check::Language, "plain language", &|s| language.check(s));
    check(Check::Columns, "columns", &columns::check);
    check(Check::FileSize, "file size", &|s| {
        file_size::check(s).into_iter().collect()
    });
    if args.wants(Check::Modules) {
        report.check("circles of modules", || {
            let circles = modules::check(&all);
            none_of(print(&circles), "circles", all.len(), "files")
        });
    }
    Ok(())
}

fn metadata(workspace: &Workspace) -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(workspace.root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata cannot read the workspace")
}

fn check_packages(workspace: &Workspace) -> Result<String> {
    let metadata = metadata(workspace)?;
    let mut broken = packages::unpublished_dependencies(&metadata);
    let crates = packages::publishable(&metadata);
    for package in &crates {
        broken.extend(packages::missing_files(workspace.root(), package)?);
    }
    none_of(print(&broken), "broken rules", crates.len(), "crates")
}

fn check_crates(workspace: &Workspace) -> Result<String> {
    let metadata = metadata(workspace)?;
    let broken = crates::check(&metadata);
    let members = metadata.workspace_members.len();
    none_of(print(&broken), "forbidden dependencies", members, "crates")
}

fn check_features(workspace: &Workspace) -> Result<String> {
    let metadata = metadata(workspace)?;
    let broken = features::check(workspace.root(), &metadata)?;
    let members = metadata.workspace_members.len();
    none_of(print(&broken), "packages compiled twice", members, "crates")
}

fn check_commits(workspace: &Workspace, args: &Args, report: &mut Report) -> Result<()> {
    let name = "commit subjects";
    match commits::check(workspace.root(), args.commits_since.as_deref())? {
        commits::SubjectCheck::Checked { commits, broken } => {
            report.check(name, || {
                none_of(print(&broken), "broken rules", commits, "commits")
            });
        }
        commits::SubjectCheck::Skipped(reason) => report.skip(name, reason),
    }
    Ok(())
}

/// Prints the lines and returns how many there are.
fn print(lines: &[String]) -> usize {
    for line in lines {
        println!("{line}");
    }
    lines.len()
}

fn none_of(found: usize, what: &str, among: usize, searched: &str) -> Result<String> {
    if found > 0 {
        bail!("{found} {what} in {among} {searched}");
    }
    Ok(format!("{among} {searched}"))
}

fn check_format(workspace: &Workspace, report: &mut Report) -> Result<()> {
    let format = ["fmt", "--all", "--check"];
    let mut root = workspace.cargo();
    report.run("format: host and xtask", root.args(format))?;
    let mut plugins = workspace.plugins_cargo();
    report.run("format: plugins", plugins.args(format))?;
    for folder in [PROFILER_RUNTIME, PROFILER_FIXTURES, COMMAND_FIXTURES] {
        let mut cargo = workspace.cargo_in(folder);
        report.run(&format!("format: {folder}"), cargo.args(format))?;
    }
    Ok(())
}

fn check_clippy(workspace: &Workspace, report: &mut Report) -> Result<()> {
    let mut root = workspace.cargo();
    root.args(["clippy", "--keep-going", "--workspace", "--all-targets"])
        // In release, because the build scripts and macros of the tests' build serve here too.
        .args(["--release"])
        .args(DENY_WARNINGS);
    report.run("clippy: host and xtask", &mut root)?;
    let mut runtime = workspace.cargo_in(PROFILER_RUNTIME);
    runtime
        .args(["clippy", "--all-targets"])
        .args(DENY_WARNINGS);
    report.run("clippy: heap profiler's runtime", &mut runtime)?;
    let mut plugins = workspace.plugins_cargo();
    plugins
        .args(["clippy", "--workspace", "--all-targets"])
        .args(DENY_WARNINGS);
    report.run("clippy: plugins, native", &mut plugins)?;
    let mut wasm = workspace.plugins_wasm_cargo();
    wasm.args(["clippy", "--release", "--workspace", "--target"])
        .arg(PLUGIN_TARGET)
        .args(DENY_WARNINGS);
    report.run("clippy: plugins, wasm", &mut wasm)?;
    Ok(())
}

fn check_dependencies(workspace: &Workspace, report: &mut Report) -> Result<()> {
    if !toolchain::succeeds(workspace.cargo().args(["deny", "--version"])) {
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
    report.run("dependencies: host and xtask", &mut deny(workspace.cargo()))?;
    let mut plugins = deny(workspace.plugins_cargo());
    report.run("dependencies: plugins", &mut plugins)?;
    Ok(())
}
