//! `leak-host fleet` and the fleet view, against real hosts.

mod view;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::components::component;
use crate::lab::{Lab, WAIT_TIMEOUT, free_address, wait_until};

/// Runs a command of `leak-host fleet` without the variables of the user's own lab.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leak-host"));
    command.env_remove("LEAK_ADMIN_TOKEN").stdin(Stdio::null());
    command.arg("fleet").args(args);
    command
}

fn fleet(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// The JSON of a command that ends with this exit code.
fn json_of(args: &[&str], code: i32) -> Value {
    let output = fleet(&[args, &["--json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    serde_json::from_str(&text).unwrap()
}

fn text_of(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

async fn host(name: &str, version: &str) -> Lab {
    let label = format!("version={version}");
    let host = Lab::with(&["cache"]).args(["--name", name, "--label", &label]);
    host.start().await
}

fn address(lab: &Lab) -> String {
    lab.address().to_owned()
}

fn names(answer: &Value) -> Vec<&str> {
    let hosts = answer["hosts"].as_array().unwrap().iter();
    hosts.map(|host| host["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn one_host_of_three_is_made_to_leak_and_the_fleet_names_it() {
    let labs = [
        host("a", "1").await,
        host("b", "2").await,
        host("c", "2").await,
    ];
    let hosts = labs.each_ref().map(address).join(",");
    let hosts = ["--hosts", hosts.as_str()];

    let status = json_of(&[&["status"], &hosts[..]].concat(), 0);
    assert_eq!(
        (&status["asked"], &status["failed"]),
        (&json!(3), &json!(0))
    );
    let second = json_of(
        &[&["status", "--label", "version=2"], &hosts[..]].concat(),
        0,
    );
    assert_eq!(second["asked"], 2);
    let second = [&["enable", "cache", "payload_bytes=65536"], &hosts[..]].concat();
    let second = [&second[..], &["--label", "version=2", "--only", "1"]].concat();
    let enabled = json_of(&second, 0);
    let leaking = names(&enabled)[0].to_owned();
    assert_eq!(names(&enabled).len(), 1);
    assert_ne!(leaking, "a");
    assert_eq!(
        enabled["hosts"][0]["answer"]["settings"]["payload_bytes"],
        65536
    );

    for lab in &labs {
        lab.traffic(300).await;
    }
    // The verdict looks at windows of calls, once a second.
    wait_until("the verdict", WAIT_TIMEOUT, async || {
        for lab in &labs {
            lab.traffic(50).await;
        }
        let verdicts = fleet(&[&["verdict"], &hosts[..]].concat());
        verdicts.status.code() == Some(1)
    })
    .await;
    let verdicts = json_of(&[&["verdict"], &hosts[..]].concat(), 1);
    assert_eq!(verdicts["leaking"], 1);
    for host in verdicts["hosts"].as_array().unwrap() {
        let severity = host["answer"]["verdict"]["severity"].as_str().unwrap();
        assert_eq!(
            severity == "calm",
            host["name"] != leaking.as_str(),
            "{host}"
        );
    }
    let diff = json_of(&[&["diff", "--since", "15m"], &hosts[..]].concat(), 0);
    let line = &diff["lines"][0];
    assert_eq!(
        (&line["plugin"], &line["hosts"]),
        (&json!("cache"), &json!(1))
    );
    assert!(
        line["location"]
            .as_str()
            .unwrap()
            .contains("cache/src/lib.rs:"),
        "{line}"
    );
    assert!(
        line["size_diff_bytes"].as_u64().unwrap() >= 300 * 65536,
        "{line}"
    );

    let cleared = json_of(&[&["clear", "cache"], &hosts[..]].concat(), 0);
    assert_eq!(cleared["asked"], 3);
    json_of(&[&["disable", "cache"], &hosts[..]].concat(), 0);
    json_of(&[&["gc"], &hosts[..]].concat(), 0);
    json_of(&[&["reset"], &hosts[..]].concat(), 0);
    for lab in &labs {
        let leak = lab.get("/admin/leaks/cache").await;
        assert_eq!(
            (&leak["enabled"], &leak["count"]),
            (&json!(false), &json!(0))
        );
    }
}

#[tokio::test]
async fn a_host_that_is_stopped_or_gone_delays_nobody_and_decides_the_exit_code() {
    let labs = [host("a", "1").await, host("b", "1").await];
    // The kernel accepts the connection, and nobody answers: as a stopped process.
    let stopped = TcpListener::bind("127.0.0.1:0").unwrap();
    let stopped_address = stopped.local_addr().unwrap().to_string();
    let gone = free_address();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    let [a, b] = labs.each_ref().map(address);
    fs::write(
        &file,
        format!("# fleet\n{a}\n{b}\n{stopped_address}\n{gone}\n"),
    )
    .unwrap();
    let file = file.to_str().unwrap();

    let begun = Instant::now();
    let mut enable = command(&["enable", "cache", "--file", file, "--json"]);
    let running = enable.stdout(Stdio::piped()).spawn().unwrap();
    for lab in &labs {
        wait_until("the leak is on", WAIT_TIMEOUT, async || {
            lab.get("/admin/leaks/cache").await["enabled"] == true
        })
        .await;
    }
    assert!(
        begun.elapsed() < Duration::from_millis(1900),
        "{:?}",
        begun.elapsed()
    );
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&answer["asked"], &answer["failed"]),
        (&json!(4), &json!(2))
    );
    for host in answer["hosts"].as_array().unwrap() {
        let is_lab = host["address"] == a.as_str() || host["address"] == b.as_str();
        assert_eq!(host["error"].is_null(), is_lab, "{host}");
        assert!(is_lab || host["error"]["code"] == "unreachable", "{host}");
    }
    let text = text_of(&fleet(&["status", "--file", file]));
    assert!(
        text.contains(&format!("FAILED  {gone}: no answer: ")),
        "{text}"
    );
    assert!(
        text.contains("4 hosts: 2 done, 2 failed, 0 with a leak"),
        "{text}"
    );

    // What is wrong is said, and nothing is changed.
    for (args, expected) in [
        (
            vec!["enable", "nosuch", "--hosts", &a],
            "there is no leak \"nosuch\"",
        ),
        (
            vec!["set", "cache", "payload_bytes=x", "--hosts", &a],
            "nothing was changed",
        ),
        (vec!["diff", "--since", "5", "--hosts", &a], "since"),
        (vec!["status", "--hosts", "a b"], "NAME:PORT"),
        (vec!["status"], "--service"),
        (
            vec!["status", "--hosts", &a, "--file", file],
            "cannot be used with",
        ),
        (vec!["status", "--hosts", &a, "--percent", "0"], "1..=100"),
        (
            vec!["status", "--service", "no-such-name.invalid"],
            "is the service running?",
        ),
        (
            vec!["status", "--file", "/no/such/file"],
            "cannot read the addresses",
        ),
    ] {
        let output = fleet(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        let text = text_of(&output);
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}

#[tokio::test]
async fn a_token_opens_each_host() {
    let lab = Lab::with(&["cache"]).args(["--admin-token", "secret", "--name", "a"]);
    let lab = lab.start().await;
    let hosts = address(&lab);
    let text = text_of(&fleet(&["status", "--hosts", &hosts]));
    assert!(text.contains("give it with --token"), "{text}");
    let text = text_of(&fleet(&["status", "--hosts", &hosts, "--token", "other"]));
    assert!(text.contains("refuses this token"), "{text}");
    let status = json_of(&["status", "--hosts", &hosts, "--token", "secret"], 0);
    assert_eq!(names(&status), ["a"]);
}

/// The same component with another digest: a section that says nothing.
fn another_version(of: &Path, folder: &Path) -> String {
    let mut bytes = fs::read(of).unwrap();
    bytes.extend_from_slice(b"\x00\x08\x07version");
    let path = folder.join("new.wasm");
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn digest(lab: &Lab) -> String {
    let plugin = lab.get("/admin/plugins/cache").await;
    plugin["digest"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_version_is_rolled_out_to_a_share_of_the_hosts_and_back() {
    let labs = [
        host("a", "1").await,
        host("b", "1").await,
        host("c", "1").await,
    ];
    let hosts = labs.each_ref().map(address).join(",");
    let folder = tempfile::tempdir().unwrap();
    let old = component("cache");
    let new = another_version(old, folder.path());
    let old = old.to_str().unwrap();
    let before = digest(&labs[0]).await;
    let changed = async || {
        let mut changed = 0;
        for lab in &labs {
            changed += usize::from(digest(lab).await != before);
        }
        changed
    };
    let arguments = [
        "rollout", "cache", "--new", &new, "--old", old, "--hosts", &hosts,
    ];
    let short = [&arguments[..], &["--percent", "20", "--for", "3s"]].concat();
    let running = command(&short)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("one host has the new version", WAIT_TIMEOUT, async || {
        changed().await == 1
    })
    .await;
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(changed().await, 0);

    // Ctrl-C brings the old version back at once.
    let long = [&arguments[..], &["--for", "1h"]].concat();
    let running = command(&long)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("all hosts have the new version", WAIT_TIMEOUT, async || {
        changed().await == 3
    })
    .await;
    let interrupt = Command::new("kill")
        .args(["-INT", &running.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(changed().await, 0);

    // A version that no host takes changes nothing, and a way back that is missing neither.
    let broken = folder.path().join("broken.wasm");
    fs::write(&broken, b"no component").unwrap();
    let broken = broken.to_str().unwrap();
    for (new, old) in [(broken, old), (new.as_str(), "/no/such/file")] {
        let output = fleet(&[
            "rollout", "cache", "--new", new, "--old", old, "--for", "1h", "--hosts", &hosts,
        ]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(changed().await, 0);
    }
}
