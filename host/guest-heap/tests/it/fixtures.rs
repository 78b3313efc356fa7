//! Builds the guests in `fixtures/`, once per test run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

const TARGET: &str = "wasm32-wasip2";

static RUST: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = target_folder();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            TARGET,
            "--target-dir",
        ])
        .arg(&target)
        .arg("--manifest-path")
        .arg(folder().join("Cargo.toml"));
    // The settings of the outer build are not meant for guests.
    for (name, _) in std::env::vars_os() {
        let is_build_setting = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_") && name != "CARGO_HOME" && !name.starts_with("CARGO_NET")
                || name.starts_with("RUSTC_")
                || name == "RUSTFLAGS"
        });
        if is_build_setting {
            cargo.env_remove(&name);
        }
    }
    let status = cargo.status().expect("cargo starts");
    assert!(
        status.success(),
        "the fixtures do not build; is the target {TARGET} installed?"
    );
    target.join(TARGET).join("release")
});

/// The bytes of a Rust guest. `name` is the name of its crate, with underscores.
pub(crate) fn rust(name: &str) -> Vec<u8> {
    read(&RUST.join(format!("{name}.wasm")))
}

pub(crate) fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))
}

/// A folder next to those of the outer build, so that a second run builds nothing.
pub(crate) fn target_folder() -> PathBuf {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR"));
    own.parent().unwrap_or(own).join("guest-heap-fixtures")
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
