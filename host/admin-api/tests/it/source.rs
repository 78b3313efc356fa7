//! The source view: it shows the lines that a heap profile names, and never another file.

use std::path::Path;

use axum::http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use test_support::components::LAB;
use test_support::{Answer, TestHost};

async fn source(host: &TestHost, plugin: &str, location: &str) -> Answer {
    let location = utf8_percent_encode(location, NON_ALPHANUMERIC);
    let path = format!("/admin/memory/source?plugin={plugin}&location={location}");
    host.request(Method::GET, &path).send().await
}

/// The largest line of the cache, after 20 requests.
async fn leaking_line(host: &TestHost) -> String {
    host.enable("cache").await;
    host.traffic(20).await;
    let snapshot = host.get("/admin/memory/snapshot?plugin=cache").await;
    snapshot["by_line"][0]["location"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The root of the repository.
fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

async fn with_source_root() -> TestHost {
    TestHost::with(&LAB)
        .source_root(checkout().to_owned())
        .start()
        .await
}

#[tokio::test]
async fn the_leaking_line_is_shown_with_12_lines_before_and_after() {
    let host = with_source_root().await;
    let location = leaking_line(&host).await;
    let answer = source(&host, "cache", &location).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let shown = answer.json();
    let (file, line) = location.rsplit_once(':').unwrap();
    let line: usize = line.parse().unwrap();
    assert_eq!(shown["file"], file);
    assert_eq!(shown["line"], line);
    let text = std::fs::read_to_string(checkout().join(file)).unwrap();
    let first = usize::try_from(shown["first_line"].as_u64().unwrap()).unwrap();
    let lines = shown["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 25, "12 before, 12 after: {shown}");
    for (index, shown) in lines.iter().enumerate() {
        assert_eq!(shown, text.lines().nth(first - 1 + index).unwrap());
    }
    // The SDK's frames of the call stack are shown, too.
    let traces = host
        .get("/admin/memory/snapshot?plugin=cache&group_by=trace")
        .await;
    let frames = traces["by_line"][0]["trace"].as_array().unwrap();
    let location = |frame: &Value| frame["location"].as_str().map(str::to_owned);
    let sdk = frames
        .iter()
        .filter_map(location)
        .find(|l| l.starts_with("plugins/sdk/"))
        .unwrap();
    assert_eq!(source(&host, "cache", &sdk).await.status, 200, "{sdk}");
}

#[tokio::test]
async fn no_other_file_is_ever_shown() {
    let host = with_source_root().await;
    let location = leaking_line(&host).await;
    let absolute = checkout().canonicalize().unwrap().join("Cargo.toml");
    for other in [
        "Cargo.toml:1",
        "plugins/Cargo.toml:1",
        "plugins/cache/Cargo.toml:1",
        "../Cargo.toml:1",
        "plugins/cache/src/../src/lib.rs:67",
        "/etc/passwd:1",
        ".git/config:1",
        "plugins/history/src/lib.rs:1",
        "plugins/cache/src/lib.rs:1",
        &format!("{}:1", absolute.display()),
        &location.replace("plugins/", "plugins//"),
        &location.replace("plugins/", "./plugins/"),
        &location.replace("plugins/", "%2e/plugins/"),
    ] {
        let answer = source(&host, "cache", other).await;
        assert_eq!(answer.status, 404, "{other}: {}", answer.text);
        assert_eq!(answer.error_code(other), "unknown_source");
    }
    // The leaking line, requested for a plugin whose heap does not name it.
    assert_eq!(source(&host, "history", &location).await.status, 404);
}

#[tokio::test]
async fn a_host_without_source_root_names_the_option() {
    let host = TestHost::with(&LAB).start().await;
    let location = leaking_line(&host).await;
    let answer = source(&host, "cache", &location).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.error_code("no root"), "unknown_source");
    assert!(answer.text.contains("--source-root"), "{}", answer.text);
}
