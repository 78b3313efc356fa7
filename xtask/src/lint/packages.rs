//! Crates that can be published: each package contains its sources and needs published crates only.
//!
//! Cargo leaves a folder with a manifest of its own out of the package around it, and the result
//! builds in the checkout all the same. So the files are compared with what Git tracks.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use cargo_metadata::{DependencyKind, Metadata, Package};

/// Folders of a crate that its package may leave out.
const ONLY_FOR_DEVELOPMENT: [&str; 4] = ["benches/", "examples/", "fixtures/", "tests/"];

/// The crates that can be published.
pub(crate) fn publishable(metadata: &Metadata) -> Vec<&Package> {
    let members = metadata.workspace_packages();
    let is_publishable = |package: &&Package| package.publish.is_none();
    members.into_iter().filter(is_publishable).collect()
}

/// One line for each dependency that cannot be published.
pub(crate) fn unpublished_dependencies(metadata: &Metadata) -> Vec<String> {
    let crates = publishable(metadata);
    let names: BTreeSet<_> = crates.iter().map(|package| package.name.as_str()).collect();
    let mut broken = Vec::new();
    for package in &crates {
        let needed = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development);
        for dependency in needed.filter(|dependency| dependency.path.is_some()) {
            let (from, to) = (&package.name, &dependency.name);
            if !names.contains(to.as_str()) {
                broken.push(format!("{from} needs {to}, which has `publish = false`"));
            } else if dependency.req.comparators.is_empty() {
                broken.push(format!("{from} needs {to}: add its version"));
            }
        }
    }
    broken
}

/// One line for each source file that is not in the package of its crate.
///
/// # Errors
/// When Cargo or Git cannot list the files.
pub(crate) fn missing_files(root: &Path, package: &Package) -> Result<Vec<String>> {
    let Some(folder) = package.manifest_path.parent() else {
        bail!("{} has no folder", package.manifest_path);
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "package",
        "--list",
        "--allow-dirty",
        "--offline",
        "--package",
    ]);
    let packaged = list(cargo.arg(package.name.as_str()).current_dir(root))?;
    let tracked = list(Command::new("git").arg("ls-files").current_dir(folder))?;
    let is_missing = |file: &&String| is_source(file) && !packaged.contains(file.as_str());
    let missing = tracked.iter().filter(is_missing);
    Ok(missing
        .map(|file| format!("{folder}/{file} is not in the package of {}", package.name))
        .collect())
}

/// Whether a build of the package reads the file. The path is relative to the crate.
fn is_source(file: &str) -> bool {
    let below_src = file.starts_with("src/") || file.contains("/src/");
    let is_development = |folder: &&str| file.starts_with(*folder);
    (below_src || file == "build.rs") && !ONLY_FOR_DEVELOPMENT.iter().any(is_development)
}

fn list(command: &mut Command) -> Result<BTreeSet<String>> {
    let output = command.output()?;
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_what_a_build_reads() {
        for (file, expected) in [
            ("build.rs", true),
            ("src/lib.rs", true),
            ("src/assets/page.css", true),
            ("runtime/src/lib.rs", true),
            ("runtime/tests/live.rs", false),
            ("fixtures/lines/src/lib.rs", false),
            ("tests/it/main.rs", false),
            ("clippy.toml", false),
        ] {
            assert_eq!(is_source(file), expected, "{file}");
        }
    }
}
