//! The compilers: where they come from and how they are called.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xtask_support::tools::{self, Fetch};

/// Lines that are quoted of a compiler that fails.
const MAX_QUOTED_LINES: usize = 6;

/// Runs a compiler quietly.
///
/// # Errors
/// When it cannot be started or fails; with the end of its messages.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let first = lines.len().saturating_sub(MAX_QUOTED_LINES);
    bail!(
        "{} failed: {}",
        command.get_program().to_string_lossy(),
        lines.get(first..).unwrap_or_default().join(" | ")
    )
}

/// A Python environment with one package of PyPI.
///
/// # Errors
/// When Python or the package is not available.
pub(crate) fn python_package(fetch: Fetch, package: &str, version: &str) -> Result<PathBuf> {
    let python = tools::on_path("python3")?;
    let folder = tools::obtain(fetch, package, version, "ready", |folder| {
        run(Command::new(&python).args(["-m", "venv"]).arg(folder))?;
        let pip = folder.join("bin/python");
        let requirement = format!("{package}=={version}");
        run(Command::new(pip).args(["-m", "pip", "install", "--quiet", &requirement]))?;
        Ok(fs::write(folder.join("ready"), "")?)
    })?;
    // A virtual environment does not survive a move, but its packages do.
    let lib = folder.join("lib");
    let python_folder = fs::read_dir(&lib)
        .with_context(|| format!("cannot read {}", lib.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("site-packages"))
        .find(|folder| folder.is_dir());
    python_folder.with_context(|| format!("{package} is not complete"))
}

/// A folder with packages of npm.
///
/// # Errors
/// When npm or the packages are not available.
pub(crate) fn npm_package(fetch: Fetch, package: &str, version: &str) -> Result<PathBuf> {
    let npm = tools::on_path("npm")?;
    // A scope is no part of a folder's name.
    let name = package.rsplit('/').next().unwrap_or(package);
    tools::obtain(fetch, name, version, "node_modules", |folder| {
        fs::write(folder.join("package.json"), "{\"private\": true}")?;
        let requirement = format!("{package}@{version}");
        run(Command::new(npm)
            .args([
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                &requirement,
            ])
            .current_dir(folder))
    })
}

/// The arguments that make a library for WASI preview 1.
pub(crate) const WASI_LIBRARY: [&str; 2] = ["--target=wasm32-wasi", "-mexec-model=reactor"];

/// Zig as a package of PyPI.
#[derive(Debug, Clone)]
pub(crate) struct Zig {
    packages: PathBuf,
}

impl Zig {
    /// # Errors
    /// When the package is not available.
    pub(crate) fn obtain(fetch: Fetch, version: &str) -> Result<Self> {
        let packages = python_package(fetch, "ziglang", version)?;
        Ok(Self { packages })
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("python3");
        command
            .args(["-m", "ziglang"])
            .env("PYTHONPATH", &self.packages);
        command
    }
}

/// binaryen's optimiser.
///
/// # Errors
/// When it fails.
pub(crate) fn wasm_opt(folder: &Path, arguments: &[&str], module: &Path, out: &Path) -> Result<()> {
    run(Command::new(folder.join("node_modules/.bin/wasm-opt"))
        .arg("--all-features")
        .args(arguments)
        .arg(module)
        .arg("-o")
        .arg(out))
}
