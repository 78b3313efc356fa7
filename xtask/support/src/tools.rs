//! Programs that are no part of this repository: found on `PATH`, or installed once into the user's
//! cache folder under a path with their version.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::report;

/// Lines that are quoted of a program that fails.
const MAX_QUOTED_LINES: usize = 20;

/// The names of Chromium's executable.
const CHROMIUM: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
];

/// What to do about a tool that is not in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// Install it.
    IfMissing,
    /// Report it as missing: nobody asked for a download of up to some hundred megabytes.
    Never,
}

/// The folder of tools: in `LEAK_LAB_CACHE`, or in `leak-lab` in the user's cache folder.
///
/// # Errors
/// When there is no home folder.
pub fn cache() -> Result<PathBuf> {
    let user = || {
        env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| env::home_dir().map(|home| home.join(".cache")))
            .map(|cache| cache.join("leak-lab"))
    };
    env::var_os("LEAK_LAB_CACHE")
        .map(PathBuf::from)
        .or_else(user)
        .map(|cache| cache.join("tools"))
        .context("there is no home folder for tools; set LEAK_LAB_CACHE")
}

/// The first executable with this name on `PATH`.
///
/// # Errors
/// When there is none.
pub fn on_path(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not on PATH"))
}

/// Chromium, or a browser that is built from it.
///
/// # Errors
/// When there is none, with the command that installs it.
pub fn chromium() -> Result<PathBuf> {
    CHROMIUM
        .iter()
        .find_map(|name| on_path(name).ok())
        .context("there is no Chromium on PATH: apt-get install chromium")
}

/// The folder `{name}-{version}` in the cache. It counts as complete if it contains `proof`; else
/// `install` gets an empty folder to fill.
///
/// # Errors
/// When the tool is missing and must not be fetched, or `install` fails.
pub fn obtain(
    fetch: Fetch,
    name: &str,
    version: &str,
    proof: &str,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = cache()?.join(format!("{name}-{version}"));
    if folder.join(proof).exists() {
        return Ok(folder);
    }
    if fetch == Fetch::Never {
        bail!("{name} {version} is not installed yet; `cargo xtask languages` fetches it");
    }
    report::announce(format_args!("installing {name} {version} (once)"));
    // Installed next to its place and renamed, so that an interruption leaves nothing half
    // complete.
    let work = cache()?.join(format!("installing-{name}-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let placed = install(&work).and_then(|()| move_into(&work, &folder));
    // After a success there is nothing to remove.
    let _ignored = fs::remove_dir_all(&work);
    placed.with_context(|| format!("{name} {version} cannot be installed"))?;
    Ok(folder)
}

/// Moves a complete installation to its place, which it may share with another program.
fn move_into(work: &Path, folder: &Path) -> Result<()> {
    if !folder.exists() {
        return fs::rename(work, folder).context("cannot move it into the cache");
    }
    for entry in fs::read_dir(work)? {
        let entry = entry?;
        let place = folder.join(entry.file_name());
        if place.is_dir() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(entry.path(), place).context("cannot move it into the cache")?;
    }
    Ok(())
}

/// The `bin` folder of a Python environment with this package, `NAME==VERSION`.
///
/// # Errors
/// When there is no Python 3, or the package cannot be installed.
pub fn python_environment(requirement: &str) -> Result<PathBuf> {
    let python = on_path("python3")?;
    let (name, version) = requirement
        .split_once("==")
        .with_context(|| format!("{requirement} names no version"))?;
    // An environment cannot be moved, so it is made in its place and marked when it is complete.
    let folder = cache()?.join(format!("{name}-{version}"));
    let bin = folder.join("bin");
    let complete = folder.join("complete");
    if !complete.is_file() {
        run_quietly(Command::new(python).args(["-m", "venv"]).arg(&folder))
            .context("python3 cannot make an environment")?;
        let mut pip = Command::new(bin.join("python"));
        run_quietly(pip.args(["-m", "pip", "install", "--quiet", requirement]))
            .with_context(|| format!("{requirement} cannot be installed"))?;
        fs::write(complete, requirement)?;
    }
    Ok(bin)
}

/// Runs a program and returns its stdout. Its output is shown only when it fails.
///
/// # Errors
/// When it cannot be started, or fails: with the first lines of its output.
pub fn run_quietly(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = [output.stderr, output.stdout].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(MAX_QUOTED_LINES)
        .collect();
    bail!(
        "{}: {}",
        Path::new(command.get_program()).display(),
        if lines.is_empty() {
            "it gave no reason".to_owned()
        } else {
            lines.join("\n")
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_programs_can_share_a_folder() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("prometheus-1");
        for name in ["prometheus", "promtool", "promtool"] {
            let work = temp.path().join("work");
            fs::create_dir_all(&work).unwrap();
            fs::write(work.join(name), name).unwrap();
            move_into(&work, &folder).unwrap();
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn a_missing_program_is_an_error_that_names_it() {
        let error = on_path("no-such-program-here").unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"));
    }

    #[test]
    fn a_failure_quotes_the_output_of_the_program() {
        let failing = || {
            let mut command = Command::new("sh");
            command.args(["-c", "echo no such library >&2; exit 3"]);
            command
        };
        let error = run_quietly(&mut failing()).unwrap_err();
        assert_eq!(error.to_string(), "sh: no such library");
        assert!(run_quietly(&mut Command::new("no-such-program-here")).is_err());
        assert_eq!(run_quietly(Command::new("echo").arg("a")).unwrap(), "a\n");
    }

    #[test]
    fn a_requirement_without_a_version_is_refused() {
        if on_path("python3").is_ok() {
            let error = python_environment("schemathesis").unwrap_err();
            assert_eq!(error.to_string(), "schemathesis names no version");
        }
    }
}
