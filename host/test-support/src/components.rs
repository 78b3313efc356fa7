//! The plugins and the fixtures as components, built from source once per test process.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use cargo_metadata::Message;

/// The three leaks of the exercises, in the order in which `/api/data` runs them.
pub const LAB: [&str; 3] = ["cache", "history", "listeners"];

/// The component of a crate in the workspace `plugins/`.
///
/// # Panics
///
/// If the workspace has no component of this name, or does not build.
pub fn component(name: &str) -> &'static Path {
    let built = built();
    built
        .get(name)
        .unwrap_or_else(|| panic!("no component {name} among {:?}", built.keys()))
}

/// The ids of the plugins that the lab ships, sorted: every component in `plugins/` and
/// `plugins/patterns/` except the template.
pub fn shipped() -> Vec<String> {
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

/// The bytes of a component that gives itself another name.
///
/// Every mention of the name is replaced by one of the same length, so that no offset in the file
/// changes.
///
/// # Panics
///
/// If the names differ in length.
pub fn renamed(name: &str, to: &str) -> Vec<u8> {
    assert_eq!(name.len(), to.len(), "both names have the same length");
    let mut bytes = fs::read(component(name)).unwrap();
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

/// The folder of compiled components that all tests share. It is separate from the user's own
/// cache.
pub(crate) fn compiled_folder() -> PathBuf {
    target().join("tmp/cache/leak-lab/compiled")
}

/// Cargo's target folder: the test binary is in `TARGET/PROFILE/deps/`.
fn target() -> PathBuf {
    let binary = env::current_exe().unwrap();
    binary.ancestors().nth(3).unwrap().to_owned()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins")
}

fn built() -> &'static BTreeMap<String, PathBuf> {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build)
}

/// Builds the workspace `plugins/`. `cargo xtask test` has already built it into the same folder;
/// then this only reads the file names.
fn build() -> BTreeMap<String, PathBuf> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    cargo
        .args(["build", "--release", "--workspace"])
        .args(["--target", "wasm32-wasip2"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(source())
        .stdout(Stdio::piped());
    // Cargo's variables for this test, and flags for this machine's architecture, do not apply to
    // the guests.
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
    cargo.env("CARGO_TARGET_DIR", target().join("guests"));

    let mut child = cargo.spawn().expect("cargo starts");
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut built = BTreeMap::new();
    for message in Message::parse_stream(stdout) {
        let Message::CompilerArtifact(artifact) = message.expect("cargo prints JSON") else {
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
