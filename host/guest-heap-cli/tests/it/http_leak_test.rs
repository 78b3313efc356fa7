//! `guest-heap test --http`.

use crate::program::{Program, line_of};

#[test]
fn a_service_that_leaks_fails_with_its_line() {
    for (component, source, comment) in [
        ("http_service", "http-service/src/lib.rs", "request"),
        (
            "async_http_service",
            "async-http-service/src/lib.rs",
            "async-request",
        ),
    ] {
        let ran = Program::on(component).run("test", &["--http", "/leak"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let verdict =
            "FAILED: your code leaks: 1 line grew in every window, by 100 bytes per round";
        assert!(ran.stdout.starts_with(verdict), "{ran:?}");
        let leak = format!(
            "100         1.00  leak      {source}:{} in ",
            line_of(source, comment)
        );
        assert!(ran.stdout.contains(&leak), "{ran:?}");
        assert!(ran.stdout.contains("attribution: exact"), "{ran:?}");
    }
}

#[test]
fn a_service_that_does_not_leak_passes() {
    let program = Program::on("http_service");
    let requests = [
        "--http",
        "/fine",
        "--http",
        "GET /cache",
        "--http",
        "POST /echo a=b",
    ];
    let ran = program.run("test", &requests);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout.starts_with("passed: no leak in 100 rounds\n"),
        "{ran:?}"
    );
}

#[test]
fn requests_come_from_a_file_and_failures_are_noted() {
    let program = Program::on("http_service");
    let file = "GET /fine\nGET /missing\n\n### the next one\nPOST /leak\nX-Test: 1\n\nbody\n";
    std::fs::write(program.folder.path().join("requests.http"), file).unwrap();
    let options = ["--http-file", "requests.http", "--format", "json"];
    let ran = program.run("test", &options);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let calls: Vec<&str> = report["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call.as_str().unwrap())
        .collect();
    assert_eq!(calls, ["GET /fine", "GET /missing", "POST /leak"]);
    assert_eq!(report["verdict"], "leak");
    assert_eq!(
        report["failed_requests"][0],
        "GET /missing was answered 120 times with 404 Not Found"
    );
}

#[test]
fn what_cannot_be_tested_is_an_error() {
    let line = line_of("http-service/src/lib.rs", "trap");
    let trap = format!("http-service/src/lib.rs:{line} in ");
    for (component, options, error) in [
        (
            "http_service",
            &["--http", "/trap"] as &[&str],
            trap.as_str(),
        ),
        (
            "http_service",
            &["--http", "/silent"],
            "`GET /silent` has failed: guest never invoked",
        ),
        (
            "http_service",
            &["--http", "/once"],
            "the instance has answered its first request and none after it",
        ),
        ("http_service", &["--http", "fine"], "names no path"),
        (
            "http_service",
            &["--http-file", "missing.http"],
            "--http-file missing.http",
        ),
        (
            "leaks",
            &["--http", "/"],
            "the component is no HTTP service",
        ),
        ("http_service", &[], "\n  --http 'GET /'\n"),
    ] {
        let ran = Program::on(component).run("test", options);
        assert_eq!(ran.code, Some(2), "{options:?}: {ran:?}");
        assert!(ran.stderr.contains(error), "{options:?}: {ran:?}");
    }
}
