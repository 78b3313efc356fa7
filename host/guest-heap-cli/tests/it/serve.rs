//! `guest-heap serve`.
#![cfg(unix)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::program::{Program, line_of};
use crate::server::{Server, open, receive};

const SOURCE: &str = "http-service/src/lib.rs";
const ASYNC_SOURCE: &str = "async-http-service/src/lib.rs";

/// The inspector's snapshot after a number of requests. A reading is shared for a moment.
pub(crate) fn inspected(server: &Server, requests: u64) -> serde_json::Value {
    let started = Instant::now();
    loop {
        let body = server.admin("/debug/heap/snapshot").body;
        let snapshot: serde_json::Value = serde_json::from_slice(&body).unwrap();
        if snapshot["guests"][0]["calls"] == requests {
            return snapshot;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{snapshot}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The growth of a line of `/debug/requests`, in bytes per request.
pub(crate) fn growth_of(requests: &serde_json::Value, line: &str) -> Option<f64> {
    let lines = requests["growth"]["lines"].as_array().unwrap();
    let line = lines.iter().find(|row| row["location"] == line)?;
    line["bytes_per_request"].as_f64()
}

fn bytes_of_path(requests: &serde_json::Value, path: &str) -> Option<f64> {
    let paths = requests["paths"].as_array().unwrap();
    let path = paths.iter().find(|row| row["path"] == path)?;
    path["bytes_per_request"].as_f64()
}

#[test]
fn the_leaking_line_and_path_are_shown_while_serving_and_at_the_end() {
    let server = Server::start("http_service", &["--output", "heap.json"]);
    let leak = format!("{SOURCE}:{}", line_of(SOURCE, "request"));
    assert_eq!(
        server.post("/echo?a=b", "hello").text(),
        "Method::Post hello"
    );
    for _ in 0..32 {
        assert_eq!(server.get("/leak").status, 200);
    }
    let requests = server.requests();
    assert_eq!(requests["requests"], 33);
    assert_eq!(requests["instance"], 1);
    assert_eq!(growth_of(&requests, &leak), Some(100.0), "{requests}");
    let per_leak = bytes_of_path(&requests, "GET /leak").unwrap();
    assert!((100.0..150.0).contains(&per_leak), "{requests}");
    assert_eq!(bytes_of_path(&requests, "POST /echo"), Some(0.0));
    assert_eq!(requests["attribution"], "exact");
    assert_eq!(requests["growth"]["is_approximate"], false);

    let text = server.admin("/debug/requests").text();
    assert!(
        text.contains(&format!("+100          +1.00  {leak} in ")),
        "{text}"
    );
    let profile = server.admin("/debug/pprof/heap");
    assert_eq!(profile.body[..2], [0x1F, 0x8B]);
    assert_eq!(server.admin("/debug/requests?format=xml").status, 400);
    // The inspector.
    assert_eq!(server.admin("/").status, 307);
    let page = server.admin("/debug/heap/").text();
    assert!(page.contains("Heap of app"), "{page}");
    let snapshot = inspected(&server, 33);
    assert_eq!(snapshot["guests"][0]["guest"], "app", "{snapshot}");
    assert!(snapshot.to_string().contains(&leak), "{snapshot}");

    let ran = server.stop(Signal::TERM);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stderr.contains("instance 1 has handled 33 requests\n"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("attribution: exact"), "{ran:?}");
    let row = ran.stderr.lines().find(|row| row.contains(&leak)).unwrap();
    assert!(row.contains("3,200        32"), "{row}");
    assert!(ran.stderr.contains("written: heap.json"), "{ran:?}");
}

#[test]
fn what_does_not_leak_leaves_nothing_behind() {
    let server = Server::start("http_service", &[]);
    server.get("/cache");
    for _ in 0..16 {
        assert_eq!(server.get("/cache").status, 200);
        assert_eq!(server.get("/fine").status, 200);
    }
    let requests = server.requests();
    assert_eq!(requests["growth"]["bytes_per_request"], 0.0, "{requests}");
    assert_eq!(requests["growth"]["lines"].as_array().unwrap().len(), 0);
    assert_eq!(bytes_of_path(&requests, "GET /fine"), Some(0.0));
    let ran = server.stop(Signal::INT);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn the_next_instance_takes_over_after_a_trap_or_a_loop() {
    let server = Server::start("http_service", &["--timeout", "500ms"]);
    assert_eq!(server.get("/leak").status, 200);
    assert_eq!(server.get("/trap").status, 500);
    assert_eq!(server.get("/fine").status, 200);
    assert_eq!(server.get("/spin").status, 504);
    assert_eq!(server.get("/fine").status, 200);
    assert_eq!(server.get("/silent").status, 500);
    assert_eq!(server.get("/missing").status, 404);
    let requests = server.requests();
    assert_eq!(requests["ended"]["trapped"], 1, "{requests}");
    assert_eq!(requests["ended"]["timed out"], 1, "{requests}");
    let ran = server.stop(Signal::TERM);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stderr
            .contains("instance 1 has ended after 1 requests with 12,"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("the guest has trapped: wasm trap"),
        "{ran:?}"
    );
    assert!(
        ran.stderr
            .contains("instance 2 has ended after 1 requests with 5 live bytes"),
        "{ran:?}"
    );
}

#[test]
fn the_heap_at_the_last_trap_is_reported() {
    let server = Server::start("http_service", &[]);
    assert_eq!(server.get("/trap").status, 500);
    let ran = server.stop(Signal::TERM);
    let line = line_of(SOURCE, "trap");
    assert!(
        ran.stderr
            .contains("heap of the last instance that failed, after 0 requests"),
        "{ran:?}"
    );
    let trap = format!("{SOURCE}:{line} in ");
    let row = ran.stderr.lines().find(|row| row.contains(&trap)).unwrap();
    assert!(row.contains("12,345         1"), "{row}");
}

#[test]
fn a_client_that_leaves_costs_one_instance_and_no_other_request() {
    let server = Server::start("http_service", &[]);
    for _ in 0..3 {
        let mut stream = open(&server.service, "GET", "/large", "");
        stream.read_exact(&mut [0; 100]).unwrap();
        drop(stream);
        assert_eq!(server.get("/fine").status, 200);
    }
    assert_eq!(server.requests()["ended"]["trapped"], 3);
    assert_eq!(server.get("/large").body.len(), 16 << 20);
}

#[test]
fn memory_and_queue_are_limited() {
    let server = Server::start("http_service", &["--max-memory", "4MiB"]);
    assert_eq!(server.get("/fine").status, 200);
    assert_eq!(server.get("/grow").status, 500);
    assert_eq!(server.get("/fine").status, 200);
    let ran = server.stop(Signal::TERM);
    assert!(ran.stderr.contains("more than --max-memory"), "{ran:?}");

    let options = ["--max-queued", "1", "--timeout", "2s"];
    let server = Server::start("http_service", &options);
    let streams: Vec<_> = (0..6)
        .map(|_| open(&server.service, "GET", "/spin", ""))
        .collect();
    let statuses: Vec<u16> = streams.into_iter().map(|it| receive(it).status).collect();
    assert!(statuses.contains(&503), "{statuses:?}");
    assert!(statuses.contains(&504), "{statuses:?}");
}

#[test]
fn a_service_of_wasi_0_3_handles_requests_while_others_wait() {
    let server = Server::start("async_http_service", &["--timeout", "2s"]);
    let leak = format!("{ASYNC_SOURCE}:{}", line_of(ASYNC_SOURCE, "async-request"));
    let waiting = open(&server.service, "GET", "/never", "");
    for _ in 0..32 {
        let answer = server.get("/leak");
        assert_eq!((answer.status, answer.body.len()), (200, 191), "{answer:?}");
    }
    let requests = server.requests();
    assert_eq!(growth_of(&requests, &leak), Some(100.0), "{requests}");
    assert_eq!(receive(waiting).status, 504);
    let slow: Vec<_> = (0..20)
        .map(|_| open(&server.service, "GET", "/slow", ""))
        .collect();
    for stream in slow {
        assert_eq!(receive(stream).status, 200);
    }
    assert_eq!(server.requests()["instance"], 1);
    assert_eq!(server.get("/spin").status, 504);
    assert_eq!(server.get("/trap").status, 500);
    assert_eq!(server.get("/leak").status, 200);
    assert_eq!(server.requests()["instance"], 3);
}

#[test]
fn the_heap_answers_under_no_name_of_another_machine() {
    let server = Server::start("http_service", &[]);
    let ask = |host: &str| {
        let mut stream = TcpStream::connect(&server.admin).unwrap();
        let request = format!("GET /debug/requests HTTP/1.0\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("evil.example").contains(" 421 "));
    assert!(ask("localhost:8081").contains(" 200 "));
}

#[test]
fn an_instance_per_request_keeps_nothing() {
    let server = Server::start("http_service", &["--instance-per-request"]);
    for _ in 0..5 {
        assert_eq!(server.get("/leak").status, 200);
    }
    assert_eq!(server.get("/trap").status, 500);
    let ran = server.stop(Signal::TERM);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stderr
            .contains("6 instances have handled one request each; 1 trapped"),
        "{ran:?}"
    );
    let row = ran.stderr.lines().find(|row| row.ends_with("GET /leak"));
    assert!(row.is_some_and(|row| row.contains(" 5  GET")), "{ran:?}");
}

#[test]
fn a_plain_component_is_served_too() {
    let server = Server::start("http_service", &["--no-profile"]);
    assert_eq!(server.get("/leak").status, 200);
    let ran = server.stop(Signal::TERM);
    for line in [
        "attribution: off: --no-profile\n",
        "live: not measured, because the profiler sees no allocation\n",
    ] {
        assert!(ran.stderr.contains(line), "{ran:?}");
    }
}

#[test]
fn what_cannot_be_served_is_refused() {
    for (program, options, error) in [
        (
            "command",
            &[] as &[&str],
            "the component is no HTTP service",
        ),
        (
            "http_service",
            &["--addr", "nowhere"],
            "cannot listen on --addr nowhere",
        ),
        ("http_service", &["--max-memory", "1KiB"], "memory"),
        (
            "http_service",
            &["--output", "heap.txt"],
            "must end in .pb.gz",
        ),
    ] {
        let ran = Program::on(program).run("serve", options);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(error), "{ran:?}");
    }
}

#[test]
fn handles_of_an_async_service_count_by_line_and_type() {
    let server = Server::start("async_http_service", &[]);
    inspected(&server, 0);
    for path in ["/keep-handles", "/", "/keep-handles", "/", "/"] {
        assert_eq!(server.get(path).status, 200);
    }
    let snapshot = inspected(&server, 5);
    let mut kept: Vec<(String, String, u64)> = snapshot["handles"]["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            (
                text("location"),
                text("type"),
                row["live"].as_u64().unwrap(),
            )
        })
        .collect();
    kept.sort();
    let row = |name: &str, ty: &str| {
        let location = format!("{ASYNC_SOURCE}:{}", line_of(ASYNC_SOURCE, name));
        (location, ty.to_owned(), 2)
    };
    let mut expected = vec![
        row("fields", "wasi:http/types.fields"),
        row("stream", "stream (readable end)"),
        row("stream", "stream (writable end)"),
        row("future", "future (writable end)"),
        // What says when the response has been sent. The future above is passed on.
        row("response", "future (readable end)"),
        row("response", "wasi:http/types.response"),
    ];
    expected.sort();
    assert_eq!(kept, expected, "{snapshot}");
    assert_eq!(snapshot["guests"][0]["live_handles"], 12);
    let diff = server.admin("/debug/heap/diff").body;
    let diff: serde_json::Value = serde_json::from_slice(&diff).unwrap();
    let changes = diff["handles"]["rows"].as_array().unwrap();
    assert_eq!(changes.len(), 6, "{diff}");
    assert!(changes.iter().all(|row| row["change"] == 2), "{diff}");
    let page = server.admin("/debug/heap/").text();
    assert!(page.contains("wasi:http/types.response"), "{page}");
    let metrics = server.admin("/debug/heap/metrics").text();
    assert!(
        metrics.contains("guest_heap_live_handles{guest=\"app\"} 12"),
        "{metrics}"
    );
    let ran = server.stop(Signal::TERM);
    assert!(ran.stderr.contains("handles: 12 live of "), "{ran:?}");
}

#[test]
fn the_verdict_is_in_the_inspector_and_in_the_report() {
    let server = Server::start("http_service", &[]);
    let leak = format!("{SOURCE}:{} (+", line_of(SOURCE, "request"));
    let started = Instant::now();
    let verdict = loop {
        for _ in 0..5 {
            assert_eq!(server.get("/leak").status, 200);
        }
        let snapshot = server.admin("/debug/heap/snapshot").body;
        let snapshot: serde_json::Value = serde_json::from_slice(&snapshot).unwrap();
        let verdict = snapshot["guests"][0]["verdict"].clone();
        if !verdict.is_null() {
            break verdict;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{snapshot}");
        std::thread::sleep(Duration::from_millis(300));
    };
    assert_eq!(verdict["name"], "leak", "{verdict}");
    assert_eq!(verdict["is_leak"], true, "{verdict}");
    let sentence = verdict["sentence"].as_str().unwrap();
    // A request may be answered and not yet counted when the heap is read.
    let bytes = sentence
        .split_once(&leak)
        .and_then(|(_, rest)| rest.split_once(')'));
    let bytes: f64 = bytes
        .unwrap_or_else(|| panic!("{sentence}"))
        .0
        .parse()
        .unwrap();
    assert!((90.0..110.0).contains(&bytes), "{sentence}");
    let page = server.admin("/debug/heap/").text();
    assert!(page.contains("your code leaks"), "{page}");
    let ran = server.stop(Signal::TERM);
    assert!(ran.stderr.contains("verdict: your code leaks"), "{ran:?}");
}
