//! The source lines of a trap, in every place that shows them.

use serde_json::{Value, json};

use super::wait_for_failure;
use crate::lab::{Lab, WAIT_TIMEOUT, wait_for, wait_until};

/// Waits until the last failure of the plugin has source lines, and returns it.
async fn wait_for_source_lines(lab: &Lab, plugin: &str) -> Value {
    wait_for("source lines", WAIT_TIMEOUT, async || {
        let info = lab.get(&format!("/admin/plugins/{plugin}")).await;
        let failure = info["last_failure"].clone();
        let mut frames = failure["backtrace"].as_array().into_iter().flatten();
        let located = frames.any(|frame| frame["location"].is_string());
        located.then_some(failure).ok_or(info)
    })
    .await
}

#[tokio::test]
async fn a_trap_is_shown_with_its_source_lines() {
    for (profile, kind) in [("exact", "panic"), ("off", "out_of_bounds")] {
        let plugin = "fixture-traps";
        let lab = Lab::with(&[plugin]).start().await;
        lab.configure(plugin, json!({"heap_profile": profile}))
            .await;
        let settings = json!({"enabled": true, "kind": kind, "after_requests": 1});
        lab.configure(plugin, settings).await;
        wait_for_failure(&lab, plugin).await;
        let failure = wait_for_source_lines(&lab, plugin).await;
        assert!(
            failure["when"].as_str().unwrap().ends_with('Z'),
            "{failure}"
        );
        let frames = failure["backtrace"].as_array().unwrap();
        let own = frames.iter().find(|frame| {
            let location = frame["location"].as_str().unwrap_or_default();
            location.starts_with("plugins/fixtures/fixture-traps/src/lib.rs:")
        });
        let own = own.unwrap_or_else(|| panic!("{profile}: no line of the plugin in {failure}"));
        let function = own["function"].as_str().unwrap();
        assert!(
            function.contains("trap") || function.contains("read_out_of_bounds"),
            "{profile}: {own}"
        );
        // The status and the log show the same line.
        let status = lab.leak(plugin).await;
        assert_eq!(status["last_failure"], failure, "{profile}");
        let line = own["location"].as_str().unwrap();
        assert!(
            status["backtrace"].to_string().contains(line),
            "{profile}: {status}"
        );
        wait_until("the line is in the log", WAIT_TIMEOUT, async || {
            lab.output().contains(line)
        })
        .await;

        // A reset starts a fresh instance and keeps the last failure.
        lab.reset(plugin).await;
        let status = lab.leak(plugin).await;
        assert_eq!(status["state"], json!("running"), "{profile}");
        assert_eq!(status["last_failure"], failure, "{profile}");
        assert!(status["backtrace"].is_null(), "{profile}: {status}");
    }
}
