//! The command `cargo xtask toolchains`: runs programs of many toolchains under the heap profiler
//! and compares each profile with the program's own ledger.
//!
//! The command fails if a profile says that it is exact and differs from the ledger by one byte. A
//! profile that is not exact gives a range of live bytes, and the growth of memory by call stack.
//! The command fails if the ledger is outside of the range, or if the growth does not add up to the
//! memory that the engine has given to the program.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use guest_heap::Options;
use xtask_support::tools::Fetch;
use xtask_support::workspace::Workspace;

use profile::compare;
use table::{Counts, Outcome, Row};

mod build;
mod component;
mod profile;
mod table;
mod toolchain;

/// Compare heap profiles with the ledgers of programs of many toolchains.
#[derive(Debug, Parser)]
#[command(name = "toolchains", bin_name = "cargo xtask toolchains")]
struct Args {
    /// Only programs whose name contains one of these texts.
    only: Vec<String>,
    /// Random operations for each program.
    #[arg(long, default_value_t = 4_000_000)]
    operations: u32,
    /// Use only the compilers that are installed.
    #[arg(long)]
    offline: bool,
    /// Compare these files instead: components, or core modules for WASI preview 1. A library
    /// returns its live bytes from `run(operations: u32) -> u64`. A command gets the number of
    /// operations as its argument and prints a line `live BYTES`. It runs twice, the first time
    /// without operations.
    #[arg(long)]
    component: Vec<PathBuf>,
    /// Do not build again what an earlier run has built.
    #[arg(long)]
    reuse: bool,
}

/// Builds a component in a folder, and returns its bytes.
type Build = Box<dyn Fn(&Path) -> Result<Vec<u8>>>;

/// A program to build: its name, and how.
pub(crate) struct Program {
    name: String,
    /// Makes the component.
    build: Build,
    options: Options,
}

/// A group of programs of one compiler, or the reason why it is not available.
pub(crate) struct Group {
    name: &'static str,
    programs: Result<Vec<Program>>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let workspace = Workspace::find()?;
    let fetch = if args.offline {
        Fetch::Never
    } else {
        Fetch::IfMissing
    };
    let folder = workspace.target().join("toolchains");
    std::fs::create_dir_all(&folder)?;
    let mut counts = Counts::default();
    let mut report = |row: &Row| {
        counts.add(&row.outcome);
        println!("{}", table::line(row));
    };
    println!("{}", table::HEAD);
    let groups = if args.component.is_empty() {
        build::groups(&workspace, fetch)
    } else {
        vec![build::files(&args.component)]
    };
    for group in groups {
        let programs = match group.programs {
            Ok(programs) => programs,
            Err(error) => {
                if selected(&args.only, group.name) {
                    report(&Row {
                        name: group.name.to_owned(),
                        outcome: Outcome::Skipped(format!("{error:#}")),
                    });
                }
                continue;
            }
        };
        for program in programs {
            if selected(&args.only, &program.name) {
                let outcome = outcome(&program, &folder, &args);
                report(&Row {
                    name: program.name,
                    outcome,
                });
            }
        }
    }
    let Counts {
        exact,
        close,
        bounded,
        off,
        wrong,
        failed,
        skipped,
    } = counts;
    println!(
        "{exact} exact, {close} not exact and within 64 KiB, {bounded} bounded, {off} off, \
         {wrong} wrong"
    );
    println!(
        "{} passed, {} failed, {skipped} skipped",
        exact + close + bounded + off,
        wrong + failed
    );
    Ok(if wrong + failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn selected(only: &[String], name: &str) -> bool {
    only.is_empty() || only.iter().any(|text| name.contains(text.as_str()))
}

fn outcome(program: &Program, folder: &Path, args: &Args) -> Outcome {
    let built = component_path(folder, &program.name);
    let component = match std::fs::read(&built) {
        Ok(component) if args.reuse => Ok(component),
        _ => (program.build)(folder),
    };
    let component = match component {
        Ok(component) => component,
        Err(error) => return Outcome::Failed(format!("{error:#}")),
    };
    // A copy for those who want to look at it.
    if let Err(error) = std::fs::write(&built, &component) {
        return Outcome::Failed(format!("cannot write {}: {error}", built.display()));
    }
    match compare(&component, args.operations, &program.options) {
        Ok(comparison) => Outcome::Compared(comparison),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

fn component_path(folder: &Path, name: &str) -> PathBuf {
    let plain = name.replace([' ', '/'], "_");
    folder.join(format!("{plain}.component.wasm"))
}
