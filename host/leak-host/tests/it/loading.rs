//! Plugins that come, change and go while the lab serves: by files in the plugins folder, and by the admin API.

mod folder;
mod sent;
mod under_load;

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::lab::{Answer, Lab};

/// A second is promised; the rest is for a machine with other things to do.
const SOON: Duration = Duration::from_secs(30);

/// The ids of what is loaded.
async fn ids(lab: &Lab) -> Vec<String> {
    let listed = lab.get("/admin/plugins").await;
    let plugins = listed["plugins"].as_array().unwrap().iter();
    plugins
        .map(|p| p["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until what is loaded is this.
async fn until_loaded(lab: &Lab, expected: &[&str]) {
    until(lab, &format!("loaded are {expected:?}"), async |lab| {
        ids(lab).await == expected
    })
    .await;
}

async fn until(lab: &Lab, what: &str, holds: impl AsyncFn(&Lab) -> bool) {
    let started = Instant::now();
    while !holds(lab).await {
        assert!(
            started.elapsed() < SOON,
            "not in time: {what}: {}",
            lab.get("/admin/plugins").await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn put(lab: &Lab, id: &str, component: Vec<u8>) -> Answer {
    let request = lab.request(Method::PUT, &format!("/admin/plugins/{id}"));
    Answer::of(request.body(component)).await
}

async fn delete(lab: &Lab, id: &str) -> Answer {
    Answer::of(lab.request(Method::DELETE, &format!("/admin/plugins/{id}"))).await
}

/// Lines of the metrics page that name a plugin.
async fn series_of(lab: &Lab, id: &str) -> usize {
    let page = Answer::of(lab.request(Method::GET, "/metrics")).await.text;
    let label = format!("plugin=\"{id}\"");
    page.lines().filter(|line| line.contains(&label)).count()
}

/// What is wrong in the folder.
async fn problems(lab: &Lab) -> Value {
    lab.get("/admin/plugins").await["problems"].clone()
}

/// Turns the leak on and gives it a setting that is not the default.
async fn enable_with_payload(lab: &Lab, leak: &str, payload_bytes: u64) {
    lab.post(
        &format!("/admin/leaks/{leak}"),
        json!({"enabled": true, "payload_bytes": payload_bytes}),
    )
    .await;
}
