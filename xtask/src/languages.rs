//! `cargo xtask languages`: builds the plugins in `plugins/languages` as components, each with the tools of its own
//! language, and with `--check` drives each in the real host.
//!
//! The tools are fetched once, into the user's cache folder. A language whose tools this machine cannot have is skipped,
//! and every skip is counted and printed with its reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::host_process;
use crate::progress::{self, Report};
use crate::workspace::Workspace;

mod c;
mod check;
mod tools;

pub(crate) use tools::Fetch;

/// Arguments of `cargo xtask languages`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also load each into the host, and check that it leaks, is seen to leak, clears and is mended.
    #[arg(long)]
    check: bool,
    /// Only these: c, javascript, python.
    #[arg(value_enum)]
    only: Vec<Language>,
}

/// A language with a plugin of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    C,
    #[value(name = "javascript")]
    JavaScript,
    Python,
}

/// Why a language's plugin is not there.
#[derive(Debug)]
enum Missing {
    /// This machine has not what it takes to build it.
    Tools(anyhow::Error),
    /// It does not build.
    Build(anyhow::Error),
}

impl Language {
    const ALL: [Self; 3] = [Self::C, Self::JavaScript, Self::Python];

    /// The plugin's id, which names its file too.
    fn plugin(self) -> &'static str {
        match self {
            Self::C => "c-error-path",
            Self::JavaScript => "javascript-closures",
            Self::Python => "python-default-argument",
        }
    }

    /// Its folder in `plugins/languages`.
    fn folder(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::JavaScript => "javascript",
            Self::Python => "python",
        }
    }

    fn build(self, fetch: Fetch, workspace: &Workspace, component: &Path) -> Result<(), Missing> {
        let wit = workspace.root().join("wit");
        let source = workspace
            .plugins_source()
            .join("languages")
            .join(self.folder());
        match self {
            Self::C => c::build(fetch, &source, &wit, &workspace.scratch(), component),
            Self::JavaScript => {
                let program = tools::componentize_js(fetch).map_err(Missing::Tools)?;
                let mut command = std::process::Command::new(program);
                // The release build of the engine has no function names, and so would have no attribution.
                command
                    .args(["--use-debug-build", "--world-name", "leak-plugin", "--wit"])
                    .arg(wit)
                    .args(["--disable", "http", "fetch-event", "--out"])
                    .arg(component)
                    .arg(source.join("plugin.js"));
                tools::quietly(&mut command).map_err(Missing::Build)
            }
            Self::Python => {
                let mut command = tools::componentize_py(fetch).map_err(Missing::Tools)?;
                // The interpreter leaves compiled files beside the sources that it reads.
                let copy = workspace.scratch().join("leak-plugin-python");
                fs::create_dir_all(&copy)
                    .and_then(|()| fs::copy(source.join("app.py"), copy.join("app.py")))
                    .context("cannot copy app.py")
                    .map_err(Missing::Build)?;
                command
                    .arg("--wit-path")
                    .arg(wit)
                    .args(["--world", "leak-plugin", "componentize", "--python-path"])
                    .arg(copy)
                    .arg("--output")
                    .arg(component)
                    .arg("app");
                tools::quietly(&mut command).map_err(Missing::Build)
            }
        }
    }
}

/// Entry of the subcommand. What is skipped does not fail it; what does not build, or fails the check, does.
///
/// # Errors
/// When the folder of components cannot be written, or the host for the check cannot be built.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut report = Report::default();
    build(
        workspace,
        Fetch::IfMissing,
        &args.only,
        args.check,
        &mut report,
    )?;
    let passed = report.print();
    println!("components for the host: {}", folder(workspace).display());
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds what `only` names, or all, and checks it in the host if asked to.
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
        let what = format!("{}: component", language.plugin());
        progress::announce(&what);
        let started = Instant::now();
        // Beside its place and renamed, so that a running host never reads half a file.
        let new = folder.join(format!("{}.new", language.plugin()));
        let component = folder.join(format!("{}.wasm", language.plugin()));
        match language.build(fetch, workspace, &new) {
            Ok(()) => {
                fs::rename(&new, &component)
                    .with_context(|| format!("cannot write {}", component.display()))?;
                report.record(&what, true, started.elapsed());
                built.push((language, component));
            }
            Err(Missing::Tools(why)) => report.skip(&what, &format!("{why:#}")),
            Err(Missing::Build(why)) => {
                eprintln!("{why:#}");
                report.record(&what, false, started.elapsed());
            }
        }
    }
    if checked && !built.is_empty() {
        host_process::build(workspace)?;
        for (language, component) in built {
            let what = format!("{}: in the host", language.plugin());
            progress::announce(&what);
            let started = Instant::now();
            let outcome = check::check(workspace, language, &component);
            if let Err(why) = &outcome {
                eprintln!("{why:#}");
            }
            report.record(&what, outcome.is_ok(), started.elapsed());
        }
    }
    Ok(())
}

/// Where the components are put.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("languages")
}
