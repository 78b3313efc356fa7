//! Files that are no files, in the folders that the host reads.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::lab::{Lab, WAIT_TIMEOUT, free_address, wait_until};

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Creates one of each kind under these names, and returns what the host says about it.
fn create_special_files(folder: &Path) -> Vec<(&'static str, &'static str)> {
    let at = |name: &str| folder.join(name);
    fifo(&at("a-fifo.wasm"));
    drop(UnixListener::bind(at("b-socket.wasm")).unwrap());
    symlink("/dev/zero", at("c-device.wasm")).unwrap();
    symlink("/proc/kmsg", at("d-proc.wasm")).unwrap();
    symlink("/proc/self/mem", at("e-memory.wasm")).unwrap();
    symlink("missing", at("f-link.wasm")).unwrap();
    symlink("g-loop.wasm", at("g-loop.wasm")).unwrap();
    fs::create_dir(at("h-folder.wasm")).unwrap();
    let sparse = File::create(at("i-sparse.wasm")).unwrap();
    sparse.set_len(1 << 42).unwrap();
    vec![
        ("a-fifo.wasm", "it is a FIFO; only regular files are read"),
        ("b-socket.wasm", "it is a socket"),
        ("c-device.wasm", "it is a character device"),
        ("d-proc.wasm", "it is a view of the kernel (procfs)"),
        ("e-memory.wasm", "it is a view of the kernel (procfs)"),
        ("f-link.wasm", "No such file"),
        ("g-loop.wasm", "symbolic links"),
        ("h-folder.wasm", "it is a folder"),
        ("i-sparse.wasm", "the component has 4398046511104 bytes"),
    ]
}

/// The reason that the host gives for a file.
async fn problem(lab: &Lab, file: &str) -> String {
    let list = lab.get("/admin/plugins").await;
    let mut problems = list["problems"].as_array().unwrap().iter();
    let of_file = |problem: &&Value| problem["file"].as_str().unwrap().ends_with(file);
    let error = problems.find(of_file).map(|problem| &problem["error"]);
    error.map_or(String::new(), |error| error.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn special_files_in_the_plugins_folder_are_listed_and_delay_nothing() {
    let mut lab = Lab::with(&["cache"]);
    let expected = create_special_files(lab.plugins_folder());
    // Next to a good component.
    fifo(&lab.plugins_folder().join("cache.heap.toml"));
    let started = Instant::now();
    lab = lab.arg("--no-cache");
    let lab = lab.start().await;
    assert!(started.elapsed() < Duration::from_secs(60));
    for (file, reason) in &expected {
        let problem = problem(&lab, file).await;
        assert!(problem.contains(reason), "{file}: {problem}");
        assert!(lab.output().contains(file), "{file} is logged");
    }
    assert!(
        problem(&lab, "cache.wasm")
            .await
            .contains("cache.heap.toml: it is a FIFO")
    );
    // The same while the host runs.
    for (file, _) in &expected {
        let path = lab.plugins_folder().join(file);
        fs::remove_file(&path)
            .or_else(|_| fs::remove_dir(&path))
            .unwrap();
    }
    fs::remove_file(lab.plugins_folder().join("cache.heap.toml")).unwrap();
    wait_until("all problems are solved", WAIT_TIMEOUT, async || {
        let list = lab.get("/admin/plugins").await;
        list["problems"] == json!([]) && list["plugins"].as_array().unwrap().len() == 1
    })
    .await;
    create_special_files(lab.plugins_folder());
    wait_until("all files are listed", WAIT_TIMEOUT, async || {
        let list = lab.get("/admin/plugins").await;
        list["problems"].as_array().unwrap().len() == expected.len()
    })
    .await;
    assert_eq!(lab.data().await["leaks_failed"], json!([]));
}

#[tokio::test]
async fn special_files_in_the_folders_of_cache_and_post_mortem_delay_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let address = free_address();
    let start = || {
        Lab::with(&["cache"])
            .listen(&address)
            .args(["--cache", cache.to_str().unwrap()])
            .args(["--post-mortem", folder.path().to_str().unwrap()])
            .start()
    };
    drop(start().await);
    let of_address = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let of_address: Vec<_> = of_address.filter(|path| *path != cache).collect();
    let [of_address] = &of_address[..] else {
        panic!("one folder for the address: {of_address:?}");
    };
    for kind in ["cwasm", "wasm"] {
        for entry in fs::read_dir(&cache).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|found| found == kind) {
                fs::remove_file(&path).unwrap();
                fifo(&path);
            }
        }
    }
    for name in [
        "running.json",
        "running.cause",
        "running.new",
        "previous.json",
        "probe",
    ] {
        let _absent = fs::remove_file(of_address.join(name));
        fifo(&of_address.join(name));
    }
    let lab = start().await;
    lab.enable("cache").await;
    assert_eq!(lab.data().await["leaks_triggered"], json!(["cache"]));
    assert_eq!(lab.get("/admin/post-mortem").await["status"], json!("none"));
    assert!(
        lab.output().contains("unreadable cache entry"),
        "{}",
        lab.output()
    );
    assert!(
        lab.output().contains("removed: no regular file"),
        "{}",
        lab.output()
    );
    drop(lab);
    let lab = start().await;
    assert_eq!(
        lab.get("/admin/plugins").await["plugins"][0]["cached"],
        json!(true)
    );
}

#[tokio::test]
async fn a_file_that_keeps_growing_is_listed_and_loaded_in_the_end() {
    let lab = Lab::with(&["cache"]).start().await;
    let path = lab.plugins_folder().join("history.wasm");
    let component = fs::read(crate::components::component("history")).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    // A thread of its own, because a pause of 120 ms would settle the file.
    let writer = {
        let (path, done) = (path.clone(), done.clone());
        thread::spawn(move || {
            for written in 1.. {
                if done.load(Ordering::SeqCst) {
                    return;
                }
                fs::write(&path, vec![0; written]).unwrap();
                thread::sleep(Duration::from_millis(5));
            }
        })
    };
    wait_until("it is listed", 2 * WAIT_TIMEOUT, async || {
        let problem = problem(&lab, "history.wasm").await;
        problem.contains("keeps changing")
    })
    .await;
    done.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    fs::write(&path, &component).unwrap();
    wait_until("it is loaded", WAIT_TIMEOUT, async || {
        let list = lab.get("/admin/plugins").await;
        list["plugins"].as_array().unwrap().len() == 2 && list["problems"] == json!([])
    })
    .await;
}

#[tokio::test]
async fn a_start_removes_the_files_of_uploads_to_a_killed_host() {
    let lab = Lab::with(&["cache"]);
    let abandoned = lab.plugins_folder().join(".big.wasm.part-0123456789abcdef");
    fs::write(&abandoned, "half a component").unwrap();
    let lab = lab.start().await;
    assert!(!abandoned.exists());
    assert_eq!(lab.get("/admin/plugins").await["problems"], json!([]));
}
