//! The plugins and the fixtures as components, built from source once per test run.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use cargo_metadata::Message;

/// The three leaks of the lab, in the order in which `/api/data` runs them.
pub(crate) const LAB: [&str; 3] = ["cache", "history", "listeners"];

/// The component of a crate of the plugins' workspace.
pub(crate) fn component(name: &str) -> &'static Path {
    let built = built();
    built
        .get(name)
        .unwrap_or_else(|| panic!("no component {name} among {:?}", built.keys()))
}

/// Every plugin that the lab ships, in the order of their ids: what lies in `plugins/` and in
/// `plugins/patterns/` and becomes a component, except the template.
pub(crate) fn shipped() -> Vec<String> {
    let source = source();
    let folders = [source.clone(), source.join("patterns")];
    let mut names: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "template" && built().contains_key(name))
        .collect();
    names.sort();
    names
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins")
}

fn built() -> &'static BTreeMap<String, PathBuf> {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build)
}

/// The bytes of a component that says it is another plugin: every mention of its name is exchanged for one of the same
/// length, so that nothing in the file moves.
pub(crate) fn renamed(name: &str, to: &str) -> Vec<u8> {
    assert_eq!(name.len(), to.len(), "nothing may move");
    let mut bytes = std::fs::read(component(name)).unwrap();
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(name.len())
        .position(|window| window == name.as_bytes())
    {
        at += found;
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        at += to.len();
    }
    bytes
}

/// `cargo xtask test` has built them already, into the same folder; then this only finds them.
fn build() -> BTreeMap<String, PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../guests");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    cargo
        .args([
            "build",
            "--release",
            "--workspace",
            "--target",
            "wasm32-wasip2",
        ])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(source())
        .stdout(Stdio::piped());
    // Cargo's own variables for this test, and flags for this machine's architecture.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_") || name == "RUSTFLAGS" {
            cargo.env_remove(name);
        }
    }
    for kept in ["CARGO_HOME", "CARGO_NET_OFFLINE"] {
        if let Some(value) = env::var_os(kept) {
            cargo.env(kept, value);
        }
    }
    cargo.env("CARGO_TARGET_DIR", target);

    let mut child = cargo.spawn().expect("cargo starts");
    let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut built = BTreeMap::new();
    for message in Message::parse_stream(stdout) {
        let Message::CompilerArtifact(artifact) = message.expect("cargo speaks JSON") else {
            continue;
        };
        for file in artifact.filenames {
            if file.extension() == Some("wasm") {
                let name = file.file_stem().unwrap().replace('_', "-");
                built.insert(name, file.into_std_path_buf());
            }
        }
    }
    assert!(child.wait().unwrap().success(), "the plugins build");
    built
}
