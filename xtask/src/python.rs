//! Programs from the Python package index, each in an environment of its own in the user's cache folder,
//! under a path that carries the version.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::stack::tools;

/// The `bin` folder of an environment that has this package, `NAME==VERSION`; made if it is not there.
///
/// # Errors
/// When there is no Python 3, or the package cannot be installed.
pub(crate) fn with_package(requirement: &str) -> Result<PathBuf> {
    let python = tools::on_path("python3")?;
    let (name, version) = requirement
        .split_once("==")
        .with_context(|| format!("{requirement} names no version"))?;
    let folder = tools::cache()?.join(format!("{name}-{version}"));
    let bin = folder.join("bin");
    let complete = folder.join("complete");
    if !complete.is_file() {
        run(Command::new(python).args(["-m", "venv"]).arg(&folder))
            .context("python3 cannot make an environment")?;
        run(Command::new(bin.join("python")).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            requirement,
        ]))
        .with_context(|| format!("{requirement} cannot be installed"))?;
        std::fs::write(complete, requirement)?;
    }
    Ok(bin)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        bail!("{}", last.unwrap_or("it gave no reason").to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_without_a_version_is_refused() {
        if tools::on_path("python3").is_ok() {
            let error = with_package("schemathesis").unwrap_err();
            assert_eq!(error.to_string(), "schemathesis names no version");
        }
    }
}
