//! Bodies over the limit, on a real connection: the client gets its answer whether it has sent the
//! body or not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use test_support::leak_states;

use crate::components::LAB;
use crate::lab::Lab;

const CACHE: &str = "/admin/leaks/cache";

/// The part of the status that a failed call must not change.
async fn state(lab: &Lab) -> Value {
    leak_states(&lab.get("/admin/leaks/status?all=true").await)
}

/// A lab in which every value that a failed call could change differs from its default.
async fn changed_lab() -> Lab {
    let lab = Lab::with(&LAB).start().await;
    lab.post(
        "/admin/leaks/history",
        json!({"enabled": true, "payload_bytes": 2048}),
    )
    .await;
    lab.traffic(3).await;
    lab
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_has_arrived() {
    let lab = changed_lab().await;
    let before = state(&lab).await;
    let mut connection = TcpStream::connect(lab.address()).unwrap();
    let length = 16 << 20;
    let head =
        format!("POST {CACHE} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    connection.write_all(head.as_bytes()).unwrap();
    connection
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut answer = String::new();
    // The host may end the connection after its answer, or wait for more.
    let _ended = connection.take(4096).read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains(r#""code":"body_too_large""#), "{answer}");
    assert_eq!(state(&lab).await, before);
}

/// A client that sends the whole body before it reads gets the answer too.
#[tokio::test]
async fn a_large_body_is_answered_after_it_was_sent() {
    let lab = changed_lab().await;
    let before = state(&lab).await;
    let body = vec![b' '; 3 << 20];
    let length = format!("content-length: {}", body.len());
    let chunk = [
        format!("{:x}\r\n", body.len()).as_bytes(),
        &body,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    for call in [format!("POST {CACHE}"), "GET /api/data".to_owned()] {
        for (framing, sent) in [(&*length, &body), ("transfer-encoding: chunked", &chunk)] {
            for _ in 0..10 {
                let mut connection = TcpStream::connect(lab.address()).unwrap();
                let head = format!(
                    "{call} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{framing}\r\n\r\n"
                );
                connection.write_all(head.as_bytes()).unwrap();
                connection.write_all(sent).unwrap();
                let mut answer = String::new();
                connection.read_to_string(&mut answer).unwrap();
                assert!(
                    answer.starts_with("HTTP/1.1 413 "),
                    "{call} {framing}: {answer}"
                );
                assert!(answer.contains(r#""code":"body_too_large""#), "{answer}");
            }
        }
    }
    assert_eq!(state(&lab).await, before);
}
