//! A first start on a machine with many cores takes no more memory than on one with two.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::components::LAB;
use crate::lab::{Lab, MIB};

/// What each core may add, in bytes: the stack of a thread that has little to do.
const CORE_BYTES: f64 = 64.0 * 1024.0;

/// Differences between two starts on the same machine, in bytes.
const NOISE: f64 = 4.0 * MIB;

/// Compiles the library that pretends to have more cores.
fn library(folder: &TempDir) -> PathBuf {
    let library = folder.path().join("cores.so");
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/hostile/many_cores/preload.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let built = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=cdylib", "-o"])
        .args([&library, &source])
        .status()
        .expect("rustc starts");
    assert!(built.success());
    library
}

/// A number of `/proc/PID/status` in bytes.
fn status_bytes(lab: &Lab, name: &str) -> f64 {
    let status = fs::read_to_string(lab.proc_folder().join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line
        .unwrap()
        .trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB");
    kib.parse::<f64>().unwrap() * 1024.0
}

#[tokio::test]
async fn a_first_start_takes_no_more_memory_with_32_cores() {
    let folder = TempDir::new().unwrap();
    let library = library(&folder);
    let mut with_two = None;
    for cores in [2_u32, 16, 32] {
        let lab = Lab::with(&LAB)
            .args(["--no-cache"])
            .env("LD_PRELOAD", library.to_str().unwrap())
            .env("PRETENDED_CORES", &cores.to_string())
            .start()
            .await;
        let threads = fs::read_dir(lab.proc_folder().join("task"))
            .unwrap()
            .count();
        assert!(
            threads > cores as usize,
            "{threads} threads for {cores} cores"
        );
        let peak = status_bytes(&lab, "VmHWM");
        let left = status_bytes(&lab, "VmRSS");
        println!(
            "{cores} cores: {threads} threads, peak {:.1} MiB, left {:.1} MiB",
            peak / MIB,
            left / MIB
        );
        let (peak_of_two, left_of_two) = *with_two.get_or_insert((peak, left));
        let more = NOISE + CORE_BYTES * f64::from(cores);
        assert!(peak < peak_of_two + more, "{peak} with {cores} cores");
        assert!(left < left_of_two + more, "{left} with {cores} cores");
    }
}
