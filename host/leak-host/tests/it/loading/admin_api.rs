//! `PUT` and `DELETE` of `/admin/plugins/{name}`, and `reload`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{delete, enable_with_payload, ids, put, series_of, wait_until};
use crate::components::{component, renamed};
use crate::lab::{Answer, Lab, number};

/// The bytes of a component.
fn bytes(name: &str) -> Vec<u8> {
    fs::read(component(name)).unwrap()
}

/// A component that does nothing but import an instance with this name.
fn importing(name: &str) -> Vec<u8> {
    const TYPES: u8 = 7;
    const IMPORTS: u8 = 10;
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    // One type: an instance without exports.
    component.extend([TYPES, 3, 1, 0x42, 0]);
    let length = u8::try_from(name.len()).unwrap();
    // One import: its name, then the kind (instance) and the type.
    component.extend([IMPORTS, length + 5, 1, 0, length]);
    component.extend(name.as_bytes());
    component.extend([5, 0]);
    component
}

#[tokio::test]
async fn a_plugin_is_loaded_replaced_and_unloaded() {
    let lab = Lab::with(&["cache"]).start().await;
    let loaded = put(&lab, "history", bytes("history")).await;
    assert_eq!(loaded.status, 201, "{}", loaded.text);
    let loaded = loaded.json();
    assert_eq!(loaded["id"], json!("history"));
    assert_eq!(loaded["replaced"], json!(false));
    assert_eq!(loaded["persisted"], json!(true));
    assert_eq!(
        loaded["size_bytes"],
        json!(bytes("history").len()),
        "{loaded}"
    );
    assert_eq!(loaded["digest"].as_str().unwrap().len(), 64, "{loaded}");
    assert!(
        loaded["imports"].to_string().contains("wasi:cli/stderr"),
        "{loaded}"
    );
    let file = lab.plugins_folder().join("history.wasm");
    assert_eq!(fs::read(&file).unwrap(), bytes("history"));

    enable_with_payload(&lab, "history", 2000).await;
    lab.traffic(4).await;
    lab.request(Method::PUT, "/admin/memory/baselines/before")
        .send()
        .await
        .unwrap();
    let replaced = put(&lab, "history", bytes("history")).await;
    assert_eq!(replaced.status, 200, "{}", replaced.text);
    let replaced = replaced.json();
    assert_eq!(replaced["replaced"], json!(true));
    assert_eq!(replaced["settings_reset"], json!([]));
    let leak = lab.leak("history").await;
    assert_eq!(leak["enabled"], json!(true), "{leak}");
    assert_eq!(leak["settings"]["payload_bytes"], json!(2000), "{leak}");
    assert_eq!(number(&leak, "/generation"), 2.0, "{leak}");
    assert_eq!(number(&leak, "/count"), 0.0, "a fresh instance: {leak}");
    lab.traffic(2).await;
    assert!(series_of(&lab, "history").await > 20);

    let reloaded = lab.post("/admin/plugins/history/reload", json!({})).await;
    assert_eq!(number(&reloaded, "/generation"), 3.0, "{reloaded}");
    assert_eq!(reloaded["digest"], replaced["digest"]);

    let unloaded = delete(&lab, "history").await;
    assert_eq!(unloaded.status, 200, "{}", unloaded.text);
    assert_eq!(
        unloaded.json(),
        json!({"unloaded": "history", "file_removed": true})
    );
    assert!(!file.exists());
    assert_eq!(ids(&lab).await, ["cache"]);
    assert_eq!(series_of(&lab, "history").await, 0);
    for path in ["/admin/plugins/history", "/admin/leaks/history"] {
        let answer = Answer::of(lab.request(Method::GET, path)).await;
        assert_eq!(answer.status, 404, "{}", answer.text);
    }
    let diff = lab.get("/admin/memory/diff?baseline=before").await;
    assert!(diff["plugins"]["history"].is_null(), "{diff}");

    // A plugin that is loaded again is a new one: disabled, with default settings and an empty
    // history.
    assert_eq!(put(&lab, "history", bytes("history")).await.status, 201);
    let leak = lab.leak("history").await;
    assert_eq!(leak["enabled"], json!(false), "{leak}");
    assert_ne!(leak["settings"]["payload_bytes"], json!(2000), "{leak}");
    lab.enable("history").await;
    lab.traffic(3).await;
    let snapshot = lab.get("/admin/memory/snapshot?plugin=history").await;
    let location = snapshot["by_line"][0]["location"].as_str().unwrap();
    assert!(location.starts_with("plugins/history/src/"), "{snapshot}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_client_gave_up_is_completed() {
    let lab = Arc::new(Lab::with(&["fixture-slow"]).start().await);
    let other = renamed("fixture-dice", "fixture-slow");
    // One upload of each, so that both are in the cache.
    let sent = put(&lab, "fixture-slow", other.clone()).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    put(&lab, "fixture-slow", bytes("fixture-slow")).await;
    let slow = json!({"enabled": true, "busy_ms": 6000, "deadline_ms": 20_000});
    lab.configure("fixture-slow", slow).await;
    let running_call = {
        let lab = Arc::clone(&lab);
        tokio::spawn(async move { lab.data().await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    let sending = lab.request(Method::PUT, "/admin/plugins/fixture-slow");
    let sending = sending.body(other.clone()).timeout(Duration::from_secs(4));
    assert!(sending.send().await.unwrap_err().is_timeout());
    running_call.await.unwrap();
    wait_until(&lab, "the plugin is replaced", async |lab| {
        let plugin = lab.get("/admin/plugins/fixture-slow").await;
        number(&plugin, "/size_bytes") == other.len() as f64
    })
    .await;
    wait_until(&lab, "the file is replaced", async |lab| {
        fs::read(lab.plugins_folder().join("fixture-slow.wasm")).unwrap() == other
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_during_an_upload_does_not_restore_the_old_version() {
    let lab = Arc::new(Lab::with(&["fixture-slow"]).start().await);
    let other = renamed("fixture-dice", "fixture-slow");
    put(&lab, "fixture-slow", other.clone()).await;
    put(&lab, "fixture-slow", bytes("fixture-slow")).await;
    let slow = json!({"enabled": true, "busy_ms": 2000, "deadline_ms": 5000});
    lab.configure("fixture-slow", slow).await;
    let in_background = |request: reqwest::RequestBuilder| tokio::spawn(request.send());
    let running_call = in_background(lab.request(Method::GET, "/api/data"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let sending = lab.request(Method::PUT, "/admin/plugins/fixture-slow");
    let sending = in_background(sending.body(other.clone()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let reloading = lab.request(Method::POST, "/admin/plugins/fixture-slow/reload");
    let reloading = in_background(reloading);
    for answer in [running_call, sending, reloading] {
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
    let plugin = lab.get("/admin/plugins/fixture-slow").await;
    assert_eq!(number(&plugin, "/size_bytes"), other.len() as f64);
    let file = lab.plugins_folder().join("fixture-slow.wasm");
    assert_eq!(fs::read(file).unwrap(), other);
}

/// Holds at every stage of the load of a file.
#[tokio::test]
async fn a_plugin_that_is_deleted_while_it_compiles_stays_unloaded() {
    for after_ms in [120, 180, 240, 300, 400] {
        // A cache of its own, so that the host has to compile.
        let cache = tempfile::tempdir().unwrap();
        let lab = Lab::with(&["fixture-dice"])
            .env("XDG_CACHE_HOME", cache.path().to_str().unwrap())
            .start()
            .await;
        let file = lab.plugins_folder().join("fixture-dice.wasm");
        fs::write(&file, renamed("fixture-slow", "fixture-dice")).unwrap();
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        let unloaded = delete(&lab, "fixture-dice").await;
        assert_eq!(unloaded.status, 200, "{}", unloaded.text);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let ids = ids(&lab).await;
        assert!(ids.is_empty(), "deleted after {after_ms} ms: {ids:?}");
    }
}

#[tokio::test]
async fn a_setting_that_the_new_version_does_not_accept_is_reset_to_its_default() {
    let lab = Lab::with(&["fixture-traps"]).start().await;
    let settings =
        json!({"enabled": true, "after_requests": 77, "payload_bytes": 500, "kind": "abort"});
    lab.configure("fixture-traps", settings).await;
    let other = renamed("fixture-loops", "fixture-traps");
    let answer = put(&lab, "fixture-traps", other).await.json();
    let reset = answer["settings_reset"].as_array().unwrap();
    assert_eq!(reset.len(), 1, "{answer}");
    assert_eq!(reset[0]["setting"], json!("kind"), "{answer}");
    let settings = lab.leak("fixture-traps").await["settings"].clone();
    assert_eq!(settings["after_requests"], json!(77), "{settings}");
    assert_eq!(settings["payload_bytes"], json!(500), "{settings}");
    assert!(settings["kind"].is_null(), "{settings}");
}

#[tokio::test]
async fn a_refused_upload_or_delete_changes_nothing() {
    let lab = Lab::with(&["cache", "history"])
        .args(["--max-plugin-size", "2MiB"])
        .start()
        .await;
    lab.enable("cache").await;
    lab.traffic(2).await;
    let before = lab.get("/admin/plugins").await;
    let core_module = vec![0, b'a', b's', b'm', 1, 0, 0, 0];
    for (id, body, status, code, says) in [
        (
            "cache",
            bytes("history"),
            422,
            "id_mismatch",
            "/admin/plugins/history",
        ),
        (
            "cache",
            b"nonsense".to_vec(),
            422,
            "plugin_refused",
            "no component",
        ),
        ("cache", core_module, 422, "plugin_refused", "core module"),
        (
            "cache",
            importing("guest-heap:profiler/host"),
            422,
            "plugin_refused",
            "imports guest-heap:profiler/host",
        ),
        (
            "cache",
            importing("guest-heap:profiler/host@9.9.9"),
            422,
            "plugin_refused",
            "imports guest-heap:profiler/host@9.9.9",
        ),
        ("cache", Vec::new(), 422, "missing_component", "curl -T"),
        (
            "cache",
            vec![0; 3 << 20],
            413,
            "plugin_too_large",
            "--max-plugin-size",
        ),
        (
            "cache",
            bytes("fixture-not-a-plugin"),
            422,
            "plugin_refused",
            "contract",
        ),
        ("Cache", bytes("cache"), 422, "invalid_value", "kebab-case"),
        (
            "status",
            bytes("cache"),
            422,
            "invalid_value",
            "reserved by the admin API",
        ),
    ] {
        let answer = put(&lab, id, body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.error_code(says), code);
        assert!(answer.text.contains(says), "{says}: {}", answer.text);
    }
    for (method, path) in [
        (Method::DELETE, "/admin/plugins/nope"),
        (Method::POST, "/admin/plugins/nope/reload"),
    ] {
        let answer = Answer::of(lab.request(method, path)).await;
        assert_eq!(answer.status, 404, "{}", answer.text);
        assert_eq!(answer.error_code(path), "unknown_plugin");
    }
    assert_eq!(lab.get("/admin/plugins").await, before);
    assert_eq!(number(&lab.leak("cache").await, "/count"), 2.0);
    let files = fs::read_dir(lab.plugins_folder()).unwrap();
    assert_eq!(files.count(), 2, "no temporary file is left");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused_at_the_limit() {
    let lab = Lab::with(&["cache"])
        .args(["--max-plugin-size", "64KiB"])
        .start()
        .await;
    // The component in the folder is larger. The host does not load it, and lists the problem.
    assert!(ids(&lab).await.is_empty());
    let listed = lab.get("/admin/plugins").await;
    let error = listed["problems"][0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("the limit is 65536"), "{error}");

    let mut connection = TcpStream::connect(lab.address()).unwrap();
    write!(
        connection,
        "PUT /admin/plugins/cache HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .unwrap();
    for _ in 0..8 {
        // The host may have answered and closed the connection already.
        let _closed = connection
            .write_all(b"4000\r\n")
            .and_then(|()| connection.write_all(&[0; 0x4000]))
            .and_then(|()| connection.write_all(b"\r\n"));
    }
    let mut answer = [0; 512];
    let read = connection.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_file_of_another_plugin_is_not_overwritten() {
    let lab = Lab::with(&["cache"]).start().await;
    let folder = lab.plugins_folder();
    fs::rename(folder.join("cache.wasm"), folder.join("history.wasm")).unwrap();
    wait_until(&lab, "the host knows the new file name", async |lab| {
        let cache = lab.get("/admin/plugins/cache").await;
        cache["file"].as_str().unwrap().ends_with("history.wasm")
    })
    .await;
    let answer = put(&lab, "history", bytes("history")).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert_eq!(answer.error_code("PUT history"), "file_taken");
    // An upload of `cache` replaces the file that contains `cache`.
    assert_eq!(put(&lab, "cache", bytes("cache")).await.status, 200);
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
}

#[tokio::test]
async fn a_plugin_is_kept_in_memory_if_the_folder_is_not_writable() {
    let lab = Lab::with(&["cache"]).arg("--no-cache").start().await;
    fs::remove_dir_all(lab.plugins_folder()).unwrap();
    // A missing folder unloads no plugin.
    let sent = put(&lab, "history", bytes("history")).await;
    assert_eq!(sent.status, 201, "{}", sent.text);
    let sent = sent.json();
    assert_eq!(sent["persisted"], json!(false), "{sent}");
    assert!(sent["not_persisted_why"].is_string(), "{sent}");
    assert_eq!(ids(&lab).await, ["cache", "history"]);

    // The host reads the symbols and the component from memory.
    lab.enable("history").await;
    lab.traffic(3).await;
    let snapshot = lab.get("/admin/memory/snapshot?plugin=history").await;
    let location = snapshot["by_line"][0]["location"].as_str().unwrap();
    assert!(location.starts_with("plugins/history/src/"), "{snapshot}");
    let reloaded = lab.post("/admin/plugins/history/reload", json!({})).await;
    assert_eq!(reloaded["persisted"], json!(false), "{reloaded}");
    let unloaded = delete(&lab, "history").await.json();
    assert_eq!(unloaded["file_removed"], json!(false), "{unloaded}");
    assert_eq!(ids(&lab).await, ["cache"]);
}

#[tokio::test]
async fn deleting_a_plugin_that_was_not_stored_removes_its_older_file() {
    let lab = Lab::with(&["cache"]).arg("--no-cache").start().await;
    let folder = lab.plugins_folder().to_owned();
    let away = folder.with_extension("away");
    fs::rename(&folder, &away).unwrap();
    let sent = put(&lab, "cache", bytes("cache")).await.json();
    assert_eq!(sent["persisted"], json!(false), "{sent}");
    fs::rename(&away, &folder).unwrap();
    let unloaded = delete(&lab, "cache").await.json();
    let expected = json!({"unloaded": "cache", "file_removed": true});
    assert_eq!(unloaded, expected);
    assert!(!folder.join("cache.wasm").exists(), "a start loads it");
}

#[tokio::test]
async fn wrong_declarations_get_their_own_hint() {
    let lab = Lab::with(&["cache"]).start().await;
    fs::write(lab.plugins_folder().join("cache.heap.toml"), "x = 1").unwrap();
    let refused = put(&lab, "cache", bytes("cache")).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert_eq!(refused.error_code("PUT cache"), "plugin_refused");
    let error = refused.json()["error"].clone();
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("cache.heap.toml: "), "{error}");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.starts_with("correct that file"), "{error}");
}
