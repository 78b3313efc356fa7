//! `cargo xtask test-console`: a real Chromium drives the console as a person would.
//!
//! Playwright and axe-core come from npm into the target folder, once. Chromium and Node.js must be
//! installed; an error names the command that installs them. `--pictures` remakes the README's
//! pictures instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use xtask_support::components::{self, Members};
use xtask_support::host_process::{self, HostProcess, Output};
use xtask_support::layout::{CONSOLE_SCRIPT, PICTURES};
use xtask_support::tools::{chromium, on_path};
use xtask_support::workspace::Workspace;
use xtask_support::{report, toolchain};

/// The driver of the browser, and the accessibility checker, with their versions.
const PACKAGES: [(&str, &str); 2] = [("playwright-core", "1.65.1"), ("axe-core", "4.14.1")];

/// The token of the host that asks for one. It is no secret.
const TOKEN: &str = "only-for-the-test";

const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Arguments of `cargo xtask test-console`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remake docs/images/console-*.png from a run, instead of testing.
    #[arg(long)]
    pictures: bool,
    /// Keep a screenshot of each view, light and dark, narrow and wide, in this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "pictures")]
    shots: Option<PathBuf>,
    /// Take pictures of a host that is idle, leaks, dies and starts again in this folder, at 390,
    /// 1024 and 1440 px, light and dark, instead of testing. Takes about three minutes.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["pictures", "shots"])]
    states: Option<PathBuf>,
    /// Succeed, with `1 skipped`, where the machine has no Chromium, Node.js or npm.
    #[arg(long)]
    skip_if_missing: bool,
}

/// # Errors
/// When something is missing, does not build or does not start. A failing test is not an error but
/// exit code 1.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let tools = match Tools::find(workspace) {
        Ok(tools) => tools,
        Err(reason) if args.skip_if_missing => {
            println!("skipped the console's test in a browser: {reason:#}");
            println!("1 skipped");
            return Ok(ExitCode::SUCCESS);
        }
        Err(reason) => return Err(reason),
    };
    toolchain::ensure_wasm_targets(workspace)?;
    components::build(workspace, Members::Shipped)?;
    host_process::build(workspace)?;
    report::announce("the console in Chromium");
    let (open, open_base) = start(workspace, &["--memory-limit", "256MiB"])?;
    let (guarded, guarded_base) = start(workspace, &["--admin-token", TOKEN])?;
    let passed = tools.drive(workspace, args, &open_base, &guarded_base)?;
    for host in [open, guarded] {
        host.signal(rustix::process::Signal::TERM);
        host.wait()?;
    }
    Ok(ExitCode::from(u8::from(!passed)))
}

struct Tools {
    chromium: PathBuf,
    node: PathBuf,
    packages: PathBuf,
}

impl Tools {
    fn find(workspace: &Workspace) -> Result<Self> {
        let chromium = chromium()?;
        let node = on_path("node").context("Node.js is missing: apt-get install nodejs npm")?;
        let npm = on_path("npm").context("npm is missing: apt-get install npm")?;
        let packages = workspace.target().join("console-tools");
        install(&npm, &packages)?;
        Ok(Tools {
            chromium,
            node,
            packages,
        })
    }

    /// Runs the script against both hosts. True when every test passes.
    fn drive(&self, workspace: &Workspace, args: &Args, base: &str, guarded: &str) -> Result<bool> {
        let mut node = Command::new(&self.node);
        node.arg(workspace.root().join(CONSOLE_SCRIPT));
        node.arg("--tools").arg(&self.packages);
        node.arg("--chromium").arg(&self.chromium);
        node.args(["--base", base, "--guarded", guarded, "--token", TOKEN]);
        if args.pictures {
            node.arg("--pictures").arg(workspace.root().join(PICTURES));
        }
        if let Some(folder) = &args.shots {
            fs::create_dir_all(folder).context("cannot make the folder for screenshots")?;
            node.arg("--shots").arg(folder);
        }
        if let Some(folder) = &args.states {
            fs::create_dir_all(folder).context("cannot make the folder for pictures")?;
            node.arg("--states").arg(folder);
            node.arg("--host").arg(workspace.host_binary());
            node.arg("--plugins").arg(workspace.components());
            node.arg("--root").arg(workspace.root());
        }
        let status = node.status().context("cannot start Node.js")?;
        Ok(status.success())
    }
}

/// Installs the packages, unless they are there in these versions.
fn install(npm: &Path, folder: &Path) -> Result<()> {
    if PACKAGES
        .iter()
        .all(|(name, version)| is_installed(folder, name, version))
    {
        return Ok(());
    }
    fs::create_dir_all(folder).context("cannot make the folder for the browser's driver")?;
    let mut npm = Command::new(npm);
    npm.args([
        "install",
        "--no-audit",
        "--no-fund",
        "--no-save",
        "--prefix",
    ])
    .arg(folder)
    .args(PACKAGES.map(|(name, version)| format!("{name}@{version}")));
    report::must_succeed("fetching Playwright and axe-core from npm", &mut npm)
}

fn is_installed(folder: &Path, name: &str, version: &str) -> bool {
    let manifest = folder.join("node_modules").join(name).join("package.json");
    let Ok(text) = fs::read_to_string(manifest) else {
        return false;
    };
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    manifest.get("version").and_then(|v| v.as_str()) == Some(version)
}

/// Starts a host with the shipped plugins and their sources.
fn start(workspace: &Workspace, more: &[&str]) -> Result<(HostProcess, String)> {
    let mut command = host_process::command(workspace);
    host_process::on_free_port(&mut command, &workspace.components())
        .args(["--log", "warn", "--source-root"])
        .arg(workspace.root())
        .args(more);
    let mut host = HostProcess::start(&mut command, Output::Hidden)?;
    let base = host.wait_until_healthy(START_TIMEOUT)?;
    Ok((host, base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_installed_only_in_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("node_modules/axe-core");
        fs::create_dir_all(&package).unwrap();
        fs::write(package.join("package.json"), r#"{"version": "4.14.1"}"#).unwrap();
        assert!(is_installed(folder.path(), "axe-core", "4.14.1"));
        assert!(!is_installed(folder.path(), "axe-core", "4.14.2"));
        assert!(!is_installed(folder.path(), "playwright-core", "1.65.1"));
    }
}
