//! The command `cargo xtask python`: runs Python programs under the heap profiler, and compares the
//! lines with what the programs and `tracemalloc` say. With `--bench`, it measures the cost.
//!
//! A version of componentize-py that is not available is skipped with the reason.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use xtask_support::tools::Fetch;
use xtask_support::workspace::Workspace;

mod bench;
mod build;
mod checks;
mod session;

/// Compare the lines of Python programs with their own ledgers and with tracemalloc.
#[derive(Debug, Parser)]
#[command(name = "python", bin_name = "cargo xtask python")]
struct Args {
    /// Only checks whose name contains one of these texts.
    only: Vec<String>,
    /// Use only the versions of componentize-py that are installed.
    #[arg(long)]
    offline: bool,
    /// Measure the cost instead.
    #[arg(long)]
    bench: bool,
}

/// The outcomes so far.
#[derive(Default)]
struct Outcomes {
    passed: usize,
    failed: usize,
    skipped: usize,
}

struct Runner {
    args: Args,
    fetch: Fetch,
    programs: PathBuf,
    folder: PathBuf,
    outcomes: Outcomes,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let workspace = Workspace::find()?;
    let folder = workspace.target().join("python");
    std::fs::create_dir_all(&folder)?;
    let mut runner = Runner {
        fetch: if args.offline {
            Fetch::Never
        } else {
            Fetch::IfMissing
        },
        programs: workspace.root().join("xtask/python/programs"),
        folder,
        outcomes: Outcomes::default(),
        args,
    };
    if runner.args.bench {
        let component = |program: &str| runner.component(build::NEWEST, program);
        bench::run(component, &runner.folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (version, python) in build::VERSIONS {
        let name = format!("componentize-py {version}");
        runner.check(&name, version, "matrix", |component, runner| {
            checks::version(component, python, &runner.programs, &runner.folder)
        });
    }
    let newest = build::NEWEST;
    runner.check("tracemalloc", newest, "leaky", |component, runner| {
        checks::against_tracemalloc(component, &runner.programs, &runner.folder)
    });
    runner.check("shapes", newest, "shapes", |component, runner| {
        checks::shapes(component, &runner.programs, &runner.folder)
    });
    runner.check(
        "contexts of a leak",
        newest,
        "leaky",
        |component, runner| {
            checks::contexts(component, &runner.folder, &[("leak", 400), ("work", 10)])
        },
    );
    runner.check(
        "contexts of the library",
        newest,
        "busy",
        |component, runner| {
            checks::contexts(component, &runner.folder, &[("work", 12), ("recurse", 3)])
        },
    );
    runner.check("depths", newest, "busy", |component, runner| {
        checks::depths(component, &runner.folder)
    });
    let Outcomes {
        passed,
        failed,
        skipped,
    } = runner.outcomes;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Runner {
    fn component(&self, version: &str, program: &str) -> Result<Vec<u8>> {
        build::component(self.fetch, version, &self.programs, program, &self.folder)
    }

    /// Builds a program and checks it.
    fn check(
        &mut self,
        name: &str,
        version: &str,
        program: &str,
        check: impl FnOnce(&[u8], &Self) -> Result<String>,
    ) {
        let only = &self.args.only;
        if !only.is_empty() && !only.iter().any(|text| name.contains(text.as_str())) {
            return;
        }
        let component = match self.component(version, program) {
            Ok(component) => component,
            Err(error) => {
                self.outcomes.skipped += 1;
                println!("skipped  {name}: {error:#}");
                return;
            }
        };
        match check(&component, self) {
            Ok(seen) => {
                self.outcomes.passed += 1;
                println!("ok       {name}: {seen}");
            }
            Err(error) => {
                self.outcomes.failed += 1;
                println!("FAILED   {name}: {error:#}");
            }
        }
    }
}
