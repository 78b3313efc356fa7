//! C: bindings from the contract, clang with wasi-libc, and the linker for components that comes with Rust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Missing;
use super::tools::{self, Fetch};

/// A library without a `main`, with names and line tables.
const FLAGS: [&str; 4] = [
    "--target=wasm32-wasi",
    "-mexec-model=reactor",
    "-O2",
    "-gline-tables-only",
];

pub(super) fn build(
    fetch: Fetch,
    source: &Path,
    wit: &Path,
    scratch: &Path,
    component: &Path,
) -> Result<(), Missing> {
    check_compiler(scratch).map_err(Missing::Tools)?;
    let linker = component_linker(source).map_err(Missing::Tools)?;
    let generator = tools::wit_bindgen(fetch).map_err(Missing::Tools)?;
    let bindings = scratch.join("leak-plugin-c");
    let built = || -> Result<()> {
        fs::create_dir_all(&bindings)?;
        tools::quietly(
            Command::new(generator)
                .args(["c", "--world", "leak-plugin", "--out-dir"])
                .arg(&bindings)
                .arg(wit),
        )?;
        let mut fuse_ld = std::ffi::OsString::from("-fuse-ld=");
        fuse_ld.push(&linker);
        // From its own folder, so that line tables say `plugin.c`.
        tools::quietly(
            Command::new("clang")
                .current_dir(source)
                .args(FLAGS)
                .args(["-Wall", "-Wextra"])
                .arg(fuse_ld)
                .arg("-I")
                .arg(&bindings)
                .arg("plugin.c")
                .arg(bindings.join("leak_plugin.c"))
                .arg(bindings.join("leak_plugin_component_type.o"))
                .arg("-o")
                .arg(component),
        )
    };
    built().map_err(Missing::Build)
}

/// Whether clang compiles a program for wasm that needs the C library.
fn check_compiler(scratch: &Path) -> Result<()> {
    let program = scratch.join("try.c");
    fs::write(
        &program,
        "#include <stdlib.h>\nvoid *f(void) { return malloc(1); }\n",
    )
    .context("cannot write a program to try the compiler on")?;
    let mut clang = Command::new("clang");
    clang
        .args(FLAGS)
        .arg(&program)
        .arg("-o")
        .arg(scratch.join("try.wasm"));
    tools::quietly(&mut clang).context(
        "it needs clang with a C library for wasm (Debian: clang lld wasi-libc libclang-rt-dev-wasm32)",
    )
}

/// The linker that rustc itself makes components with.
fn component_linker(folder: &Path) -> Result<PathBuf> {
    let rustc = |arguments: &[&str]| -> Result<String> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(rustc)
            .args(arguments)
            .current_dir(folder)
            .output()
            .context("cannot start rustc")?;
        ensure!(output.status.success(), "rustc {arguments:?} failed");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let libraries = rustc(&["--print", "target-libdir"])?;
    // Beside the libraries of the machine's own target.
    let linker = Path::new(&libraries)
        .parent()
        .context("rustc has no folder of libraries")?
        .join("bin")
        .join("wasm-component-ld");
    ensure!(
        linker.is_file(),
        "this Rust has no linker for components: {} is not there",
        linker.display()
    );
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_brings_the_linker() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(component_linker(here).unwrap().is_file());
    }
}
