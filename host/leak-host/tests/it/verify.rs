//! `leak-host verify` against a running host: its output and its exit codes.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::components::LAB;
use crate::lab::{Lab, free_address};

/// Runs the command without the variables of the user's own lab.
fn verify(url: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leak-host"));
    command
        .env_remove("LEAK_ADMIN_TOKEN")
        .env_remove("LEAK_URL");
    command.args(["verify", "--url", url]).args(args);
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The error of a command that could not ask. Asserts that nothing else was printed.
fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn an_exercise_is_done_when_nothing_is_missing() {
    let lab = Lab::with(&LAB).start().await;
    let url = lab.url("");
    let before = verify(&url, &["1"]);
    assert_eq!(before.status.code(), Some(1), "{before:?}");
    let text = stdout(&before);
    assert!(
        text.starts_with("Exercise 1: not done, 0 of 4 steps\n"),
        "{text}"
    );
    assert!(
        text.contains("Send 100 more requests while every leak is off."),
        "{text}"
    );
    lab.get("/admin/leaks/status").await;
    lab.get("/admin/memory").await;
    lab.traffic(100).await;
    lab.get("/admin/memory").await;

    let after = verify(&url, &["1"]);
    assert_eq!(after.status.code(), Some(0), "{after:?}");
    let text = stdout(&after);
    assert!(
        text.starts_with("Exercise 1: done, 4 of 4 steps\n"),
        "{text}"
    );
    assert!(!text.contains("[ ]"), "{text}");

    let all = verify(&url, &[]);
    assert_eq!(all.status.code(), Some(1), "the others are not done");
    let text = stdout(&all);
    assert!(
        text.starts_with("Exercise 1: done, 4 of 4 steps\nExercise 2: not done"),
        "{text}"
    );
    assert_eq!(text.matches("Exercise ").count(), 6, "{text}");

    let json = verify(&url, &["2", "--format", "json"]);
    assert_eq!(json.status.code(), Some(1));
    let answer: Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(answer["exercise"], json!(2));
    assert_eq!(answer["steps"][0]["done"], json!(false));
    let list = verify(&url, &["--format", "json"]);
    let answer: Value = serde_json::from_str(&stdout(&list)).unwrap();
    assert_eq!(answer["exercises"][0]["done"], json!(true));
}

#[tokio::test]
async fn what_cannot_be_asked_says_what_to_do() {
    let lab = Lab::with(&LAB)
        .args(["--admin-token", "secret"])
        .start()
        .await;
    let url = lab.url("");
    let missing = error(&verify(&url, &["1"]));
    assert!(
        missing.contains("give it with --token or in LEAK_ADMIN_TOKEN"),
        "{missing}"
    );
    let wrong = error(&verify(&url, &["1", "--token", "guess"]));
    assert!(wrong.contains("refuses this token"), "{wrong}");
    assert!(
        !wrong.contains("guess"),
        "the error must not repeat the token: {wrong}"
    );
    let right = verify(&url, &["1", "--token", "secret"]);
    assert_eq!(right.status.code(), Some(1), "{right:?}");
    let unknown = error(&verify(&url, &["7", "--token", "secret"]));
    assert!(unknown.contains("there is no exercise 7"), "{unknown}");
    assert!(unknown.contains("without a number lists them"), "{unknown}");

    let nobody = format!("http://{}", free_address());
    let unreachable = error(&verify(&nobody, &[]));
    assert!(unreachable.contains(&nobody), "{unreachable}");
    assert!(
        unreachable.contains("start one with `leak-host`"),
        "{unreachable}"
    );
    let scheme = error(&verify("localhost:8080", &[]));
    assert!(scheme.contains("--url http://127.0.0.1:8080"), "{scheme}");
    let number = error(&verify(&url, &["first"]));
    assert!(number.contains("[NUMBER]"), "{number}");
}

#[tokio::test]
async fn a_service_without_the_admin_api_is_told_from_one_with_it() {
    let lab = Lab::with(&LAB)
        .args(["--admin-listen", "127.0.0.1:0"])
        .start()
        .await;
    let elsewhere = error(&verify(&lab.url(""), &[]));
    assert!(elsewhere.contains("--admin-listen"), "{elsewhere}");
}
