//! `cargo xtask languages`: builds the plugins in `plugins/languages` as components, each with the
//! tools of its own language, and with `--check` tries each in the real host.
//!
//! The tools are fetched once, into the user's cache folder. A language is skipped if this machine
//! lacks its tools; every skip is counted and printed with its reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use xtask_support::host_process;
use xtask_support::layout::WIT;
use xtask_support::report::{self, Report};
use xtask_support::tools::{Fetch, run_quietly};
use xtask_support::workspace::Workspace;

mod c;
mod check;
mod tools;

/// Arguments of `cargo xtask languages`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also load each into the host, and check that it leaks, is profiled, clears and can be fixed.
    #[arg(long)]
    check: bool,
    /// Only these: c, javascript, python.
    #[arg(value_enum)]
    only: Vec<Language>,
}

/// A language that a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    C,
    #[value(name = "javascript")]
    JavaScript,
    Python,
}

/// Why there is no component.
#[derive(Debug)]
enum BuildError {
    /// This machine lacks the tools.
    Tools(anyhow::Error),
    /// The plugin does not build.
    Build(anyhow::Error),
}

impl Language {
    const ALL: [Self; 3] = [Self::C, Self::JavaScript, Self::Python];

    /// The plugin's id, which is also the name of its file.
    fn plugin(self) -> &'static str {
        match self {
            Self::C => "c-error-path",
            Self::JavaScript => "javascript-closures",
            Self::Python => "python-default-argument",
        }
    }

    /// The folder in `plugins/languages`.
    fn folder(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::JavaScript => "javascript",
            Self::Python => "python",
        }
    }

    fn build(
        self,
        fetch: Fetch,
        workspace: &Workspace,
        component: &Path,
    ) -> Result<(), BuildError> {
        let wit = workspace.root().join(WIT);
        let source = workspace
            .plugins_source()
            .join("languages")
            .join(self.folder());
        let scratch = workspace.scratch();
        match self {
            Self::C => c::build(fetch, &source, &wit, &scratch, component),
            Self::JavaScript => {
                let program = tools::componentize_js(fetch).map_err(BuildError::Tools)?;
                let mut command = Command::new(program);
                // The release build of the engine has no function names, and so no attribution.
                command
                    .args(["--use-debug-build", "--world-name", "leak-plugin", "--wit"])
                    .arg(wit)
                    .args(["--disable", "http", "fetch-event", "--out"])
                    .arg(component)
                    .arg(source.join("plugin.js"));
                run_quietly(&mut command).map_err(BuildError::Build)?;
                Ok(())
            }
            Self::Python => {
                let mut command = tools::componentize_py(fetch).map_err(BuildError::Tools)?;
                // A copy, because the interpreter writes compiled files next to its sources.
                let copy = scratch.join("leak-plugin-python");
                fs::create_dir_all(&copy)
                    .and_then(|()| fs::copy(source.join("app.py"), copy.join("app.py")))
                    .context("cannot copy app.py")
                    .map_err(BuildError::Build)?;
                command
                    .arg("--wit-path")
                    .arg(wit)
                    .args(["--world", "leak-plugin", "componentize", "--python-path"])
                    .arg(copy)
                    .arg("--output")
                    .arg(component)
                    .arg("app");
                run_quietly(&mut command).map_err(BuildError::Build)?;
                Ok(())
            }
        }
    }
}

/// A skip is no failure. A plugin that does not build, or fails its check, is exit code 1.
///
/// # Errors
/// When the folder of components cannot be written, or the host for the check does not build.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut report = Report::default();
    build(
        workspace,
        Fetch::IfMissing,
        &args.only,
        args.check,
        &mut report,
    )?;
    let code = report.finish();
    println!("components for the host: {}", folder(workspace).display());
    Ok(code)
}

/// Builds the languages in `only`, or all, and checks each in the host if asked to.
///
/// # Errors
/// As [`run`].
pub(crate) fn build(
    workspace: &Workspace,
    fetch: Fetch,
    only: &[Language],
    checked: bool,
    report: &mut Report,
) -> Result<()> {
    let folder = folder(workspace);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::create_dir_all(workspace.scratch())?;
    let mut built = Vec::new();
    for language in Language::ALL {
        if !only.is_empty() && !only.contains(&language) {
            continue;
        }
        let plugin = language.plugin();
        let step = format!("{plugin}: component");
        report::announce(&step);
        // Renamed when complete, so that a running host never reads half a file.
        let new = folder.join(format!("{plugin}.new"));
        let component = folder.join(format!("{plugin}.wasm"));
        match language.build(fetch, workspace, &new) {
            Ok(()) => {
                let placed = report.check(&step, || {
                    fs::rename(&new, &component)
                        .with_context(|| format!("cannot write {}", component.display()))?;
                    Ok(format!("{} bytes", fs::metadata(&component)?.len()))
                });
                if placed {
                    built.push((language, component));
                }
            }
            Err(BuildError::Tools(reason)) => report.skip(&step, format_args!("{reason:#}")),
            Err(BuildError::Build(reason)) => {
                report.check(&step, || Err(reason));
            }
        }
    }
    if checked && !built.is_empty() {
        host_process::build(workspace)?;
        for (language, component) in built {
            let step = format!("{}: in the host", language.plugin());
            report::announce(&step);
            report.check(&step, || check::check(workspace, language, &component));
        }
    }
    Ok(())
}

/// The folder of the built components.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("languages")
}
