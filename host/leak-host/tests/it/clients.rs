//! Malicious and broken clients: whatever they send, the host serves all other clients.

mod limits;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::components::LAB;
use crate::lab::{Lab, WAIT_TIMEOUT, wait_for};

/// Files that may be open or closed by chance: the connections that the test's own client keeps,
/// and files that were open only while the test counted them.
const OPEN_FILES_TOLERANCE: usize = 8;

/// The resident memory that an idle connection may use: hyper's buffers and a task.
const IDLE_BYTES: f64 = 24.0 * 1024.0;

/// The files that the host has open, as the kernel counts them.
fn open_files(lab: &Lab) -> usize {
    fs::read_dir(lab.proc_folder().join("fd")).unwrap().count()
}

fn connect(lab: &Lab) -> TcpStream {
    let stream = TcpStream::connect(lab.address()).unwrap();
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    stream
}

/// Reads until the host closes the connection. It may do so by a reset.
fn read_until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

async fn wait_for_open_files(lab: &Lab, what: &str, expected: impl Fn(usize) -> bool) {
    wait_for(what, WAIT_TIMEOUT, async || {
        let open = open_files(lab);
        expected(open).then_some(()).ok_or(open)
    })
    .await;
}

async fn wait_until_accepted(lab: &Lab, expected: usize) {
    let what = format!("{expected} open files");
    wait_for_open_files(lab, &what, |open| open + OPEN_FILES_TOLERANCE >= expected).await;
}

async fn wait_until_closed(lab: &Lab, before: usize) {
    let what = format!("{before} open files, as before");
    wait_for_open_files(lab, &what, |open| open <= before + OPEN_FILES_TOLERANCE).await;
}

#[tokio::test]
async fn unfinished_requests_of_500_clients_delay_no_other_request() {
    let lab = Lab::with(&LAB).start().await;
    lab.enable("cache").await;
    lab.data().await;
    let before = open_files(&lab);
    let mut slow: Vec<TcpStream> = (0..500).map(|_| connect(&lab)).collect();
    for stream in &mut slow {
        stream
            .write_all(b"GET /api/data HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            .unwrap();
    }
    for _ in 0..20 {
        for stream in slow.iter_mut().step_by(10) {
            stream.write_all(b"a").unwrap();
        }
        lab.data().await;
    }
    let count = &lab.leak("cache").await["count"];
    assert_eq!(count, 21, "the host counts each finished request");
    drop(slow);
    wait_until_closed(&lab, before).await;
}

#[tokio::test]
async fn ten_thousand_idle_connections_use_little_memory_and_delay_no_request() {
    let lab = Lab::with(&LAB).start().await;
    lab.data().await;
    let (before, resident) = (open_files(&lab), lab.resident_bytes());
    // The limit of open files of the test process may allow fewer.
    let mut idle = Vec::new();
    while idle.len() < 10_000 {
        // At most as many at once as the kernel queues for a host that has not accepted them yet.
        // The kernel drops some of a larger batch, and a client learns that only when it sends.
        let some = (0..250).map_while(|_| TcpStream::connect(lab.address()).ok());
        let some: Vec<TcpStream> = some.collect();
        let all_opened = some.len() == 250;
        idle.extend(some);
        wait_until_accepted(&lab, before + idle.len()).await;
        if !all_opened {
            break;
        }
    }
    assert!(idle.len() >= 400, "only {} opened", idle.len());
    let started = Instant::now();
    lab.traffic(20).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    let each = (lab.resident_bytes() - resident) / idle.len() as f64;
    assert!(
        each < IDLE_BYTES,
        "{each:.0} bytes for each of {} connections",
        idle.len()
    );
    drop(idle);
    wait_until_closed(&lab, before).await;
}

#[tokio::test]
async fn a_client_that_stalls_is_disconnected() {
    let lab = Lab::with(&LAB).arg("--client-timeout=500ms").start().await;
    lab.enable("cache").await;
    let body =
        b"POST /admin/leaks/cache HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18\r\n\r\n{\"enabled\"";
    for (what, sent, expected) in [
        ("nothing", &b""[..], ""),
        ("half a header", b"GET /api/data HTTP/1.1\r\nHo", ""),
        ("half a body", body, "HTTP/1.1 408"),
        (
            "a request, then nothing",
            b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "HTTP/1.1 200",
        ),
    ] {
        let mut stream = connect(&lab);
        stream.write_all(sent).unwrap();
        let started = Instant::now();
        let answer = read_until_closed(&mut stream);
        let took = started.elapsed();
        assert!(
            (Duration::from_millis(400)..Duration::from_secs(10)).contains(&took),
            "{what}: {took:?}"
        );
        assert!(answer.starts_with(expected), "{what}: {answer}");
        assert_eq!(answer.is_empty(), expected.is_empty(), "{what}: {answer}");
    }
    // A new client, because the host has closed the connections that the lab's client kept.
    let leak = reqwest::get(lab.url("/admin/leaks/cache")).await.unwrap();
    let leak: Value = leak.json().await.unwrap();
    assert_eq!(leak["enabled"], true, "half a body changes nothing");
    let mut late = connect(&lab);
    late.write_all(b"GET /api/data HTTP/1.1\r\n").unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    late.write_all(b"Host: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "200 ms are in time: {answer}"
    );
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_refused_and_the_connection_is_closed() {
    let lab = Lab::with(&LAB).start().await;
    for (what, count, length) in [("many", 5_000, 10), ("long", 8, 128 * 1024)] {
        let mut stream = connect(&lab);
        let mut request = b"GET /api/data HTTP/1.1\r\nHost: localhost\r\n".to_vec();
        for number in 0..count {
            request.extend(format!("X-{number}: {}\r\n", "a".repeat(length)).bytes());
        }
        request.extend(b"\r\n");
        // The host may close the connection before it has received everything.
        let _closed = stream.write_all(&request);
        let answer = read_until_closed(&mut stream);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
            "{what}: {answer}"
        );
        assert!(answer.is_empty() || is_json_error(&answer, "headers_too_large"));
        lab.data().await;
    }
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused() {
    let lab = Lab::with(&LAB).start().await;
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET /api/data\r\n\r\n",
        b"GET  /api/data HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"POST /admin/leaks/clear HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /admin/leaks/clear HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ] {
        let mut stream = connect(&lab);
        // The host may have closed the connection already.
        let _closed = stream.write_all(nonsense);
        let _closed = stream.shutdown(Shutdown::Write);
        let answer = read_until_closed(&mut stream);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{nonsense:?}: {answer}"
        );
        lab.data().await;
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered_with_a_json_error() {
    let lab = Lab::with(&LAB).start().await;
    let mut headers = "GET /api/data HTTP/1.1\r\nHost: localhost\r\n".to_owned();
    for number in 0..200 {
        headers += &format!("X-{number}: 1\r\n");
    }
    let address = format!("GET /{} HTTP/1.1\r\n", "a".repeat(65_535));
    for (request, status, code) in [
        ("GET /api/data\r\n\r\n", "400", "malformed_request"),
        (&(headers + "\r\n"), "431", "headers_too_large"),
        (&address, "431", "headers_too_large"),
    ] {
        let mut stream = connect(&lab);
        stream.write_all(request.as_bytes()).unwrap();
        let answer = read_until_closed(&mut stream);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(is_json_error(&answer, code), "{answer}");
    }
}

/// Whether the body of this answer is complete and the error of this code.
fn is_json_error(answer: &str, code: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return false;
    };
    let length = format!("content-length: {}", body.len());
    let error: Value = serde_json::from_str(body).unwrap_or_default();
    head.contains("content-type: application/json")
        && head.contains(&length)
        && error["error"]["code"] == code
        && error["error"]["hint"].is_string()
}

#[tokio::test]
async fn a_client_that_disconnects_does_not_cancel_its_call() {
    let lab = Lab::with(&["fixture-sleeps"]).start().await;
    let settings = json!({"enabled": true, "sleep_ms": 150});
    lab.configure("fixture-sleeps", settings).await;
    let mut client = connect(&lab);
    client
        .write_all(b"GET /api/data HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(client);
    // This request waits for the first call, which is still running.
    let answer = lab.data().await;
    assert_eq!(answer["leaks_triggered"], json!(["fixture-sleeps"]));
    let status = lab.leak("fixture-sleeps").await;
    assert_eq!(
        (&status["state"], &status["count"]),
        (&json!("running"), &json!(2))
    );
}
