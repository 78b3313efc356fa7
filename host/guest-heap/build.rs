//! Compiles the profiler's runtime, `runtime/`, for wasm.
//!
//! The runtime has no dependencies, so this script calls rustc directly. Thus the flags, wrappers
//! and target folders of the outer build do not affect it.

use std::env;
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=runtime/src");
    println!("cargo::rerun-if-changed=src");
    println!(
        "cargo::rustc-env=GUEST_HEAP_FINGERPRINT={:016x}",
        fingerprint()?
    );
    let rustc = PathBuf::from(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let runtime =
        PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("runtime.wasm");
    check_target(&rustc)?;
    let output = Command::new(&rustc)
        .args([
            "--crate-name",
            "guest_heap_runtime",
            "--crate-type",
            "cdylib",
        ])
        .args(["--edition", "2024", "--target", TARGET])
        .args([
            "-C",
            "opt-level=3",
            "-C",
            "lto=fat",
            "-C",
            "codegen-units=1",
        ])
        .args(["-C", "panic=abort", "-C", "strip=symbols"])
        .args(["-C", "target-feature=+bulk-memory,+simd128"])
        // Room for 32 copies of the runtime that share a memory: see `STACK_SLICE`. Nothing
        // recurses or keeps arrays on the stack.
        .args(["-C", "link-arg=-zstack-size=32768"])
        .arg("-o")
        .arg(&runtime)
        .arg("runtime/src/lib.rs")
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "the profiler's runtime does not compile for {TARGET}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(())
}

/// A hash of all sources that determine the output of `instrument`, for the keys of caches of that
/// output.
fn fingerprint() -> Result<u64, Box<dyn Error>> {
    let mut hasher = DefaultHasher::new();
    let mut folders = vec![PathBuf::from("src"), PathBuf::from("runtime/src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path)
            } else {
                files.push(path)
            }
        }
    }
    files.sort();
    for file in files {
        std::fs::read(file)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn check_target(rustc: &Path) -> Result<(), Box<dyn Error>> {
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()?;
    let folder = String::from_utf8(output.stdout)?;
    if output.status.success() && Path::new(folder.trim()).is_dir() {
        return Ok(());
    }
    println!("cargo::error=guest-heap needs the target {TARGET}: rustup target add {TARGET}");
    Err("a compilation target is missing".into())
}
