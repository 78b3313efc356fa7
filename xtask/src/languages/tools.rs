//! The tools of other languages, fetched once by their own package managers.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use xtask_support::tools::{Fetch, obtain, on_path, run_quietly};

const COMPONENTIZE_JS: &str = "0.23.0";
const COMPONENTIZE_PY: &str = "0.25.1";
const WIT_BINDGEN: &str = "0.63.0";

/// The program that joins JavaScript and its engine in a component, by npm.
pub(super) fn componentize_js(fetch: Fetch) -> Result<PathBuf> {
    on_path("node").context("Node.js is missing")?;
    let program = "node_modules/.bin/componentize-js";
    let name = "componentize-js";
    let folder = obtain(fetch, name, COMPONENTIZE_JS, program, |folder| {
        on_path("npm").context("npm is missing")?;
        let package = format!("@bytecodealliance/componentize-js@{COMPONENTIZE_JS}");
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"]);
        run_quietly(npm.arg(folder).arg(package).current_dir(folder))?;
        Ok(())
    })?;
    Ok(folder.join(program))
}

/// The command that joins Python and its interpreter in a component, by pip.
pub(super) fn componentize_py(fetch: Fetch) -> Result<Command> {
    on_path("python3").context("Python 3 is missing")?;
    let (name, module) = ("componentize-py", "componentize_py");
    let folder = obtain(fetch, name, COMPONENTIZE_PY, module, |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--target"]);
        let package = format!("{name}=={COMPONENTIZE_PY}");
        run_quietly(pip.arg(folder).arg(package))
            .context("pip cannot install it; is the Debian package python3-pip installed?")?;
        Ok(())
    })?;
    let mut python = Command::new("python3");
    // The script that pip makes does not find a package that was installed with --target.
    python.env("PYTHONPATH", folder).args([
        "-c",
        "import sys; from componentize_py import script; \
         sys.argv[0] = 'componentize-py'; sys.exit(script())",
    ]);
    Ok(python)
}

/// The generator of bindings, by cargo.
pub(super) fn wit_bindgen(fetch: Fetch) -> Result<PathBuf> {
    let program = "bin/wit-bindgen";
    let folder = obtain(fetch, "wit-bindgen", WIT_BINDGEN, program, |folder| {
        let target = folder.join("target");
        let mut cargo = Command::new("cargo");
        cargo
            .args(["install", "--locked", "--no-default-features"])
            .args(["--features", "c", "--version", WIT_BINDGEN, "--root"])
            .arg(folder)
            .arg("wit-bindgen-cli")
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(folder);
        run_quietly(&mut cargo)?;
        fs::remove_dir_all(target).context("cannot remove the build's own files")
    })?;
    Ok(folder.join(program))
}
