//! What draws the pictures: Node.js, Chromium, and the page with Grafana's components. The page is
//! built once into the user's cache folder. Its half gigabyte of packages is removed again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask_support::layout::DASHBOARD_PICTURES;
use xtask_support::tools::{Fetch, chromium, obtain, on_path, run_quietly};
use xtask_support::workspace::Workspace;

use crate::tools::hash;

/// The files that the page is built from, with the folder `src`.
const FILES: [&str; 5] = [
    ".npmrc",
    "index.html",
    "package-lock.json",
    "package.json",
    "vite.config.js",
];

const SOURCES: &str = "src";

/// The page, in the folder that npm fills.
const PAGE: &str = "dist";

pub(super) struct Tools {
    pub(super) node: PathBuf,
    pub(super) chromium: PathBuf,
    /// The folder of the page. Next to it are the packages that drive the browser.
    pub(super) page: PathBuf,
}

impl Tools {
    /// # Errors
    /// When something is missing, with the command that installs it, or the page cannot be built.
    pub(super) fn find(workspace: &Workspace) -> Result<Self> {
        let chromium = chromium()?;
        let node = on_path("node").context("Node.js is missing: apt-get install nodejs npm")?;
        let npm = on_path("npm").context("npm is missing: apt-get install npm")?;
        let from = workspace.root().join(DASHBOARD_PICTURES);
        let files = files(&from)?;
        let version = version(&files);
        let proof = format!("{PAGE}/index.html");
        let install = |folder: &Path| build(&npm, &files, folder);
        let folder = obtain(
            Fetch::IfMissing,
            "dashboard-pictures",
            &version,
            &proof,
            install,
        )?;
        Ok(Self {
            node,
            chromium,
            page: folder.join(PAGE),
        })
    }
}

/// The files with their contents. Names are relative to the folder.
fn files(from: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut names: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
    let sources = from.join(SOURCES);
    for entry in
        fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))?
    {
        names.push(Path::new(SOURCES).join(entry?.file_name()));
    }
    names.sort();
    let read = |name: PathBuf| {
        let file = from.join(&name);
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok((name, text))
    };
    names.into_iter().map(read).collect()
}

/// A page from other files is another version.
fn version(files: &[(PathBuf, Vec<u8>)]) -> String {
    let text: Vec<u8> = files
        .iter()
        .flat_map(|(name, text)| [name.as_os_str().as_encoded_bytes(), text].concat())
        .collect();
    format!("{:08x}", hash(&text))
}

fn build(npm: &Path, files: &[(PathBuf, Vec<u8>)], folder: &Path) -> Result<()> {
    fs::create_dir(folder.join(SOURCES))?;
    for (name, text) in files {
        fs::write(folder.join(name), text)?;
    }
    for args in [
        &["ci", "--no-audit", "--no-fund"][..],
        &["run", "build"],
        &["prune", "--omit=dev", "--no-audit", "--no-fund"],
    ] {
        let mut npm = Command::new(npm);
        // Warnings about the packages would hide why a command fails.
        npm.arg("--loglevel=error").args(args).current_dir(folder);
        run_quietly(&mut npm)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_part_of_the_version() {
        let workspace = Workspace::find().unwrap();
        let all = files(&workspace.root().join(DASHBOARD_PICTURES)).unwrap();
        assert!(
            all.iter()
                .any(|(name, _)| name == Path::new("src/main.jsx"))
        );
        let whole = version(&all);
        for index in 0..all.len() {
            let mut changed = all.clone();
            changed[index].1.push(b' ');
            assert_ne!(version(&changed), whole, "{:?}", all[index].0);
        }
    }

    #[test]
    fn the_lock_file_names_no_host() {
        let workspace = Workspace::find().unwrap();
        let file = workspace.root().join(DASHBOARD_PICTURES);
        let lock = fs::read_to_string(file.join("package-lock.json")).unwrap();
        assert!(lock.contains("\"integrity\""));
        assert!(!lock.contains("\"resolved\""));
    }
}
