//! Random changes of components against the loader and the compiler's process. Whatever they do,
//! the upload gets an answer, and nothing else happens. `cargo xtask test-hostile --fuzz MINUTES`
//! runs the same for longer.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use xtask_hostile::{Mutations, Plugin};

use crate::components::component;
use crate::hostile::{build, children};
use crate::lab::{Answer, Lab, MIB, WAIT_TIMEOUT, wait_until};

/// Uploads of one test. Most are refused within milliseconds.
const UPLOADS: usize = 90;

/// A plugin without parts, and one that was compiled from Rust.
fn seeds() -> Vec<Vec<u8>> {
    let plugin = Plugin {
        id: "history",
        fields: "(table 4 funcref) (func $f) (elem (i32.const 0) $f) (global (mut i64) (i64.const 1))",
        ..Plugin::default()
    };
    vec![build(&plugin), std::fs::read(component("history")).unwrap()]
}

#[tokio::test]
async fn a_random_component_is_answered_and_leaves_nothing_behind() {
    let lab = Lab::with(&["cache"])
        .args(["--compile-timeout", "5s"])
        .start()
        .await;
    lab.enable("cache").await;
    let mut mutations = Mutations::new(seeds(), 1);
    let mut loaded = 0;
    let mut before = 0.0;
    for n in 0..UPLOADS {
        let request = lab.request(Method::PUT, "/admin/plugins/history");
        let answer = Answer::of(request.body(mutations.next_component())).await;
        let status = answer.status.as_u16();
        assert!(
            [200, 201, 409, 422].contains(&status),
            "{n}: {}",
            answer.text
        );
        if status < 300 {
            loaded += 1;
            Answer::of(lab.request(Method::DELETE, "/admin/plugins/history")).await;
        }
        if n == UPLOADS / 3 {
            before = lab.resident_bytes();
        }
    }
    println!("{loaded} of {UPLOADS} were loaded");
    assert!((1..UPLOADS).contains(&loaded), "{loaded}");
    assert!(children(&lab).is_empty());
    assert_eq!(lab.data().await["leaks_triggered"][0], "cache");
    let left = lab.resident_bytes() - before;
    assert!(left < 8.0 * MIB, "{left} bytes are left");
    let entries = std::fs::read_dir(lab.plugins_folder()).unwrap();
    assert_eq!(entries.count(), 1, "no file is left");
}

#[tokio::test]
async fn a_compiler_that_is_killed_at_any_time_fails_its_upload_only() {
    let lab = Lab::with(&["cache"]).args(["--no-cache"]).start().await;
    lab.enable("cache").await;
    let good = std::fs::read(component("history")).unwrap();
    let mut failed = 0;
    for (n, signal) in ["SEGV", "KILL", "ABRT", "BUS", "TERM", "ILL"]
        .into_iter()
        .enumerate()
    {
        let request = lab.request(Method::PUT, "/admin/plugins/history");
        let upload = tokio::spawn(Answer::of(request.body(good.clone())));
        // Each one at another stage of the compilation.
        tokio::time::sleep(Duration::from_millis(10 * n as u64)).await;
        wait_until("it is compiled", WAIT_TIMEOUT, async || {
            upload.is_finished() || !children(&lab).is_empty()
        })
        .await;
        for child in children(&lab) {
            let id = child.to_string();
            Command::new("kill")
                .args(["-s", signal, &id])
                .status()
                .unwrap();
        }
        let answer = upload.await.unwrap();
        if answer.status == 422 {
            failed += 1;
            assert_eq!(answer.error_code("PUT"), "plugin_refused");
            assert!(
                answer.text.contains("the compiler failed"),
                "{}",
                answer.text
            );
        } else {
            assert!(answer.status.is_success(), "{}", answer.text);
        }
        assert_eq!(lab.data().await["leaks_failed"], serde_json::json!([]));
    }
    assert!(failed >= 3, "{failed} were killed in time");
    let request = lab.request(Method::PUT, "/admin/plugins/history");
    assert!(Answer::of(request.body(good)).await.status.is_success());
    assert!(Path::new(&lab.plugins_folder().join("history.wasm")).exists());
}
