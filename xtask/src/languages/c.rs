//! C: bindings from the contract, clang with wasi-libc, and the component linker of the Rust
//! toolchain.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask_support::toolchain::rustc;
use xtask_support::tools::{Fetch, run_quietly};

use super::BuildError;
use super::tools;

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
) -> Result<(), BuildError> {
    check_compiler(scratch).map_err(BuildError::Tools)?;
    let linker = component_linker(source).map_err(BuildError::Tools)?;
    let generator = tools::wit_bindgen(fetch).map_err(BuildError::Tools)?;
    compile(source, wit, scratch, component, &generator, &linker).map_err(BuildError::Build)
}

fn compile(
    source: &Path,
    wit: &Path,
    scratch: &Path,
    component: &Path,
    generator: &Path,
    linker: &Path,
) -> Result<()> {
    let bindings = scratch.join("leak-plugin-c");
    fs::create_dir_all(&bindings)?;
    run_quietly(
        Command::new(generator)
            .args(["c", "--world", "leak-plugin", "--out-dir"])
            .arg(&bindings)
            .arg(wit),
    )?;
    let mut use_linker = OsString::from("-fuse-ld=");
    use_linker.push(linker);
    // In the plugin's folder, so that line tables say `plugin.c`.
    run_quietly(
        Command::new("clang")
            .current_dir(source)
            .args(FLAGS)
            .args(["-Wall", "-Wextra"])
            .arg(use_linker)
            .arg("-I")
            .arg(&bindings)
            .arg("plugin.c")
            .arg(bindings.join("leak_plugin.c"))
            .arg(bindings.join("leak_plugin_component_type.o"))
            .arg("-o")
            .arg(component),
    )?;
    Ok(())
}

/// Compiles a program for wasm that needs the C library.
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
    run_quietly(&mut clang).context(
        "clang with a C library for wasm is missing \
         (Debian: clang lld wasi-libc libclang-rt-dev-wasm32)",
    )?;
    Ok(())
}

/// The linker with which rustc makes components, next to the libraries of the machine's own target.
fn component_linker(folder: &Path) -> Result<PathBuf> {
    let libraries = rustc(folder, &["--print", "target-libdir"])?;
    let linker = Path::new(&libraries)
        .parent()
        .context("rustc has no folder of libraries")?
        .join("bin")
        .join("wasm-component-ld");
    ensure!(
        linker.is_file(),
        "this Rust has no linker for components: {} does not exist",
        linker.display()
    );
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toolchain_contains_the_component_linker() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(component_linker(here).unwrap().is_file());
    }
}
