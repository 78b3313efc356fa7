//! `cargo xtask test-api`: hostile and merely careless clients, made up by schemathesis from the API's own
//! description. No answer may be a 5xx, break its schema, or have a status that the description does not know.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::host_process::{self, HostProcess};
use crate::plugins::{self, Members};
use crate::progress;
use crate::python;
use crate::toolchain;
use crate::workspace::Workspace;

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// What every answer has to be.
const CHECKS: &str = "not_a_server_error,response_schema_conformance,content_type_conformance,\
                      status_code_conformance";

/// What schemathesis is taught about this API.
const HOOKS: &str = "host/leak-host/tests/schemathesis";

const START_WITHIN: Duration = Duration::from_secs(60);

/// Arguments of `cargo xtask test-api`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Requests that are made up for each operation, beside those that cover its description.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    examples: u32,
    /// Where the making up begins: the same seed makes up the same requests.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Entry of the subcommand.
///
/// # Errors
/// When something cannot be built or started. An answer that is wrong is exit code 1; a machine without
/// Python or schemathesis is said, counted as skipped, and no failure.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let bin = match python::with_package(SCHEMATHESIS) {
        Ok(bin) => bin,
        Err(why) => {
            println!("skipped: {SCHEMATHESIS} cannot be had: {why:#}");
            println!("0 passed, 0 failed, 1 skipped");
            return Ok(ExitCode::SUCCESS);
        }
    };
    toolchain::ensure_wasm_targets(workspace)?;
    plugins::build(workspace, Members::Shipped)?;
    host_process::build(workspace)?;

    let scratch = workspace.scratch().join("test-api");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    // The API can remove plugins: these are copies.
    copy_components(&workspace.components(), &scratch.join("plugins"))?;
    let mut host = HostProcess::start(
        workspace,
        [
            "--listen".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--plugins".as_ref(),
            scratch.join("plugins").as_os_str(),
        ],
        false,
    )?;
    let base = host.healthy_within(START_WITHIN)?;
    progress::announce(format_args!("{SCHEMATHESIS} over {base}/openapi.json"));
    let tested = Command::new(bin.join("st"))
        .current_dir(workspace.root().join(HOOKS))
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", workspace.root().join(HOOKS))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["run", &format!("{base}/openapi.json")])
        .args(["--checks", CHECKS])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", &args.examples.to_string()])
        .args(["--seed", &args.seed.to_string()])
        .args(["--request-timeout", "30", "--generation-database", "none"])
        .args(["--warnings", "off", "--continue-on-failure"])
        .status()
        .context("schemathesis cannot be started")?;
    // Whatever it was told, it lives, and ends when it is asked to.
    ensure!(host.exited()?.is_none(), "the host did not survive");
    host.signal(Signal::TERM);
    let ended = host.wait()?;
    let passed = tested.success() && ended.success();
    if !ended.success() {
        eprintln!("the host did not end cleanly: {ended}");
    }
    println!("{} passed, {} failed", u8::from(passed), u8::from(!passed));
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn copy_components(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|end| end == "wasm") {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_components_are_copied() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::write(from.join("a.wasm"), b"a").unwrap();
        fs::write(from.join("b.txt"), b"b").unwrap();
        copy_components(&from, &to).unwrap();
        let copied: Vec<_> = fs::read_dir(&to)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(copied, ["a.wasm"]);
        assert!(copy_components(&folder.path().join("nowhere"), &to).is_err());
    }
}
