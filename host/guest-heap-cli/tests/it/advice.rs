//! What the command says when something does not work: the reason, and the next step.

use crate::program::{Program, line_of};

fn wat(text: &str) -> Program {
    Program::on_bytes(&wat::parse_str(text).unwrap())
}

#[test]
fn an_unknown_import_has_a_next_step() {
    for (import, wanted) in [
        (
            r#"(import "log" (func))"#,
            "it imports the function `log`: a component that exports it can be plugged in: `wac",
        ),
        (
            r#"(import "acme:shop/cart@1.0.0" (instance (export "f" (func))))"#,
            "it imports the interface `acme:shop/cart@1.0.0`: a component that exports it",
        ),
        (
            r#"(import "leak-lab:plugin/host@0.1.0" (instance (export "f" (func))))"#,
            "it is a plugin of the leak lab, which runs in the lab",
        ),
        (
            r#"(import "wasi:cli/stdout@0.4.0" (instance (export "f" (func))))"#,
            "version 0.4.0 of WASI is not provided; build the component for WASI 0.2 or 0.3",
        ),
        (
            r#"(import "thing" (type (sub resource)))"#,
            "it imports the resource `thing`",
        ),
    ] {
        let program = wat(&format!("(component {import})"));
        for arguments in [["run", "--invoke", "f()"], ["test", "--invoke", "f()"]] {
            let ran = program.run(arguments[0], &arguments[1..]);
            assert_eq!(ran.code, Some(2), "{import}: {ran:?}");
            assert!(ran.stderr.contains(wanted), "{import}: {ran:?}");
            assert!(
                ran.stderr.contains("guest-heap provides WASI 0.2 and 0.3"),
                "{ran:?}"
            );
        }
    }
}

#[test]
fn a_test_without_a_call_lists_calls_that_can_be_pasted() {
    let program = Program::on("leaks");
    let ran = program.run("test", &[]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let calls: Vec<&str> = ran
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("  --invoke '")?.strip_suffix('\''))
        .collect();
    assert!(calls.contains(&"ping()"), "{ran:?}");
    let count = "leaks:guest/sound@1.0.0#count(1, [\"text\"])";
    assert!(calls.contains(&count), "{ran:?}");
    let ran = program.run("run", &["--invoke", count]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "2\n"), "{ran:?}");
}

#[test]
fn a_trap_names_the_own_line_and_the_functions() {
    let abort = |source| format!("{source}:{}", line_of(source, "abort"));
    let (command, leaks) = (abort("command/src/main.rs"), abort("leaks/src/lib.rs"));
    let in_run = Program::on("command").run("run", &["--", "abort"]);
    let trap = ["--invoke", "leaks:guest/sound@1.0.0#trap()"];
    let in_test = Program::on("leaks").run("test", &trap);
    for (ran, line, function) in [
        (in_run, command, "command::main"),
        (in_test, leaks, "::trap"),
    ] {
        let own = format!("{function} ({line})\n  call stack, innermost first:\n");
        assert!(ran.stderr.contains("  in your code at "), "{ran:?}");
        assert!(ran.stderr.contains(&own), "{ran:?}");
        assert!(!ran.stderr.contains("_ZN"), "{ran:?}");
        assert!(!ran.stderr.contains("!<wasm function"), "{ran:?}");
    }
}

#[cfg(unix)]
mod serving {
    use std::io::Read;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;
    use crate::server::Server;

    #[test]
    fn a_service_for_one_request_per_instance_is_recognised() {
        for (path, failures) in [("/once", 1), ("/once-trap", 3)] {
            let server = Server::start("http_service", &[]);
            assert_eq!(server.get(path).status, 200);
            let mut text = String::new();
            for _ in 0..failures {
                text = server.get(path).text();
            }
            let advice = "every request after the first one of its instance has failed";
            assert!(text.contains(advice), "{path}: {text}");
            assert!(text.contains("--instance-per-request"), "{path}: {text}");
            let ran = server.stop(Signal::TERM);
            assert_eq!(ran.stderr.matches(advice).count(), 1, "{ran:?}");
        }
        let server = Server::start("http_service", &[]);
        for path in ["/fine", "/fine", "/silent", "/silent"] {
            let answer = server.get(path).text();
            assert!(!answer.contains("--instance-per-request"), "{answer}");
        }
    }

    #[test]
    fn a_trap_of_a_service_names_the_own_line_once() {
        let server = Server::start("http_service", &[]);
        for _ in 0..3 {
            assert_eq!(server.get("/trap").status, 500);
        }
        let ran = server.stop(Signal::TERM);
        let source = "http-service/src/lib.rs";
        let own = format!("({source}:{})\n  call stack,", line_of(source, "abort"));
        assert_eq!(ran.stderr.matches(&own).count(), 1, "{ran:?}");
    }

    #[test]
    fn the_smallest_memory_that_works_is_named() {
        for limit in ["0", "1KiB", "1MiB"] {
            let program = Program::on("http_service");
            let refused = program.run("serve", &["--max-memory", limit]);
            assert_eq!(refused.code, Some(2), "{refused:?}");
            let (_, smallest) = refused
                .stderr
                .split_once("it starts with --max-memory ")
                .unwrap_or_else(|| panic!("{refused:?}"));
            let options = ["--max-memory", smallest.trim_end()];
            let server = Server::start("http_service", &options);
            assert_eq!(server.get("/fine").status, 200, "{options:?}");
            let number: u64 = smallest.trim_end().trim_end_matches("KiB").parse().unwrap();
            let less = format!("{}KiB", number - 1);
            let refused = program.run("serve", &["--max-memory", &less]);
            assert_eq!(refused.code, Some(2), "{refused:?}");
        }
    }

    #[test]
    fn a_run_that_gets_sigterm_reports_its_heap() {
        let program = Program::on("command");
        let mut child = program.command("run", &["--", "spin"]).spawn().unwrap();
        let mut started = [0; 8];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut started)
            .unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let ran = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(143), "{stderr}");
        assert!(stderr.starts_with("terminated\n"), "{stderr}");
        assert!(stderr.contains("34,567         1"), "{stderr}");
    }
}
