//! A host that serves while it loads its plugins.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use xtask_hostile::{Plugin, slow_to_compile};

use crate::hostile::{build, children, lab_with};
use crate::lab::{Answer, Lab, WAIT_TIMEOUT, wait_until};

const ENDLESS: Plugin = Plugin {
    id: "endless",
    imports: "",
    fields: "",
    start: "(loop $forever (br $forever))",
    describe: "",
    on_request: "",
    clear: "",
};

/// How long a signal may take to end a host that serves no requests.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

async fn stage_of(lab: &Lab, file: &str) -> Option<String> {
    let health = lab.get("/health").await;
    let loading = health["loading"].as_array().unwrap();
    let of_file = loading.iter().find(|l| l["file"] == json!(file))?;
    Some(of_file["stage"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_plugin_that_never_starts_delays_no_other_plugin() {
    // Three of them, among others in the order of names.
    let mut lab = Lab::with(&["cache", "history", "listeners"]);
    for name in ["a-endless.wasm", "d-endless.wasm", "z-endless.wasm"] {
        lab = lab.file(name, &build(&ENDLESS));
    }
    let started = Instant::now();
    let lab = lab.args(["--enable", "history"]).start_loading().await;
    let running = async || lab.get("/health").await["plugins"]["running"] == json!(3);
    wait_until("the others run", WAIT_TIMEOUT, running).await;
    assert!(started.elapsed() < Duration::from_secs(8));
    assert_eq!(stage_of(&lab, "a-endless.wasm").await.unwrap(), "starting");
    assert_eq!(lab.get("/health").await["status"], "starting");
    let enabled = async || lab.data().await["leaks_triggered"] == json!(["history"]);
    wait_until("it is enabled already", WAIT_TIMEOUT, enabled).await;
    let ready = Answer::of(lab.request(Method::GET, "/health/ready")).await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.error_code("/health/ready"), "starting");
    assert!(
        ready.text.contains("a-endless.wasm (starting)"),
        "{}",
        ready.text
    );

    // It gets ten seconds for its start. Then the host is ready without it.
    let is_ready = async || lab.get("/health").await["status"] == json!("ok");
    wait_until("the host is ready", WAIT_TIMEOUT, is_ready).await;
    assert_eq!(lab.get("/health").await["loading"], json!([]));
    assert_eq!(lab.get("/health/ready").await["status"], "ok");
    let problems = lab.get("/admin/plugins").await["problems"].clone();
    assert_eq!(problems.as_array().unwrap().len(), 3, "{problems}");
}

#[tokio::test]
async fn a_component_that_is_slow_to_compile_delays_no_other_plugin() {
    let lab = Lab::with(&["cache", "history"]).file("a.wasm", &slow_to_compile());
    let lab = lab.start_loading().await;
    let running = async || lab.get("/health").await["plugins"]["running"] == json!(2);
    wait_until("the others run", WAIT_TIMEOUT, running).await;
    assert_eq!(stage_of(&lab, "a.wasm").await.unwrap(), "compiling");
}

#[tokio::test]
async fn a_signal_ends_a_host_that_loads() {
    for (plugin, stage) in [
        (build(&ENDLESS), "starting"),
        (slow_to_compile(), "compiling"),
    ] {
        let lab = Lab::with(&["cache"]).file("endless.wasm", &plugin);
        let mut lab = lab.start_loading().await;
        let loading = async || stage_of(&lab, "endless.wasm").await.as_deref() == Some(stage);
        wait_until("it is loading", WAIT_TIMEOUT, loading).await;
        lab.signal("TERM");
        let status = lab.exits_within(EXIT_TIMEOUT).await;
        assert_eq!(status.code(), Some(0), "{}", lab.output());
        assert!(children(&lab).is_empty());
    }
}

#[tokio::test]
async fn a_file_that_appears_while_another_one_is_loaded_is_loaded_at_once() {
    let lab = lab_with(&ENDLESS, &["cache"]).start_loading().await;
    let loading = async || stage_of(&lab, "endless.wasm").await.as_deref() == Some("starting");
    wait_until("it is starting", WAIT_TIMEOUT, loading).await;
    let quick = Plugin {
        id: "quick",
        ..Plugin::default()
    };
    std::fs::write(lab.plugins_folder().join("quick.wasm"), build(&quick)).unwrap();
    let running = async || lab.get("/health").await["plugins"]["running"] == json!(2);
    wait_until("the new one runs", Duration::from_secs(6), running).await;
    assert_eq!(lab.get("/health").await["status"], "starting");
}

/// In a PID namespace of its own, as in a container, where a signal without a handler is ignored.
#[tokio::test]
async fn a_signal_ends_process_1_while_it_loads() {
    let unshare: Vec<String> = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        .map(str::to_owned)
        .to_vec();
    let allowed = std::process::Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no permission for a PID namespace");
        return;
    }
    let lab = lab_with(&ENDLESS, &["cache"]).wrapper(unshare);
    let mut lab = lab.start_loading().await;
    let loading = async || stage_of(&lab, "endless.wasm").await.as_deref() == Some("starting");
    wait_until("it is starting", WAIT_TIMEOUT, loading).await;
    // The wrapper's only child is process 1 of the namespace.
    let host = children(&lab)[0].to_string();
    let sent = std::process::Command::new("kill")
        .args(["-s", "TERM", &host])
        .status();
    assert!(sent.unwrap().success());
    let status = lab.exits_within(EXIT_TIMEOUT).await;
    assert_eq!(status.code(), Some(0), "{}", lab.output());
}
