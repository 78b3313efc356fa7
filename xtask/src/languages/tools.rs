//! The tools of other languages, fetched once by their own package managers into the user's cache folder, under a path
//! that carries the version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::progress;
use crate::stack::tools::{cache, on_path};

const COMPONENTIZE_JS: &str = "0.23.0";
const COMPONENTIZE_PY: &str = "0.25.1";
const WIT_BINDGEN: &str = "0.63.0";

/// What to do about a tool that is not in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetch {
    /// Fetch it: some hundred megabytes for JavaScript's.
    IfMissing,
    /// Do without: for whoever did not ask for it.
    Never,
}

/// The program that puts JavaScript and its engine into a component, by npm.
///
/// # Errors
/// When there is no Node.js or npm, or the package cannot be had.
pub(super) fn componentize_js(fetch: Fetch) -> Result<PathBuf> {
    on_path("node").context("it needs Node.js")?;
    let program = "node_modules/.bin/componentize-js";
    let folder = obtained(
        fetch,
        "componentize-js",
        COMPONENTIZE_JS,
        program,
        |folder| {
            on_path("npm").context("it needs npm")?;
            let package = format!("@bytecodealliance/componentize-js@{COMPONENTIZE_JS}");
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-audit", "--no-fund", "--prefix"]);
            quietly(npm.arg(folder).arg(package).current_dir(folder))
        },
    )?;
    Ok(folder.join(program))
}

/// The command that puts Python and its interpreter into a component, by pip.
///
/// # Errors
/// When there is no Python with pip, or the package cannot be had.
pub(super) fn componentize_py(fetch: Fetch) -> Result<Command> {
    let package = format!("componentize-py=={COMPONENTIZE_PY}");
    let folder = python_package(
        fetch,
        "componentize-py",
        COMPONENTIZE_PY,
        "componentize_py",
        &package,
    )?;
    let mut python = Command::new("python3");
    // Without a folder of its own the script that pip makes would not find the package.
    python.env("PYTHONPATH", folder).args([
        "-c",
        "import sys; from componentize_py import script; sys.argv[0] = 'componentize-py'; sys.exit(script())",
    ]);
    Ok(python)
}

/// The generator of bindings, by cargo.
///
/// # Errors
/// When it cannot be built.
pub(super) fn wit_bindgen(fetch: Fetch) -> Result<PathBuf> {
    let program = "bin/wit-bindgen";
    let folder = obtained(fetch, "wit-bindgen", WIT_BINDGEN, program, |folder| {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["install", "--locked", "--no-default-features"])
            .args(["--features", "c", "--version", WIT_BINDGEN, "--root"])
            .arg(folder)
            .arg("wit-bindgen-cli")
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .current_dir(folder);
        quietly(&mut cargo)?;
        fs::remove_dir_all(folder.join("target")).context("cannot remove the build's own files")
    })?;
    Ok(folder.join(program))
}

fn python_package(
    fetch: Fetch,
    name: &str,
    version: &str,
    module: &str,
    package: &str,
) -> Result<PathBuf> {
    on_path("python3").context("it needs Python 3")?;
    obtained(fetch, name, version, module, |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--target"]);
        quietly(pip.arg(folder).arg(package))
            .context("pip cannot install it; is the Debian package python3-pip there?")
    })
}

/// The folder in the cache that holds `proof` when the tool is there; else it is made by `install`.
fn obtained(
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
        bail!("{name} {version} is not here yet; `cargo xtask languages` fetches it");
    }
    progress::announce(format_args!("fetching {name} {version} (once)"));
    // Beside its place and renamed, so that an interrupted installation leaves nothing behind.
    let work = cache()?.join(format!("fetching-{name}-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let placed = install(&work).and_then(|()| {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(&work, &folder).context("cannot put it into the cache")
    });
    if placed.is_err() {
        // What is half there is of no use to anybody.
        let _left = fs::remove_dir_all(&work);
    }
    placed.with_context(|| format!("{name} {version} cannot be had"))?;
    Ok(folder)
}

/// Runs a step whose output only matters when it fails.
pub(super) fn quietly(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stderr, output.stdout].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(20)
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
    fn a_step_that_fails_says_what_the_program_said() {
        let error = quietly(Command::new("sh").args(["-c", "echo no such library >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "sh: no such library");
        assert!(quietly(&mut Command::new("no-such-program-here")).is_err());
    }
}
