//! Instrumented and compiled plugins are kept on disk; what is damaged there is made anew.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::payloads_gained;
use crate::components::LAB;
use crate::lab::{Lab, number};

async fn start(components: &[&str], cache: &Path) -> Lab {
    let lab = Lab::with(components)
        .arg("--cache")
        .arg(cache.to_str().unwrap());
    lab.start().await
}

async fn plugins(lab: &Lab) -> Vec<Value> {
    lab.get("/admin/plugins").await["plugins"]
        .as_array()
        .unwrap()
        .clone()
}

/// The plugin leaks and its books say where: machine code, offset map and symbols are right.
async fn assert_works(lab: &Lab) {
    lab.enable("cache").await;
    lab.get("/admin/memory/diff").await;
    lab.traffic(20).await;
    let diff = lab.get("/admin/memory/diff").await;
    assert_eq!(payloads_gained(&diff), 20.0, "{diff}");
    assert_eq!(lab.leak("cache").await["attribution"], json!("exact"));
}

#[tokio::test]
async fn a_second_start_compiles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for cached in [false, true] {
        let lab = start(&LAB, folder.path()).await;
        let plugins = plugins(&lab).await;
        assert_eq!(plugins.len(), 3);
        for plugin in plugins {
            assert_eq!(plugin["cached"], json!(cached), "{}", plugin["id"]);
            println!(
                "{} cached={cached}: {:.1} ms",
                plugin["id"],
                number(&plugin, "/compile_time_ms")
            );
        }
        assert_works(&lab).await;
    }
}

/// Flips a bit in the middle of every file of this kind.
fn damage(folder: &Path, extension: &str) {
    let mut damaged = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|found| found == extension) {
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0, "there are files *.{extension}");
}

#[tokio::test]
async fn a_damaged_entry_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    drop(start(&["cache"], folder.path()).await);
    for kinds in [["cwasm", "side"].as_slice(), &["side"], &["sums"]] {
        for kind in kinds {
            damage(folder.path(), kind);
        }
        let lab = start(&["cache"], folder.path()).await;
        assert_eq!(plugins(&lab).await[0]["cached"], json!(false), "{kinds:?}");
        assert_works(&lab).await;
        drop(lab);
        let lab = start(&["cache"], folder.path()).await;
        assert_eq!(
            plugins(&lab).await[0]["cached"],
            json!(true),
            "{kinds:?}: kept again"
        );
        assert_works(&lab).await;
    }
    // The component itself is kept for its symbols; the file that it was loaded from is there as well.
    damage(folder.path(), "wasm");
    assert_works(&start(&["cache"], folder.path()).await).await;
}

/// A folder on a file system of its own that is as good as full; none where this user may not mount one.
fn full_disk(within: &Path) -> Option<Vec<String>> {
    let mount = format!(
        "mount -t tmpfs -o size=16k tmpfs '{}' && exec \"$0\" \"$@\"",
        within.display()
    );
    let command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &mount,
    ];
    let works = Command::new(command[0])
        .args(&command[1..])
        .arg("true")
        .status()
        .is_ok_and(|status| status.success());
    works.then(|| command.map(str::to_owned).to_vec())
}

#[tokio::test]
async fn a_full_disk_costs_compilations_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let Some(on_full_disk) = full_disk(folder.path()) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    let lab = Lab::with(&["cache"])
        .arg("--cache")
        .arg(folder.path().to_str().unwrap())
        .within(on_full_disk)
        .start()
        .await;
    assert_works(&lab).await;
    assert_eq!(plugins(&lab).await[0]["cached"], json!(false));
    assert!(
        lab.output().contains("cannot keep a compiled plugin"),
        "{}",
        lab.output()
    );
    // Another version is compiled as well.
    let reloaded = lab.post("/admin/plugins/cache/reload", json!({})).await;
    assert_eq!(reloaded["cached"], json!(false), "{reloaded}");
}
