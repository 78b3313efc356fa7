//! The host follows the files in the plugins folder.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::{enable_with_payload, problems, series_of, wait_until, wait_until_loaded};
use crate::components::component;
use crate::lab::{Lab, failures, number};

#[tokio::test]
async fn the_host_loads_a_new_file_reloads_a_changed_one_and_unloads_a_removed_one() {
    let lab = Lab::with(&["cache"]).start().await;
    let file = lab.plugins_folder().join("history.wasm");
    fs::copy(component("history"), &file).unwrap();
    wait_until_loaded(&lab, &["cache", "history"]).await;
    enable_with_payload(&lab, "history", 2048).await;
    lab.traffic(3).await;

    // Another component with the same id: the plugin stays enabled and keeps its settings.
    let digest = lab.get("/admin/plugins/history").await["digest"].clone();
    fs::write(&file, other_version("history")).unwrap();
    wait_until(&lab, "the new version is loaded", async |lab| {
        lab.get("/admin/plugins/history").await["digest"] != digest
    })
    .await;
    let leak = lab.leak("history").await;
    assert_eq!(leak["enabled"], json!(true), "{leak}");
    assert_eq!(leak["settings"]["payload_bytes"], json!(2048), "{leak}");
    assert_eq!(number(&leak, "/generation"), 2.0, "{leak}");
    assert!(failures(&lab.data().await).is_empty());

    fs::remove_file(&file).unwrap();
    wait_until_loaded(&lab, &["cache"]).await;
    assert_eq!(series_of(&lab, "history").await, 0);
    assert!(series_of(&lab, "cache").await > 0);
}

#[tokio::test]
async fn a_missing_folder_unloads_nothing_and_may_come_back() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    lab.traffic(3).await;
    // One rename of the whole folder. Removing its files would unload the plugins.
    let aside = lab.plugins_folder().with_extension("aside");
    fs::rename(lab.plugins_folder(), &aside).unwrap();
    wait_until(&lab, "the missing folder is listed", async |lab| {
        problems(lab).await.to_string().contains("cannot be read")
    })
    .await;
    assert_eq!(lab.data().await["leaks_triggered"], json!(["cache"]));
    assert_eq!(number(&lab.leak("cache").await, "/count"), 4.0);

    fs::rename(&aside, lab.plugins_folder()).unwrap();
    wait_until(&lab, "the problem is solved", async |lab| {
        problems(lab).await == json!([])
    })
    .await;
    assert_eq!(
        number(&lab.leak("cache").await, "/count"),
        4.0,
        "the same instance"
    );
    // The host follows the folder again.
    fs::copy(
        component("history"),
        lab.plugins_folder().join("history.wasm"),
    )
    .unwrap();
    wait_until_loaded(&lab, &["cache", "history"]).await;
}

/// The same plugin with an additional custom section at its end. The section is named `v` and
/// empty.
fn other_version(name: &str) -> Vec<u8> {
    let mut bytes = fs::read(component(name)).unwrap();
    bytes.extend([0, 2, 1, b'v']);
    bytes
}

#[tokio::test]
async fn a_broken_file_is_listed_as_a_problem_and_the_old_version_keeps_running() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    lab.traffic(2).await;
    let file = lab.plugins_folder().join("cache.wasm");
    fs::write(&file, "this is no wasm").unwrap();
    wait_until(&lab, "the problem is listed", async |lab| {
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
    assert!(
        lab.output().contains("plugin refused"),
        "the log contains the problem"
    );

    let leak = lab.leak("cache").await;
    assert_eq!(number(&leak, "/generation"), 1.0, "{leak}");
    assert_eq!(number(&leak, "/count"), 2.0, "{leak}");
    lab.traffic(1).await;
    assert_eq!(number(&lab.leak("cache").await, "/count"), 3.0);

    // The original file is back. The problem is solved, and nothing is restarted, because this
    // component is already running.
    fs::copy(component("cache"), &file).unwrap();
    wait_until(&lab, "the problem is solved", async |lab| {
        problems(lab).await == json!([])
    })
    .await;
    assert_eq!(number(&lab.leak("cache").await, "/count"), 3.0);
}

#[tokio::test]
async fn a_file_is_loaded_only_after_it_is_written_completely() {
    let lab = Lab::with(&["cache"]).start().await;
    let whole = fs::read(component("history")).unwrap();
    let mut file = File::create(lab.plugins_folder().join("history.wasm")).unwrap();
    for part in whole.chunks(whole.len() / 12) {
        file.write_all(part).unwrap();
        file.flush().unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(file);
    wait_until_loaded(&lab, &["cache", "history"]).await;
    assert_eq!(problems(&lab).await, json!([]));
}

#[tokio::test]
async fn an_id_belongs_to_the_first_file_with_it() {
    let lab = Lab::with(&["cache"]).start().await;
    enable_with_payload(&lab, "cache", 1000).await;
    lab.traffic(1).await;
    let (first, second) = (
        lab.plugins_folder().join("cache.wasm"),
        lab.plugins_folder().join("another.wasm"),
    );
    fs::write(&second, other_version("cache")).unwrap();
    wait_until(&lab, "the second file is refused", async |lab| {
        let text = problems(lab).await.to_string();
        text.contains("another.wasm") && text.contains("taken")
    })
    .await;
    assert_eq!(number(&lab.leak("cache").await, "/count"), 1.0);

    // Without the first file, the id belongs to the second. Settings belong to the id, not to the
    // file.
    fs::remove_file(&first).unwrap();
    wait_until(&lab, "the id belongs to the second file", async |lab| {
        let listed = lab.get("/admin/plugins").await;
        let file = listed["plugins"][0]["file"].as_str().unwrap_or_default();
        file.ends_with("another.wasm") && listed["problems"] == json!([])
    })
    .await;

    // A renamed file is the same plugin.
    enable_with_payload(&lab, "cache", 1234).await;
    fs::rename(&second, &first).unwrap();
    wait_until(&lab, "the host knows the new file name", async |lab| {
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
async fn the_content_of_a_file_not_its_name_decides_which_plugin_it_is() {
    let lab = Lab::with(&["cache"]).start().await;
    fs::copy(
        component("history"),
        lab.plugins_folder().join("cache.wasm"),
    )
    .unwrap();
    wait_until_loaded(&lab, &["history"]).await;
    assert_eq!(series_of(&lab, "cache").await, 0);
}
