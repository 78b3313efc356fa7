//! Where things are, and how to call cargo from within cargo.
//!
//! There are two main workspaces: the root (host and xtask) and `plugins/` (the guests, built for wasm
//! with a profile of their own). All build under one target folder, which `CARGO_TARGET_DIR` or
//! cargo's configuration may move.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;

/// The target triple of every plugin.
pub(crate) const PLUGIN_TARGET: &str = "wasm32-wasip2";

/// What guest-heap links into guests: a workspace of its own, because it is built for wasm without any
/// dependency, and natively only for its tests.
pub(crate) const PROFILER_RUNTIME: &str = "host/guest-heap/runtime";

/// Guests that guest-heap's tests build by themselves, with lints of their own.
pub(crate) const PROFILER_FIXTURES: &str = "host/guest-heap/fixtures";

/// What cargo sets for the program it runs, and what would make a nested cargo or a build script
/// believe that it belongs to the xtask package.
const OF_THE_OUTER_PACKAGE: [&str; 6] = [
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_BIN_",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "OUT_DIR",
];

/// Flags that are meant for the machine's own architecture and break a build for wasm.
const OF_THE_HOST_TARGET: [&str; 3] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"];

/// The checkout and its target folder, both absolute.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the checkout that this xtask was started from.
    ///
    /// # Errors
    /// When cargo cannot read the root manifest.
    pub(crate) fn find() -> Result<Self> {
        // Cargo sets this for `cargo run`; what is compiled in serves a binary that is started by hand.
        let xtask = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = xtask
            .parent()
            .context("the xtask folder has no parent")?
            .to_path_buf();
        // Run in the caller's folder, as a relative CARGO_TARGET_DIR is relative to that.
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .no_deps()
            .exec()
            .context("cargo metadata does not understand the workspace")?;
        Ok(Self {
            root,
            target: metadata.target_directory.into_std_path_buf(),
        })
    }

    /// The root of the checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The target folder, which a setting of the user's may have moved.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The plugins' workspace.
    pub(crate) fn plugins_source(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// Where the shipped components are put for the host to load.
    pub(crate) fn components(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// The target folder of the plugins' workspace, which the host's tests share.
    pub(crate) fn plugins_target(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// The host as `cargo build --release` leaves it.
    pub(crate) fn host_binary(&self) -> PathBuf {
        self.target.join("release").join("leak-host")
    }

    /// For what a measurement needs and leaves behind.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.target.join("tmp")
    }

    /// The commit that is checked out, where Git can say: the host shows it in `leak_build_info`.
    pub(crate) fn revision(&self) -> Option<String> {
        let answer = Command::new("git")
            .args(["rev-parse", "--short=12", "HEAD"])
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let revision = String::from_utf8(answer.stdout).ok()?.trim().to_owned();
        (answer.status.success() && !revision.is_empty()).then_some(revision)
    }

    /// Cargo in the root workspace.
    pub(crate) fn cargo(&self) -> Command {
        nested_cargo(&self.root, &self.target)
    }

    /// Cargo in one of the small workspaces within the checkout, for native builds.
    pub(crate) fn cargo_in(&self, folder: &str) -> Command {
        nested_cargo(&self.root.join(folder), &self.plugins_target())
    }

    /// Cargo in the plugins' workspace, for native builds: its unit tests and lints.
    pub(crate) fn plugins_cargo(&self) -> Command {
        nested_cargo(&self.plugins_source(), &self.plugins_target())
    }

    /// Cargo in the plugins' workspace, for builds that are given `--target wasm32-wasip2`.
    pub(crate) fn plugins_wasm_cargo(&self) -> Command {
        let mut cargo = self.plugins_cargo();
        for name in OF_THE_HOST_TARGET {
            cargo.env_remove(name);
        }
        cargo
    }
}

/// The toolchain is inherited on purpose (`CARGO`, `RUSTUP_TOOLCHAIN`): whoever calls
/// `cargo +nightly xtask` gets nightly all the way down.
fn nested_cargo(folder: &Path, target: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", target);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if OF_THE_OUTER_PACKAGE
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            cargo.env_remove(name.as_ref());
        }
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_cargo_does_not_inherit_the_outer_package() {
        // Cargo sets CARGO_PKG_NAME and CARGO_MANIFEST_DIR for tests as it does for `cargo run`.
        assert!(env::var_os("CARGO_PKG_NAME").is_some());
        let cargo = nested_cargo(Path::new("."), Path::new("/target"));
        let env: Vec<_> = cargo.get_envs().collect();
        let value = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| *value)
        };
        assert_eq!(value("CARGO_PKG_NAME"), Some(None), "removed");
        assert_eq!(value("CARGO_MANIFEST_DIR"), Some(None), "removed");
        assert_eq!(value("CARGO_TARGET_DIR"), Some(Some("/target".as_ref())));
        assert_eq!(value("RUSTUP_TOOLCHAIN"), None, "inherited as it is");
    }
}
