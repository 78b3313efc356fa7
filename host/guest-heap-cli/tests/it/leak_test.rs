//! `guest-heap test`.

use crate::program::{Program, Ran, line_of};

fn test(call: &str, options: &[&str]) -> Ran {
    let call = format!("leaks:guest/{call}");
    let arguments = [&["--invoke", call.as_str()], options].concat();
    Program::on("leaks").run("test", &arguments)
}

#[test]
fn each_kind_of_leak_is_found_with_its_verdict() {
    let line = line_of("leaks/src/lib.rs", "unbounded-cache");
    let handle_line = line_of("leaks/src/lib.rs", "forget-handle");
    let handle = format!("handles: leaks/src/lib.rs:{handle_line} in ");
    let cache = format!("leak      leaks/src/lib.rs:{line} in ");
    for (call, verdict, row) in [
        (
            "leaking@1.0.0#forget-argument(\"some text\")",
            "FAILED: your code leaks: 1 line grew in every window, by 9 bytes per round",
            "leak      arguments of leaking#forget-argument",
        ),
        (
            "leaking@1.0.0#keep-list([1, 2, 3])",
            "FAILED: your code leaks: 1 line grew in every window, by 3 bytes per round",
            "leak      arguments of leaking#keep-list",
        ),
        (
            "leaking@1.0.0#unbounded-cache()",
            "FAILED: your code leaks: ",
            &cache,
        ),
        (
            "leaking@1.0.0#forget-handle()",
            "FAILED: handles leak: 1 line got more in every window, by 1 handle per round",
            &handle,
        ),
        (
            "leaking@1.0.0#growing-temporary()",
            "FAILED: your allocator holds free memory: linear memory grew in every window",
            "attribution: exact",
        ),
        (
            "leaking@1.0.0#fragmentation()",
            "FAILED: your allocator holds free memory: linear memory grew in every window",
            "attribution: exact",
        ),
    ] {
        let ran = test(call, &[]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stdout.starts_with(verdict), "{ran:?}");
        assert!(ran.stdout.contains(row), "{ran:?}");
    }
}

#[test]
fn leaking_handles_are_in_every_format() {
    let call = "leaking@1.0.0#forget-handle()";
    let line = line_of("leaks/src/lib.rs", "forget-handle");
    let json = test(call, &["--format", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["verdict"], "handles-leak");
    let handles = &json["handles"][0];
    assert_eq!(handles["type"], "wasi:io/streams.output-stream");
    assert_eq!(handles["handles_per_round"], 1.0);
    assert_eq!(handles["floors"].as_array().unwrap().len(), 5);
    let junit = test(call, &["--format", "junit"]).stdout;
    assert!(
        junit.contains("keeps 1 handles of type wasi:io/streams.output-stream"),
        "{junit}"
    );
    let github = test(call, &["--format", "github"]).stdout;
    let place = format!("::error file=leaks/src/lib.rs,line={line},title=guest-heap::");
    assert!(github.starts_with(&place), "{github}");

    let within = test("sound@1.0.0#pool()", &["--max-handles", "100"]);
    assert_eq!(within.code, Some(0), "{within:?}");
    let exceeded = test(call, &["--max-handles", "50"]);
    assert!(
        exceeded.stdout.contains("are more than --max-handles 50"),
        "{exceeded:?}"
    );
}

#[test]
fn what_only_looks_like_a_leak_passes() {
    for function in [
        "bounded-cache",
        "sawtooth",
        "doubling-buffer",
        "lazy-static",
        "pool",
        "slowing-cache",
    ] {
        let ran = test(&format!("sound@1.0.0#{function}()"), &[]);
        assert_eq!(ran.code, Some(0), "{function}: {ran:?}");
        assert!(
            ran.stdout.starts_with("passed: no leak in 100 rounds\n"),
            "{ran:?}"
        );
    }
    // With few rounds a cache that fills cannot be told from a leak.
    for (function, options) in [
        (
            "bounded-cache",
            &["--warm-up", "0", "--windows", "3", "--rounds", "3"] as &[&str],
        ),
        ("slowing-cache", &["--rounds", "3"]),
    ] {
        let few = test(&format!("sound@1.0.0#{function}()"), options);
        assert_eq!(few.code, Some(2), "{function}: {few:?}");
        assert!(few.stdout.starts_with("undecided: "), "{few:?}");
    }
    let filling = test(
        "sound@1.0.0#slowing-cache()",
        &["--warm-up", "0", "--windows", "3"],
    );
    assert_eq!(filling.code, Some(0), "{filling:?}");
    assert!(
        filling
            .stdout
            .starts_with("passed: it is filling a cache: 1 line"),
        "{filling:?}"
    );
}

#[test]
fn the_same_component_gives_the_same_answer() {
    let first = test("leaking@1.0.0#unbounded-cache()", &["--format", "json"]);
    for _ in 0..2 {
        let again = test("leaking@1.0.0#unbounded-cache()", &["--format", "json"]);
        assert_eq!(again.stdout, first.stdout);
    }
}

#[test]
fn budgets_accept_small_leaks_and_refuse_large_heaps() {
    let leak = "leaking@1.0.0#forget-argument(\"some text\")";
    assert_eq!(test(leak, &["--max-bytes-per-call", "9"]).code, Some(0));
    let over = test(leak, &["--max-bytes-per-call", "8"]);
    assert_eq!(over.code, Some(1));
    assert!(
        over.stdout
            .contains("FAILED: 9 bytes per round are more than --max-bytes-per-call 8"),
        "{over:?}"
    );
    assert_eq!(
        test("sound@1.0.0#lazy-static()", &["--max-live", "4000"]).code,
        Some(0)
    );
    let large = test("sound@1.0.0#lazy-static()", &["--max-live", "3999"]);
    assert_eq!(large.code, Some(1));
    assert!(
        large
            .stdout
            .contains("FAILED: 4,000 live bytes are more than --max-live 3999"),
        "{large:?}"
    );
}

#[test]
fn annotations_name_the_file_and_the_line() {
    let line = line_of("leaks/src/lib.rs", "unbounded-cache");
    let ran = test("leaking@1.0.0#unbounded-cache()", &["--format", "github"]);
    let annotation = format!("::error file=leaks/src/lib.rs,line={line},title=guest-heap::");
    assert!(ran.stdout.starts_with(&annotation), "{ran:?}");
    assert_eq!(ran.code, Some(1));
}

#[test]
fn a_trap_ends_the_test_with_the_heap() {
    let line = line_of("leaks/src/lib.rs", "trap");
    let ran = test("sound@1.0.0#trap()", &[]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("has trapped"), "{ran:?}");
    assert!(
        ran.stderr.contains(&format!("leaks/src/lib.rs:{line} in ")),
        "{ran:?}"
    );
}

#[test]
fn a_wrong_command_line_is_an_error_of_its_own() {
    let program = Program::on("leaks");
    for arguments in [
        &[] as &[&str],
        &["--invoke", "ping()", "--windows", "2"],
        &["--invoke", "ping()", "--rounds", "0"],
        &["--invoke", "ping()", "--format", "xml"],
        &["--invoke", "nothing()"],
    ] {
        let ran = program.run("test", arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
    }
}
