//! Plugins that are loaded, replaced and unloaded while the host serves requests: through files in
//! the plugins folder, and through the admin API.

mod admin_api;
mod folder;
mod under_load;

use reqwest::Method;
use serde_json::{Value, json};

use crate::lab::{Answer, Lab, WAIT_TIMEOUT, wait_for};

/// The ids of the loaded plugins.
async fn ids(lab: &Lab) -> Vec<String> {
    let listed = lab.get("/admin/plugins").await;
    let plugins = listed["plugins"].as_array().unwrap().iter();
    plugins
        .map(|p| p["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until exactly these plugins are loaded.
async fn wait_until_loaded(lab: &Lab, expected: &[&str]) {
    wait_until(lab, &format!("{expected:?} are loaded"), async |lab| {
        ids(lab).await == expected
    })
    .await;
}

/// Waits for a change that the host promises within a second. The timeout is longer, for a busy
/// machine.
async fn wait_until(lab: &Lab, what: &str, holds: impl AsyncFn(&Lab) -> bool) {
    wait_for(what, WAIT_TIMEOUT, async || {
        if holds(lab).await {
            return Ok(());
        }
        Err(lab.get("/admin/plugins").await)
    })
    .await;
}

async fn put(lab: &Lab, id: &str, component: Vec<u8>) -> Answer {
    let request = lab.request(Method::PUT, &format!("/admin/plugins/{id}"));
    Answer::of(request.body(component)).await
}

async fn delete(lab: &Lab, id: &str) -> Answer {
    Answer::of(lab.request(Method::DELETE, &format!("/admin/plugins/{id}"))).await
}

/// The number of metric series that name a plugin.
async fn series_of(lab: &Lab, id: &str) -> usize {
    let page = lab.metrics_page().await;
    let label = format!("plugin=\"{id}\"");
    page.lines().filter(|line| line.contains(&label)).count()
}

/// The host's list of problems in the plugins folder.
async fn problems(lab: &Lab) -> Value {
    lab.get("/admin/plugins").await["problems"].clone()
}

/// Enables the leak with a setting that differs from its default.
async fn enable_with_payload(lab: &Lab, leak: &str, payload_bytes: u64) {
    let settings = json!({"enabled": true, "payload_bytes": payload_bytes});
    lab.configure(leak, settings).await;
}
