//! Clients that mean no good, or know no better: whatever they send, everybody else is served.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::components::LAB;
use crate::lab::Lab;

/// What the kernel says the host has open.
fn open_files(lab: &Lab) -> usize {
    fs::read_dir(format!("/proc/{}/fd", lab.pid()))
        .unwrap()
        .count()
}

fn connect(lab: &Lab) -> TcpStream {
    let stream = TcpStream::connect(lab.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
}

async fn takes(lab: &Lab, expected: usize) {
    let started = Instant::now();
    // What was open for a moment when it was counted before is not any more.
    while open_files(lab) + 8 < expected {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{} files are open, not {expected}",
            open_files(lab)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn closes_what_is_gone(lab: &Lab, before: usize) {
    let started = Instant::now();
    // The test's own client keeps some connections.
    while open_files(lab) > before + 8 {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{} files are open, {before} were",
            open_files(lab)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn half_a_thousand_that_never_finish_their_request_keep_nobody_waiting() {
    let lab = Lab::with(&LAB).start().await;
    lab.enable("cache").await;
    lab.data().await;
    let before = open_files(&lab);
    let mut slow: Vec<TcpStream> = (0..500).map(|_| connect(&lab)).collect();
    for stream in &mut slow {
        stream
            .write_all(b"GET /api/data HTTP/1.1\r\nHost: lab\r\nX-Slow: ")
            .unwrap();
    }
    for _ in 0..20 {
        for stream in slow.iter_mut().step_by(10) {
            stream.write_all(b"a").unwrap();
        }
        lab.data().await;
    }
    assert_eq!(lab.leak("cache").await["count"], 21, "and each is counted");
    drop(slow);
    closes_what_is_gone(&lab, before).await;
}

/// What an idle connection may cost in resident memory: hyper's buffers and a task.
const IDLE_BYTES: f64 = 24.0 * 1024.0;

#[tokio::test]
async fn ten_thousand_idle_connections_cost_some_memory_and_nobody_else_a_thing() {
    let lab = Lab::with(&LAB).start().await;
    lab.data().await;
    let (before, resident) = (open_files(&lab), lab.resident_bytes());
    // What this process may open bounds what it can try.
    let mut idle = Vec::new();
    while idle.len() < 10_000 {
        // No more at once than the kernel keeps for a host that has not accepted them yet: past that it
        // forgets some, which their client only learns when it sends something.
        let some = (0..250).map_while(|_| TcpStream::connect(lab.address()).ok());
        let some: Vec<TcpStream> = some.collect();
        let all_opened = some.len() == 250;
        idle.extend(some);
        takes(&lab, before + idle.len()).await;
        if !all_opened {
            break;
        }
    }
    assert!(idle.len() >= 400, "only {} were opened", idle.len());
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
    closes_what_is_gone(&lab, before).await;
}

#[tokio::test]
async fn a_client_that_does_not_go_on_is_let_go() {
    let lab = Lab::with(&LAB).arg("--client-timeout=500ms").start().await;
    lab.enable("cache").await;
    let body =
        b"POST /admin/leaks/cache HTTP/1.1\r\nHost: lab\r\nContent-Length: 18\r\n\r\n{\"enabled\"";
    for (what, sent, answered) in [
        ("nothing", &b""[..], ""),
        ("half a header", b"GET /api/data HTTP/1.1\r\nHo", ""),
        ("half a body", body, "HTTP/1.1 400"),
        (
            "a request, and then nothing",
            b"GET /health HTTP/1.1\r\nHost: lab\r\n\r\n",
            "HTTP/1.1 200",
        ),
    ] {
        let mut stream = connect(&lab);
        stream.write_all(sent).unwrap();
        let started = Instant::now();
        let mut answer = Vec::new();
        // Until it closes; that it does so by a reset is as good.
        let _reset = stream.read_to_end(&mut answer);
        let took = started.elapsed();
        assert!(
            (Duration::from_millis(400)..Duration::from_secs(10)).contains(&took),
            "{what}: {took:?}"
        );
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(answered), "{what}: {answer}");
        assert_eq!(answer.is_empty(), answered.is_empty(), "{what}: {answer}");
    }
    // A client of its own, since the host has closed what the lab's keeps open.
    let leak = reqwest::get(lab.url("/admin/leaks/cache")).await.unwrap();
    let leak: serde_json::Value = leak.json().await.unwrap();
    assert_eq!(leak["enabled"], true, "half a body did nothing");
    let mut late = connect(&lab);
    late.write_all(b"GET /api/data HTTP/1.1\r\n").unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    late.write_all(b"Host: lab\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "in time: {answer}");
}

#[tokio::test]
async fn headers_without_end_are_refused_and_the_connection_closed() {
    let lab = Lab::with(&LAB).start().await;
    for (what, count, length) in [("many", 5_000, 10), ("long", 8, 128 * 1024)] {
        let mut stream = connect(&lab);
        let mut request = b"GET /api/data HTTP/1.1\r\nHost: lab\r\n".to_vec();
        for number in 0..count {
            request.extend(format!("X-{number}: {}\r\n", "a".repeat(length)).bytes());
        }
        request.extend(b"\r\n");
        // It may close before all has arrived.
        let _refused = stream.write_all(&request);
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
            "{what}: {answer}"
        );
        lab.data().await;
    }
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let lab = Lab::with(&LAB).start().await;
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET /api/data\r\n\r\n",
        b"GET  /api/data HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"POST /admin/leaks/clear HTTP/1.1\r\nHost: lab\r\nContent-Length: -1\r\n\r\n",
        b"POST /admin/leaks/clear HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ] {
        let mut stream = connect(&lab);
        let _closed = stream.write_all(nonsense);
        // It may have closed already.
        let _closed = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{nonsense:?}: {answer}"
        );
        lab.data().await;
    }
}

#[tokio::test]
async fn one_that_goes_away_does_not_end_the_call_that_it_asked_for() {
    let lab = Lab::with(&["fixture-sleeps"]).start().await;
    let settings = json!({"enabled": true, "sleep_ms": 150});
    lab.post("/admin/leaks/fixture-sleeps", settings).await;
    let mut client = connect(&lab);
    client
        .write_all(b"GET /api/data HTTP/1.1\r\nHost: lab\r\n\r\n")
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(client);
    // It waits for its turn behind the call that is still under way.
    let answer = lab.data().await;
    assert_eq!(answer["leaks_triggered"], json!(["fixture-sleeps"]));
    let status = lab.leak("fixture-sleeps").await;
    assert_eq!(
        (&status["state"], &status["count"]),
        (&json!("running"), &json!(2))
    );
}
