//! The cache of instrumented and compiled plugins on disk. The host compiles a damaged entry again.

use std::fs;
use std::path::Path;
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use super::payloads_gained;
use crate::components::{LAB, component};
use crate::lab::{Answer, Lab, number};

/// Starts a lab with its cache in this folder.
async fn start(components: &[&str], cache: &Path) -> Lab {
    let lab = Lab::with(components).args(["--cache", cache.to_str().unwrap()]);
    lab.start().await
}

async fn plugins(lab: &Lab) -> Vec<Value> {
    lab.get("/admin/plugins").await["plugins"]
        .as_array()
        .unwrap()
        .clone()
}

/// Asserts that the cache leaks and that its heap profile names the line. This holds only if the
/// machine code, the offset map and the symbols are correct.
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
    assert!(damaged > 0, "the cache contains *.{extension}");
}

#[tokio::test]
async fn a_damaged_entry_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(start(&["cache"], folder.path()).await);
    damage(folder.path(), "cwasm");
    for cached in [false, true] {
        let lab = start(&["cache"], folder.path()).await;
        assert_eq!(plugins(&lab).await[0]["cached"], json!(cached));
        assert_works(&lab).await;
        assert_eq!(lab.output().contains("damaged cache entry"), !cached);
    }
    // The cached component is the source of the symbols. If it is damaged, the host reads the file
    // that it loaded the plugin from.
    damage(folder.path(), "wasm");
    assert_works(&start(&["cache"], folder.path()).await).await;
}

/// Does something to every file in the cache.
fn change_all(folder: &Path, change: impl Fn(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            change(&path);
        }
    }
}

#[tokio::test]
async fn nothing_that_happens_to_the_folder_harms_loaded_plugins() {
    let folder = tempfile::tempdir().unwrap();
    let changes: [fn(&Path); 3] = [
        |path| fs::write(path, "").unwrap(),
        |path| {
            let length = fs::metadata(path).unwrap().len();
            fs::write(path, vec![0xcc; usize::try_from(length).unwrap()]).unwrap();
        },
        |path| fs::remove_file(path).unwrap(),
    ];
    // The first start compiles the plugins, the others find them in the cache.
    drop(start(&LAB, folder.path()).await);
    for change in changes {
        let lab = start(&LAB, folder.path()).await;
        assert_eq!(plugins(&lab).await[0]["cached"], json!(true));
        change_all(folder.path(), change);
        assert_works(&lab).await;
        for leak in LAB {
            assert_eq!(number(&lab.reset(leak).await, "/generation"), 2.0);
        }
        assert_works(&lab).await;
        // Loads everything again, into the cache too.
        for leak in LAB {
            let reload = format!("/admin/plugins/{leak}/reload");
            lab.post(&reload, json!({})).await;
        }
    }
}

#[tokio::test]
async fn the_cache_is_bounded_while_the_host_runs() {
    const LIMIT: u64 = 4 << 20;
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::with(&["cache"])
        .args(["--cache", folder.path().to_str().unwrap()])
        .args(["--max-cache-size", "4MiB"])
        .start()
        .await;
    for n in 0..40_u8 {
        let mut component = fs::read(component("history")).unwrap();
        // A custom section makes it another component.
        component.extend([0, 2, 1, b'A' + n]);
        let request = lab.request(Method::PUT, "/admin/plugins/history");
        let loaded = Answer::of(request.body(component)).await;
        assert!(loaded.status.is_success(), "{loaded:?}");
        let bytes: u64 = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes <= LIMIT, "{bytes} bytes after {n} uploads");
    }
    assert_works(&lab).await;
    drop(lab);
    let lab = start(&["cache"], folder.path()).await;
    assert_eq!(
        plugins(&lab).await[0]["cached"],
        json!(true),
        "it was in use"
    );
}

/// A command that mounts a file system of 16 KiB on `folder` and then executes its arguments. None
/// if this user cannot mount a file system.
fn with_full_disk(folder: &Path) -> Option<Vec<String>> {
    let mount = format!(
        "mount -t tmpfs -o size=16k tmpfs '{}' && exec \"$0\" \"$@\"",
        folder.display()
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
async fn with_a_full_disk_the_host_works_and_compiles_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let Some(wrapper) = with_full_disk(folder.path()) else {
        println!("skipped: this user cannot mount a file system");
        return;
    };
    let lab = Lab::with(&["cache"])
        .args(["--cache", folder.path().to_str().unwrap()])
        .wrapper(wrapper)
        .start()
        .await;
    assert_works(&lab).await;
    assert_eq!(plugins(&lab).await[0]["cached"], json!(false));
    assert!(
        lab.output().contains("cannot keep a compiled plugin"),
        "{}",
        lab.output()
    );
    // A reload compiles the plugin again.
    let reloaded = lab.post("/admin/plugins/cache/reload", json!({})).await;
    assert_eq!(reloaded["cached"], json!(false), "{reloaded}");
}
