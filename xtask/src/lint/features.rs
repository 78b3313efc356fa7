//! Features of the wasm engine's packages: a build of one crate must use the engine that a build of
//! the whole workspace has compiled, because compiling the engine takes five minutes.
//!
//! Cargo compiles a package once for each set of features. The crate `workspace-hack` asks for the
//! features that a build of the workspace has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::Metadata;

/// The crate that asks for features.
const FEATURES_CRATE: &str = "workspace-hack";

/// The packages of the engine that the workspace uses directly.
const ENGINE: [&str; 3] = ["wasmtime", "wasmtime-wasi", "wasmtime-wasi-http"];

/// The edges to follow. What build scripts and macros need is compiled apart, with other features.
const EDGES: &str = "normal,dev,no-proc-macro";

/// The features of each package, by name and version.
type Features = BTreeMap<String, BTreeSet<String>>;

/// One line for each package of the engine that a build of one member would compile again.
///
/// # Errors
/// When Cargo cannot list the dependencies.
pub(crate) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<String>> {
    let engine = tree(root, "normal,no-proc-macro", &ENGINE)?;
    let members: Vec<_> = metadata
        .workspace_packages()
        .into_iter()
        .map(|package| package.name.as_str())
        .collect();
    let whole = tree(root, EDGES, &members)?;
    let mut broken = Vec::new();
    for member in members {
        let part = tree(root, EDGES, &[FEATURES_CRATE, member])?;
        if ENGINE.iter().any(|name| has_package(&part, name)) {
            broken.extend(differences(member, &part, &whole, &engine));
        }
    }
    Ok(broken)
}

fn has_package(features: &Features, name: &str) -> bool {
    features
        .keys()
        .any(|package| package.split(' ').next() == Some(name))
}

/// The packages of the engine that `part` has with other features than `whole`.
fn differences(member: &str, part: &Features, whole: &Features, engine: &Features) -> Vec<String> {
    let none = BTreeSet::new();
    let of_engine = part
        .iter()
        .filter(|(package, _)| engine.contains_key(*package));
    of_engine
        .flat_map(|(package, sets)| {
            let expected = whole.get(package).unwrap_or(&none);
            sets.difference(expected).map(move |set| {
                let expected: Vec<_> = expected.iter().map(String::as_str).collect();
                format!(
                    "{member}: {package} has the features [{set}] in a build of this crate and \
                     [{}] in a build of the workspace: add what is missing to {FEATURES_CRATE}",
                    expected.join("] or [")
                )
            })
        })
        .collect()
}

/// The dependencies of packages, with their features.
fn tree(root: &Path, edges: &str, packages: &[&str]) -> Result<Features> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["tree", "--prefix", "none", "--edges", edges])
        .args(["--format", "{p}|{f}"])
        .current_dir(root);
    for package in packages {
        cargo.args(["--package", package]);
    }
    let output = cargo.output().context("cannot run cargo tree")?;
    if !output.status.success() {
        bail!(
            "cargo tree failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(parse(&String::from_utf8(output.stdout)?))
}

fn parse(text: &str) -> Features {
    let mut features = Features::new();
    for line in text.lines() {
        if let Some((package, set)) = line.split_once('|') {
            // "NAME VERSION (PATH)": the path is that of a member.
            let package = package.split(" (").next().unwrap_or(package);
            let sets = features.entry(package.trim().to_owned()).or_default();
            // "(*)": the tree of this package is above.
            sets.insert(set.trim_end_matches("(*)").trim().to_owned());
        }
    }
    features
}

#[cfg(test)]
mod tests {
    use super::{differences, parse};

    #[test]
    fn a_package_with_other_features_is_found_if_the_engine_needs_it() {
        let whole = parse("engine v1.0.0|std\ncrc v1.5.0|default,std\nother v1.0.0|std\n");
        let part = parse("engine v1.0.0|std\ncrc v1.5.0|std\nother v1.0.0|\n");
        let engine = parse("engine v1.0.0|std\ncrc v1.5.0|std\n");
        assert_eq!(
            differences("member", &part, &whole, &engine),
            [
                "member: crc v1.5.0 has the features [std] in a build of this crate and \
              [default,std] in a build of the workspace: add what is missing to workspace-hack"
            ]
        );
        assert!(differences("member", &whole, &whole, &engine).is_empty());
    }

    #[test]
    fn paths_and_repeated_trees_are_left_out() {
        let features = parse("lab v0.1.0 (/a/lab)|default (*)\nmacros v1.0.0 (proc-macro)|\n");
        assert!(features["lab v0.1.0"].contains("default"));
        assert!(features.contains_key("macros v1.0.0"));
    }
}
