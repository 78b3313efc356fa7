//! The options that restrict the admin API: a token, and a port of its own.

use std::io::{Read, Write};
use std::net::TcpStream;

use reqwest::Method;
use serde_json::json;

use crate::components::LAB;
use crate::lab::{Answer, Lab, LabBuilder, free_address};

const TOKEN: &str = "correct-horse-battery";

/// Checks that the host requires the token and does not log it.
async fn requires_the_token(builder: LabBuilder) {
    let lab = builder.start().await;
    for (token, status) in [(None, 401), (Some("wrong"), 401), (Some(TOKEN), 200)] {
        let mut request = lab.request(Method::GET, "/admin/leaks/status");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, status, "{token:?}: {}", answer.text);
    }
    lab.data().await;
    assert!(!lab.output().contains(TOKEN), "the log has the token");
}

#[tokio::test]
async fn the_admin_token_is_an_option() {
    requires_the_token(Lab::with(&LAB).arg("--admin-token").arg(TOKEN)).await;
}

#[tokio::test]
async fn the_admin_token_is_an_environment_variable() {
    requires_the_token(Lab::with(&LAB).env("LEAK_ADMIN_TOKEN", TOKEN)).await;
}

#[tokio::test]
async fn admin_listen_moves_the_admin_api_to_its_own_port() {
    let admin = free_address();
    let lab = Lab::with(&LAB)
        .arg("--admin-listen")
        .arg(&admin)
        .start()
        .await;
    for path in ["/admin/leaks/status", "/admin/memory", "/admin/plugins"] {
        let moved = Answer::of(lab.request(Method::GET, path)).await;
        assert_eq!(moved.status, 404, "{path} is on the service's port");
        assert_eq!(moved.error_code(path), "not_found");
        let there = Answer::of(lab.http().get(format!("http://{admin}{path}"))).await;
        assert_eq!(there.status, 200, "{path}: {}", there.text);
    }
    lab.data().await;
    let enabled = lab.http().post(format!("http://{admin}/admin/leaks/cache"));
    let enabled = Answer::of(enabled.body(r#"{"enabled":true}"#)).await;
    assert_eq!(enabled.status, 200);
    assert_eq!(lab.data().await["leaks_triggered"], json!(["cache"]));
}

/// The first line of the answer to these bytes.
fn status_line(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_console_and_the_admin_api_answer_only_under_known_names() {
    let by_option = Lab::with(&LAB).args(["--allowed-host", "leak-lab,shop.example:8000"]);
    let by_variable = Lab::with(&LAB).env("LEAK_ALLOWED_HOST", "leak-lab,shop.example:8000");
    for builder in [by_option, by_variable] {
        let lab = builder.start().await;
        for path in ["/", "/console/main.js", "/console/events", "/admin/memory"] {
            for (name, expected) in [
                ("leak-lab:1234", "200"),
                ("shop.example:8000", "200"),
                ("shop.example", "421"),
                ("evil.example", "421"),
                ("localhost", "200"),
            ] {
                let mut stream = TcpStream::connect(lab.address()).unwrap();
                let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n");
                stream.write_all(request.as_bytes()).unwrap();
                // Not the whole answer: the stream of events does not end.
                let mut start = [0; 12];
                stream.read_exact(&mut start).unwrap();
                let start = String::from_utf8_lossy(&start).into_owned();
                assert!(start.ends_with(expected), "{path} under {name}: {start}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_without_one_host_header_is_malformed() {
    let lab = Lab::with(&LAB).start().await;
    lab.enable("cache").await;
    for path in ["/api/data", "/health", "/admin/leaks/status", "/nope"] {
        for (headers, version, refused) in [
            ("", "1.1", true),
            ("Host: localhost\r\nHost: localhost\r\n", "1.1", true),
            ("Host: localhost\r\nHost: evil.example\r\n", "1.1", true),
            ("Host: a b\r\n", "1.1", true),
            ("Host: localhost\r\nHost: localhost\r\n", "1.0", true),
            ("Host: localhost\r\n", "1.1", false),
        ] {
            let line = status_line(
                lab.address(),
                &format!("GET {path} HTTP/{version}\r\n{headers}Connection: close\r\n\r\n"),
            );
            assert_eq!(
                line.contains(" 400 "),
                refused,
                "{path} {headers:?}: {line}"
            );
        }
    }
    assert_eq!(
        lab.leak("cache").await["count"],
        1,
        "only the valid one leaks"
    );
    let old = status_line(lab.address(), "GET /health HTTP/1.0\r\n\r\n");
    assert!(old.contains(" 200 "), "HTTP/1.0 has no Host header: {old}");
}

#[test]
fn a_wrong_allowed_host_stops_the_start() {
    for wrong in ["*", "http://leak-lab", "127.0.0.1", "leak lab"] {
        let (status, output) = Lab::with(&[])
            .args(["--allowed-host", wrong])
            .run_to_the_end();
        assert_eq!(status.code(), Some(2), "{wrong}: {output}");
        assert!(output.contains("--allowed-host"), "{wrong}: {output}");
    }
}
