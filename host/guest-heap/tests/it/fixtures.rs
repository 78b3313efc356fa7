//! Builds the guests in `fixtures/`, once in each run.

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
    // What is set for the outer build is not meant for guests.
    for (name, _) in std::env::vars_os() {
        let of_cargo = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_") && name != "CARGO_HOME" && !name.starts_with("CARGO_NET")
                || name.starts_with("RUSTC_")
                || name == "RUSTFLAGS"
        });
        if of_cargo {
            cargo.env_remove(&name);
        }
    }
    let status = cargo.status().expect("cargo starts");
    assert!(
        status.success(),
        "the fixtures do not build; is the target {TARGET} there?"
    );
    target.join(TARGET).join("release")
});

/// The bytes of a Rust guest.
pub(crate) fn rust(name: &str) -> Vec<u8> {
    read(&RUST.join(format!("{name}.wasm")))
}

pub(crate) fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))
}

/// Beside the outer build's own folders, so that a second run builds nothing.
pub(crate) fn target_folder() -> PathBuf {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR"));
    own.parent().unwrap_or(own).join("guest-heap-fixtures")
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
