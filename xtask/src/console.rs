//! `cargo xtask test-console`: a real Chromium drives the console as a person would.
//!
//! Playwright and axe-core come from npm into the target folder, once; Chromium and Node.js have to be on the machine. What
//! is missing is said, with the command that brings it. `--pictures` remakes the README's pictures instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::host_process::{self, HostProcess, is_healthy};
use crate::plugins::{self, Members};
use crate::progress;
use crate::stack::on_path;
use crate::toolchain;
use crate::workspace::Workspace;

/// What drives the browser, and what looks for barriers, with their versions.
const PACKAGES: [(&str, &str); 2] = [("playwright-core", "1.65.1"), ("axe-core", "4.14.1")];

/// The names that Chromium goes by.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
];

/// The token of the host that asks for one. It is no secret.
const TOKEN: &str = "only-for-the-test";

/// A start that takes longer than this has failed.
const STARTS_WITHIN: Duration = Duration::from_secs(120);

/// Arguments of `cargo xtask test-console`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remake docs/images/console-*.png from a run, instead of testing.
    #[arg(long)]
    pictures: bool,
    /// Keep a screenshot of each view, light and dark, narrow and wide, in this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "pictures")]
    shots: Option<PathBuf>,
    /// Succeed, with `1 skipped`, where the machine has no Chromium, Node.js or npm.
    #[arg(long)]
    skip_if_missing: bool,
}

/// What has to be there.
struct Tools {
    chromium: PathBuf,
    node: PathBuf,
    packages: PathBuf,
}

/// Entry of the subcommand.
///
/// # Errors
/// When something is missing, does not build or does not start. A scene that fails is no error but exit code 1.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let tools = match Tools::find(workspace) {
        Ok(tools) => tools,
        Err(why) if args.skip_if_missing => {
            println!("skipped the console's test in a browser: {why:#}");
            println!("1 skipped");
            return Ok(ExitCode::SUCCESS);
        }
        Err(why) => return Err(why),
    };
    toolchain::ensure_wasm_targets(workspace)?;
    plugins::build(workspace, Members::Shipped)?;
    host_process::build(workspace)?;
    progress::announce("the console in Chromium");
    let (lab, base) = start(workspace, &["--memory-limit", "256MiB"])?;
    let (guarded, guarded_base) = match start(workspace, &["--admin-token", TOKEN]) {
        Ok(started) => started,
        Err(why) => {
            lab.signal(Signal::TERM);
            return Err(why);
        }
    };
    let driven = tools.drive(workspace, args, &base, &guarded_base);
    for host in [lab, guarded] {
        host.signal(Signal::TERM);
        host.wait()?;
    }
    Ok(if driven? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Tools {
    fn find(workspace: &Workspace) -> Result<Self> {
        let chromium = BROWSERS
            .iter()
            .find_map(|name| on_path(name).ok())
            .context("there is no Chromium on PATH: apt-get install chromium")?;
        let node = on_path("node").context("Node.js drives it: apt-get install nodejs npm")?;
        let npm = on_path("npm").context("npm brings Playwright: apt-get install npm")?;
        let packages = workspace.target().join("console-tools");
        install(&npm, &packages)?;
        Ok(Tools {
            chromium,
            node,
            packages,
        })
    }

    fn drive(&self, workspace: &Workspace, args: &Args, base: &str, guarded: &str) -> Result<bool> {
        let mut node = Command::new(&self.node);
        node.arg(workspace.root().join("xtask/console/main.mjs"));
        node.arg("--tools").arg(&self.packages);
        node.arg("--chromium").arg(&self.chromium);
        node.args(["--base", base, "--guarded", guarded, "--token", TOKEN]);
        if args.pictures {
            node.arg("--pictures")
                .arg(workspace.root().join("docs/images"));
        }
        if let Some(folder) = &args.shots {
            fs::create_dir_all(folder).context("cannot make the folder for screenshots")?;
            node.arg("--shots").arg(folder);
        }
        let status = node.status().context("cannot start Node.js")?;
        Ok(status.success())
    }
}

/// Brings the packages, unless they are there in these versions.
fn install(npm: &Path, folder: &Path) -> Result<()> {
    let wanted = PACKAGES.map(|(name, version)| format!("{name}@{version}"));
    if PACKAGES
        .iter()
        .all(|(name, version)| has(folder, name, version))
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
    .args(&wanted);
    progress::must_succeed("fetching Playwright and axe-core from npm", &mut npm)
}

fn has(folder: &Path, name: &str, version: &str) -> bool {
    let manifest = folder.join("node_modules").join(name).join("package.json");
    let Ok(text) = fs::read_to_string(manifest) else {
        return false;
    };
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    manifest.get("version").and_then(|v| v.as_str()) == Some(version)
}

/// Starts a host on a free port, with the shipped plugins and their sources.
fn start(workspace: &Workspace, more: &[&str]) -> Result<(HostProcess, String)> {
    let (components, sources) = (workspace.components(), workspace.root());
    let mut args: Vec<String> = ["--listen", "127.0.0.1:0", "--log", "warn"]
        .map(str::to_owned)
        .into();
    for (option, folder) in [
        ("--plugins", components.as_path()),
        ("--source-root", sources),
    ] {
        args.push(option.to_owned());
        args.push(folder.to_string_lossy().into_owned());
    }
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    let mut host = HostProcess::start(workspace, &args, false)?;
    let started = Instant::now();
    let mut address = None;
    while started.elapsed() < STARTS_WITHIN {
        address = address.or_else(|| host.address());
        if let Some(base) = address.as_ref().filter(|base| is_healthy(base)) {
            return Ok((host, base.clone()));
        }
        if let Some(status) = host.exited()? {
            bail!("the host ended before it was healthy: {status}");
        }
        sleep(Duration::from_millis(20));
    }
    host.signal(Signal::KILL);
    bail!(
        "the host was not healthy within {} s",
        STARTS_WITHIN.as_secs()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_counts_as_there_in_its_version_only() {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("node_modules/axe-core");
        fs::create_dir_all(&package).unwrap();
        fs::write(package.join("package.json"), r#"{"version": "4.14.1"}"#).unwrap();
        assert!(has(folder.path(), "axe-core", "4.14.1"));
        assert!(!has(folder.path(), "axe-core", "4.14.2"));
        assert!(!has(folder.path(), "playwright-core", "1.65.1"));
    }
}
