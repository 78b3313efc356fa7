//! What happens in the plugins folder happens in the lab.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::{enable_with_payload, problems, series_of, until, until_loaded};
use crate::components::component;
use crate::lab::{Lab, failures, number};

#[tokio::test]
async fn a_file_that_appears_changes_or_vanishes_is_followed() {
    let lab = Lab::with(&["cache"]).start().await;
    let file = lab.plugins_folder().join("history.wasm");
    fs::copy(component("history"), &file).unwrap();
    until_loaded(&lab, &["cache", "history"]).await;
    enable_with_payload(&lab, "history", 2048).await;
    lab.traffic(3).await;

    // Another component with the same id; the switch and the settings stay.
    let digest = lab.get("/admin/plugins/history").await["digest"].clone();
    fs::write(&file, other_version("history")).unwrap();
    until(&lab, "the new version is loaded", async |lab| {
        lab.get("/admin/plugins/history").await["digest"] != digest
    })
    .await;
    let leak = lab.leak("history").await;
    assert_eq!(leak["enabled"], json!(true), "{leak}");
    assert_eq!(leak["settings"]["payload_bytes"], json!(2048), "{leak}");
    assert_eq!(number(&leak, "/generation"), 2.0, "{leak}");
    assert!(failures(&lab.data().await).is_empty());

    fs::remove_file(&file).unwrap();
    until_loaded(&lab, &["cache"]).await;
    assert_eq!(series_of(&lab, "history").await, 0);
    assert!(series_of(&lab, "cache").await > 0);
}

#[tokio::test]
async fn a_folder_that_is_gone_changes_nothing_and_may_come_back() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    lab.traffic(3).await;
    // At once: a folder that is emptied file by file is a folder without files.
    let aside = lab.plugins_folder().with_extension("aside");
    fs::rename(lab.plugins_folder(), &aside).unwrap();
    until(&lab, "the folder is on record", async |lab| {
        problems(lab).await.to_string().contains("cannot be read")
    })
    .await;
    assert_eq!(lab.data().await["leaks_triggered"], json!(["cache"]));
    assert_eq!(number(&lab.leak("cache").await, "/count"), 4.0);

    fs::rename(&aside, lab.plugins_folder()).unwrap();
    until(&lab, "the folder is read again", async |lab| {
        problems(lab).await == json!([])
    })
    .await;
    assert_eq!(
        number(&lab.leak("cache").await, "/count"),
        4.0,
        "the same instance"
    );
    // And it is followed again.
    fs::copy(
        component("history"),
        lab.plugins_folder().join("history.wasm"),
    )
    .unwrap();
    until_loaded(&lab, &["cache", "history"]).await;
}

/// The same plugin with one byte more at its end: an empty custom section.
fn other_version(name: &str) -> Vec<u8> {
    let mut bytes = fs::read(component(name)).unwrap();
    bytes.extend([0, 2, 1, b'v']);
    bytes
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_says_what_is_wrong() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    lab.traffic(2).await;
    let file = lab.plugins_folder().join("cache.wasm");
    fs::write(&file, "this is no wasm").unwrap();
    until(&lab, "the problem is shown", async |lab| {
        problems(lab).await.as_array().unwrap().len() == 1
    })
    .await;
    let problem = problems(&lab).await[0].clone();
    assert!(
        problem["file"].as_str().unwrap().ends_with("cache.wasm"),
        "{problem}"
    );
    assert!(
        problem["error"].as_str().unwrap().contains("no component"),
        "{problem}"
    );
    assert!(lab.output().contains("plugin refused"), "it is in the log");

    let leak = lab.leak("cache").await;
    assert_eq!(number(&leak, "/generation"), 1.0, "{leak}");
    assert_eq!(number(&leak, "/count"), 2.0, "{leak}");
    lab.traffic(1).await;
    assert_eq!(number(&lab.leak("cache").await, "/count"), 3.0);

    // Mended: the problem is gone, and since the component is the one that runs, nothing is restarted.
    fs::copy(component("cache"), &file).unwrap();
    until(&lab, "the problem is gone", async |lab| {
        problems(lab).await == json!([])
    })
    .await;
    assert_eq!(number(&lab.leak("cache").await, "/count"), 3.0);
}

#[tokio::test]
async fn a_file_that_is_still_being_written_is_loaded_once_it_is_whole() {
    let lab = Lab::with(&["cache"]).start().await;
    let whole = fs::read(component("history")).unwrap();
    let mut file = File::create(lab.plugins_folder().join("history.wasm")).unwrap();
    for part in whole.chunks(whole.len() / 12) {
        file.write_all(part).unwrap();
        file.flush().unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(file);
    until_loaded(&lab, &["cache", "history"]).await;
    assert_eq!(problems(&lab).await, json!([]));
}

#[tokio::test]
async fn an_id_belongs_to_the_file_that_has_it() {
    let lab = Lab::with(&["cache"]).start().await;
    enable_with_payload(&lab, "cache", 1000).await;
    lab.traffic(1).await;
    let (first, second) = (
        lab.plugins_folder().join("cache.wasm"),
        lab.plugins_folder().join("another.wasm"),
    );
    fs::write(&second, other_version("cache")).unwrap();
    until(&lab, "the second file is refused", async |lab| {
        let text = problems(lab).await.to_string();
        text.contains("another.wasm") && text.contains("taken")
    })
    .await;
    assert_eq!(number(&lab.leak("cache").await, "/count"), 1.0);

    // When the first goes, the second has the id; what is said of a plugin's settings is of the plugin.
    fs::remove_file(&first).unwrap();
    until(&lab, "the second file has the id", async |lab| {
        let listed = lab.get("/admin/plugins").await;
        let file = listed["plugins"][0]["file"].as_str().unwrap_or_default();
        file.ends_with("another.wasm") && listed["problems"] == json!([])
    })
    .await;

    // A file with a new name is the same plugin.
    enable_with_payload(&lab, "cache", 1234).await;
    fs::rename(&second, &first).unwrap();
    until(&lab, "the file is known by its new name", async |lab| {
        let listed = lab.get("/admin/plugins").await;
        let file = listed["plugins"][0]["file"].as_str().unwrap_or_default();
        file.ends_with("cache.wasm")
    })
    .await;
    let leak = lab.leak("cache").await;
    assert_eq!(leak["enabled"], json!(true), "{leak}");
    assert_eq!(leak["settings"]["payload_bytes"], json!(1234), "{leak}");
}

#[tokio::test]
async fn a_file_with_another_plugin_in_it_is_that_plugin() {
    let lab = Lab::with(&["cache"]).start().await;
    fs::copy(
        component("history"),
        lab.plugins_folder().join("cache.wasm"),
    )
    .unwrap();
    until_loaded(&lab, &["history"]).await;
    assert_eq!(series_of(&lab, "cache").await, 0);
}
