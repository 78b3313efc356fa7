//! The checkout's folders, and how to run cargo from within cargo.
//!
//! There are two main workspaces: the root (host and xtask) and `plugins/` (the guests, built for
//! wasm with their own profile). Both build under one target folder, which `CARGO_TARGET_DIR` or
//! cargo's configuration may move.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;

use crate::layout;

/// The target triple of every plugin.
pub const PLUGIN_TARGET: &str = "wasm32-wasip2";

/// Variables that cargo sets for the program it runs. A nested cargo or a build script must not see
/// them, or it takes itself for a part of the outer package.
const OUTER_PACKAGE_VARIABLES: [&str; 6] = [
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_BIN_",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "OUT_DIR",
];

/// Variables meant for the machine's own architecture; they break a build for wasm.
const NATIVE_BUILD_VARIABLES: [&str; 2] = ["RUSTFLAGS", "CARGO_BUILD_TARGET"];

/// The compiler's flags. Set, and be it to nothing, it is the only source of flags that cargo uses:
/// no other variable and no `[build] rustflags` of a configuration file.
const ENCODED_FLAGS: &str = "CARGO_ENCODED_RUSTFLAGS";

/// Flags that are meant for the plugins. They are separated by spaces.
const PLUGIN_FLAGS: &str = "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS";

/// The checkout and its target folder, both absolute.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the checkout that this program was started from.
    ///
    /// # Errors
    /// When cargo cannot read the root manifest.
    pub fn find() -> Result<Self> {
        // Cargo sets this for `cargo run`. A binary that is started by hand uses the folder that it
        // was compiled in.
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        // In the caller's folder, because a relative CARGO_TARGET_DIR is relative to that.
        let metadata = MetadataCommand::new()
            .manifest_path(package.join("Cargo.toml"))
            .no_deps()
            .exec()
            .context("cargo metadata cannot read the workspace")?;
        Ok(Self {
            root: metadata.workspace_root.into_std_path_buf(),
            target: metadata.target_directory.into_std_path_buf(),
        })
    }

    /// The root of the checkout.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The target folder.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The sources of the plugins.
    #[must_use]
    pub fn plugins_source(&self) -> PathBuf {
        self.root.join(layout::PLUGINS)
    }

    /// The folder of shipped components, from which the host loads them.
    #[must_use]
    pub fn components(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// The target folder of the plugins' workspace, which the host's tests share.
    #[must_use]
    pub fn plugins_target(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// The host that `cargo build --release` makes.
    #[must_use]
    pub fn host_binary(&self) -> PathBuf {
        self.target.join("release").join("leak-host")
    }

    /// A folder for temporary files of tests and benches.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.target.join("tmp")
    }

    /// The abbreviated commit that is checked out, if Git knows it. The host shows it in
    /// `leak_build_info`.
    #[must_use]
    pub fn revision(&self) -> Option<String> {
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
    #[must_use]
    pub fn cargo(&self) -> Command {
        let mut cargo = nested_cargo(&self.target);
        cargo.current_dir(&self.root);
        cargo
    }

    /// Cargo that runs another package of the root workspace in the caller's folder, so that
    /// relative paths among the arguments keep their meaning.
    #[must_use]
    pub fn cargo_run(&self, package: &str) -> Command {
        let mut cargo = nested_cargo(&self.target);
        cargo
            .args(["run", "--quiet", "--package", package, "--manifest-path"])
            .arg(self.root.join("Cargo.toml"));
        cargo
    }

    /// Cargo in one of the small workspaces within the checkout, for native builds.
    #[must_use]
    pub fn cargo_in(&self, folder: &str) -> Command {
        let mut cargo = nested_cargo(&self.plugins_target());
        cargo.current_dir(self.root.join(folder));
        cargo
    }

    /// Cargo in the plugins' workspace, for native builds: unit tests and lints.
    #[must_use]
    pub fn plugins_cargo(&self) -> Command {
        self.cargo_in(layout::PLUGINS)
    }

    /// Cargo in the plugins' workspace, for builds with `--target wasm32-wasip2`.
    #[must_use]
    pub fn plugins_wasm_cargo(&self) -> Command {
        let mut cargo = self.plugins_cargo();
        for name in NATIVE_BUILD_VARIABLES {
            cargo.env_remove(name);
        }
        let flags = env::var(PLUGIN_FLAGS).unwrap_or_default();
        let flags: Vec<&str> = flags.split_whitespace().collect();
        cargo.env(ENCODED_FLAGS, flags.join("\x1f"));
        cargo
    }
}

/// The toolchain is inherited on purpose (`CARGO`, `RUSTUP_TOOLCHAIN`): after `cargo +nightly
/// xtask` every nested build uses nightly.
fn nested_cargo(target: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.env("CARGO_TARGET_DIR", target);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if OUTER_PACKAGE_VARIABLES
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
        let cargo = nested_cargo(Path::new("/target"));
        let env: Vec<_> = cargo.get_envs().collect();
        let value = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| *value)
        };
        assert_eq!(value("CARGO_PKG_NAME"), Some(None), "removed");
        assert_eq!(value("CARGO_MANIFEST_DIR"), Some(None), "removed");
        assert_eq!(value("CARGO_TARGET_DIR"), Some(Some("/target".as_ref())));
        assert_eq!(value("RUSTUP_TOOLCHAIN"), None, "inherited unchanged");
    }

    #[test]
    fn a_build_for_wasm_uses_no_flags_that_are_meant_for_this_machine() {
        let temp = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = temp.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "Cargo.toml",
            "[package]\nname = \"flags\"\nedition = \"2024\"\n[lib]\n[workspace]\n",
        );
        write(
            "src/lib.rs",
            "#[cfg(native_only)]\ncompile_error!(\"flags\");\n",
        );
        write(
            ".cargo/config.toml",
            "[build]\nrustflags = [\"--cfg=native_only\"]\n",
        );
        let workspace = Workspace::find().unwrap();
        let build = |mut cargo: Command| {
            cargo
                .args(["check", "--quiet", "--offline"])
                .current_dir(temp.path())
                .env("CARGO_TARGET_DIR", temp.path().join("target"))
                .env("CARGO_BUILD_RUSTFLAGS", "--cfg=native_only")
                .stderr(Stdio::null());
            cargo.status().unwrap().success()
        };
        assert!(!build(nested_cargo(temp.path())), "the flags break a build");
        assert!(build(workspace.plugins_wasm_cargo()));
    }

    #[test]
    fn the_root_is_found_from_a_member_and_has_every_folder() {
        let workspace = Workspace::find().unwrap();
        for path in [
            layout::PLUGINS,
            layout::WIT,
            layout::PROFILER_RUNTIME,
            layout::PROFILER_FIXTURES,
            layout::COMMAND_FIXTURES,
            layout::CONSOLE_SCRIPT,
            layout::PICTURES,
            layout::COMPOSE,
            layout::K6_SCRIPTS,
            layout::DASHBOARD,
            layout::DASHBOARD_READER,
        ] {
            assert!(workspace.root().join(path).exists(), "{path}");
        }
    }
}
