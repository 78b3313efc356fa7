//! Growth per request of services whose blocks are not seen, and of busy ones.
#![cfg(unix)]

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::program::{Program, line_of};
use crate::serve::{growth_of, inspected};
use crate::server::{Server, open, receive};

/// A component without an allocator: each call of `grow` takes a page.
const GROWS: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "grow") (drop (memory.grow (i32.const 1))))
    (func (export "nothing")))
  (core instance $i (instantiate $m))
  (func (export "grow") (canon lift (core func $i "grow")))
  (func (export "nothing") (canon lift (core func $i "nothing"))))"#;

/// The growth of linear memory per request of a path, in bytes.
fn linear_of_path(requests: &Value, path: &str) -> Option<f64> {
    let paths = requests["paths"].as_array().unwrap();
    let path = paths.iter().find(|row| row["path"] == path)?;
    assert_eq!(path["bytes_per_request"], Value::Null);
    path["linear_memory_bytes_per_request"].as_f64()
}

#[test]
fn growth_of_linear_memory_is_shown_where_blocks_are_not_measured() {
    let server = Server::start("http_service", &["--no-profile"]);
    assert_eq!(server.get("/fine").status, 200);
    for _ in 0..4 {
        assert_eq!(server.get("/grow").status, 200);
    }
    assert_eq!(server.get("/fine").status, 200);
    let requests = server.requests();
    assert_eq!(requests["attribution"], "off", "{requests}");
    assert_eq!(requests["live_bytes"], Value::Null, "{requests}");
    assert_eq!(requests["growth"]["bytes_per_request"], Value::Null);
    // Each request keeps 8 MiB.
    let grown = linear_of_path(&requests, "GET /grow").unwrap();
    assert!((8e6..9e6).contains(&grown), "{requests}");
    let fine = linear_of_path(&requests, "GET /fine").unwrap();
    assert!(fine < 1e6, "{requests}");
    let growth = requests["growth"]["linear_memory_bytes_per_request"].as_f64();
    assert!(growth.unwrap() > 4e6, "{requests}");
    let snapshot = inspected(&server, 6);
    assert_eq!(snapshot["live_bytes"], Value::Null, "{snapshot}");
    let linear = snapshot["guests"][0]["linear_memory_bytes"].as_f64();
    assert!(linear.unwrap() > 32e6, "{snapshot}");
    let page = server.admin("/debug/heap/").text();
    assert!(page.contains("not measured"), "{page}");
    let text = server.admin("/debug/requests").text();
    assert!(!text.contains("+0 bytes in +0.00 blocks"), "{text}");
    let ran = server.stop(Signal::TERM);
    for line in [
        "live: not measured, because",
        ": live bytes not measured; linear memory +",
    ] {
        assert!(ran.stderr.contains(line), "{ran:?}");
    }
}

#[test]
fn a_test_of_an_unseen_allocator_measures_linear_memory() {
    let program = Program::on_bytes(&wat::parse_str(GROWS).unwrap());
    let leak = program.run("test", &["--invoke", "grow()", "--format", "json"]);
    assert_eq!(leak.code, Some(1), "{leak:?}");
    let report: Value = serde_json::from_str(&leak.stdout).unwrap();
    assert_eq!(report["verdict"], "unseen-growth", "{report}");
    assert_eq!(report["bytes_per_round"], Value::Null, "{report}");
    assert_eq!(
        report["linear_memory_bytes_per_round"], 65_536.0,
        "{report}"
    );
    let accepted = ["--invoke", "grow()", "--max-bytes-per-call", "65536"];
    assert_eq!(program.run("test", &accepted).code, Some(0));
    let sound = program.run("test", &["--invoke", "nothing()", "--max-live", "1000"]);
    assert_eq!(sound.code, Some(1), "{sound:?}");
    for line in [
        "FAILED: --max-live 1000 cannot be checked",
        "live: not measured; linear memory: ",
    ] {
        assert!(sound.stdout.contains(line), "{sound:?}");
    }
    let ran = program.run("run", &["--invoke", "grow()", "--output", "heap.json"]);
    assert!(ran.stderr.contains("live: not measured"), "{ran:?}");
    let heap = std::fs::read(program.folder.path().join("heap.json")).unwrap();
    let heap: Value = serde_json::from_slice(&heap).unwrap();
    assert_eq!(heap["live_bytes"], Value::Null, "{heap}");
    assert_eq!(heap["linear_memory_bytes"], 2 * 65_536, "{heap}");
}

#[test]
fn requests_in_progress_are_no_growth() {
    let server = Server::start("async_http_service", &[]);
    let source = "async-http-service/src/lib.rs";
    let leak = format!("{source}:{}", line_of(source, "async-request"));
    let wave = || -> Vec<_> {
        let requests = (0..8).map(|_| open(&server.service, "GET", "/slow-leak", ""));
        requests.collect()
    };
    for _ in 0..2 {
        for stream in wave() {
            assert_eq!(receive(stream).status, 200);
        }
    }
    // Each request in progress holds 10,000 bytes more.
    let waiting = wave();
    let requests = server.requests();
    assert_eq!(growth_of(&requests, &leak), Some(100.0), "{requests}");
    let growth = &requests["growth"];
    assert_eq!(growth["is_approximate"], json!(false), "{requests}");
    assert!(
        growth["bytes_per_request"].as_f64().unwrap() < 300.0,
        "{requests}"
    );
    for stream in waiting {
        assert_eq!(receive(stream).status, 200);
    }
}

#[test]
fn a_guest_that_is_never_idle_gives_an_approximate_growth() {
    let server = Server::start("async_http_service", &[]);
    let never = open(&server.service, "GET", "/never", "");
    for _ in 0..8 {
        assert_eq!(server.get("/leak").status, 200);
    }
    let requests = server.requests();
    assert_eq!(requests["growth"]["is_approximate"], true, "{requests}");
    let text = server.admin("/debug/requests").text();
    assert!(
        text.contains("approximate: requests were in progress"),
        "{text}"
    );
    drop(never);
}
