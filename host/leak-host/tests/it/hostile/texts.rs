//! Texts that are too long, or that are made to look like the host's own.

use serde_json::json;
use xtask_hostile::Plugin;

use crate::hostile::lab_with;
use crate::lab::{Lab, failures};

/// The longest text of a guest that the host keeps.
const MAX_TEXT_BYTES: usize = 8 << 10;

async fn failure(lab: &Lab, plugin: &str) -> String {
    lab.enable(plugin).await;
    let data = lab.data().await;
    let failed = failures(&data).iter().find(|f| f["leak"] == json!(plugin));
    failed.unwrap()["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_long_error_is_shortened_everywhere() {
    // An error of 12 MiB.
    let plugin = Plugin {
        id: "talker",
        start: "(drop (memory.grow (i32.const 200)))
                (memory.fill (i32.const 131072) (i32.const 65) (i32.const 12582912))",
        on_request: "(i32.store8 (i32.const 512) (i32.const 1))
                     (i32.store (i32.const 520) (i32.const 131072))
                     (i32.store (i32.const 524) (i32.const 12582912))",
        ..Plugin::default()
    };
    let lab = lab_with(&plugin, &[]).start().await;
    let reason = failure(&lab, "talker").await;
    assert!(reason.len() < MAX_TEXT_BYTES + 100, "{}", reason.len());
    assert!(reason.ends_with("AAA… (12582912 bytes)"), "{reason}");
    let status = lab.leak("talker").await.to_string();
    assert!(status.len() < 3 * MAX_TEXT_BYTES, "{}", status.len());
    assert!(lab.output().len() < 8 * MAX_TEXT_BYTES);
}

#[tokio::test]
async fn a_text_that_is_too_long_to_be_read_fails_the_call() {
    // An error of 100 MiB: the host does not even copy it.
    let plugin = Plugin {
        id: "talker",
        start: "(drop (memory.grow (i32.const 1700)))",
        on_request: "(i32.store8 (i32.const 512) (i32.const 1))
                     (i32.store (i32.const 520) (i32.const 131072))
                     (i32.store (i32.const 524) (i32.const 104857600))",
        ..Plugin::default()
    };
    let lab = lab_with(&plugin, &["cache"]).start().await;
    let before = lab.resident_bytes();
    let reason = failure(&lab, "talker").await;
    assert!(reason.len() < MAX_TEXT_BYTES, "{reason}");
    assert_eq!(lab.leak("talker").await["state"], "faulted");
    assert!(lab.resident_bytes() - before < 40e6);
}

#[tokio::test]
async fn a_log_message_stays_on_its_line() {
    let forged = "fine\\0a2026-11-29T12:00:00Z ERROR leak_host: out of memory\\0a\\1b[31m";
    let fields = format!("(data (i32.const 33000) \"{forged}\")");
    let plugin = Plugin {
        id: "forger",
        fields: &fields,
        on_request: "(call $log (i32.const 2) (i32.const 33000) (i32.const 66))",
        ..Plugin::default()
    };
    let lab = lab_with(&plugin, &[]).start().await;
    lab.enable("forger").await;
    lab.data().await;
    let output = lab.output();
    let logged = output.lines().find(|line| line.contains("fine")).unwrap();
    assert!(logged.contains("out of memory"), "one line: {logged}");
    assert!(!logged.contains('\u{1b}'), "no terminal codes: {logged:?}");
}
