//! `guest-heap run`.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::program::{Program, Ran, line_of};

#[test]
fn a_command_is_reported_and_keeps_its_exit_code() {
    let program = Program::on("command");
    let line = line_of("command/src/main.rs", "command");
    for (arguments, code) in [
        (&["--"] as &[&str], 0),
        (&["--", "exit", "1"], 1),
        (&["--", "fail"], 1),
        (&["--", "abort"], 134),
    ] {
        let ran = program.run("run", arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("attribution: exact"), "{ran:?}");
        let leak = format!("command/src/main.rs:{line} in command::main");
        let row = ran.stderr.lines().find(|row| row.ends_with(&leak)).unwrap();
        assert!(row.contains("34,567         1"), "{row}");
    }
    let ran = program.run("run", &[]);
    assert_eq!(ran.stdout, "done\n");
    assert!(
        ran.stderr.contains("verdict: n"),
        "none, or no leak: {ran:?}"
    );
}

#[test]
fn options_give_the_guest_what_they_say_and_nothing_else() {
    let program = Program::on("command");
    std::fs::write(program.folder.path().join("note.txt"), "hello").unwrap();
    let read = ["--", "read", "note.txt"];
    assert_eq!(program.run("run", &read).stdout, "");
    let with_folder = ["--dir", ".", "--", "read", "note.txt"];
    assert_eq!(program.run("run", &with_folder).stdout, "hello");
    let renamed = ["--dir", ".::/data", "--", "read", "/data/note.txt"];
    assert_eq!(program.run("run", &renamed).stdout, "hello");

    let variable = |options: &[&str]| {
        let arguments = [options, &["--", "env", "COLOUR"]].concat();
        let mut command = program.command("run", &arguments);
        Ran::from(command.env("COLOUR", "red").output().unwrap()).stdout
    };
    assert_eq!(variable(&[]), "\n");
    assert_eq!(variable(&["--env", "COLOUR=blue"]), "blue\n");
    assert_eq!(variable(&["--env", "COLOUR"]), "red\n");
    assert_eq!(variable(&["-S", "inherit-env"]), "red\n");

    let missing = program.run("run", &["--dir", "no-such-folder"]);
    assert_eq!(missing.code, Some(2));
    assert!(
        missing
            .stderr
            .contains("--dir no-such-folder: the folder cannot be opened"),
        "{missing:?}"
    );
}

#[test]
fn an_export_is_called_with_its_arguments() {
    let program = Program::on("leaks");
    let called = program.run(
        "run",
        &[
            "--invoke",
            "leaks:guest/sound@1.0.0#count(3, [\"a\", \"b\"])",
        ],
    );
    assert_eq!(
        (called.stdout.as_str(), called.code),
        ("5\n", Some(0)),
        "{called:?}"
    );
    assert_eq!(
        program.run("run", &["--invoke", "ping()"]).stdout,
        "\"pong\"\n"
    );

    for (call, error) in [
        ("pong()", "does not export `pong()`; it exports:\n  ping()"),
        ("ping(1)", "do not fit ping()"),
        ("ping(", "is no call"),
        (
            "leaks:guest/sound@1.0.0#count(1)",
            "do not fit count(start: u32, names: list<string>)",
        ),
        ("other:pkg/api#ping()", "does not export"),
    ] {
        let ran = program.run("run", &["--invoke", call]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(error), "{ran:?}");
    }
    let no_command = program.run("run", &[]);
    assert!(
        no_command.stderr.contains("the component is no command"),
        "{no_command:?}"
    );
}

#[test]
fn handles_are_reported_by_line_and_type() {
    let program = Program::on("leaks");
    let call = "leaks:guest/leaking@1.0.0#forget-handle()";
    let line = line_of("leaks/src/lib.rs", "forget-handle");
    let ran = program.run("run", &["--invoke", call, "--output", "heap.json"]);
    let row = format!("1         1 wasi:io/streams.output-stream: leaks/src/lib.rs:{line} in ");
    assert!(ran.stderr.contains(&row), "{ran:?}");
    let json = std::fs::read(program.folder.path().join("heap.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let lines = json["handles"]["lines"].as_array().unwrap();
    let place = format!("leaks/src/lib.rs:{line}");
    let line = lines.iter().find(|line| line["location"] == place.as_str());
    assert_eq!(line.unwrap()["live"], 1);
    assert!(json["handles"]["live"].as_u64().unwrap() >= 1);
}

#[test]
fn the_heap_is_written_in_the_format_of_the_file_name() {
    let program = Program::on("command");
    let line = line_of("command/src/main.rs", "command");
    let names = ["heap.pb.gz", "heap.folded", "heap.svg", "heap.json"];
    let outputs: Vec<&str> = names.iter().flat_map(|name| ["--output", name]).collect();
    assert_eq!(program.run("run", &outputs).code, Some(0));
    let read = |name: &str| std::fs::read(program.folder.path().join(name)).unwrap();
    assert_eq!(read("heap.pb.gz")[..2], [0x1F, 0x8B]);
    let folded = String::from_utf8(read("heap.folded")).unwrap();
    assert!(
        folded.lines().any(|stack| stack.ends_with(" 34567")),
        "{folded}"
    );
    assert!(read("heap.svg").starts_with(b"<?xml"));
    let json: serde_json::Value = serde_json::from_slice(&read("heap.json")).unwrap();
    assert_eq!(json["attribution"], "exact");
    assert_eq!(
        json["lines"][0]["location"],
        format!("command/src/main.rs:{line}")
    );
    assert_eq!(json["lines"][0]["live_bytes"], 34_567);

    let ran = program.run("run", &["--output", "heap.txt"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stdout.is_empty() && ran.stderr.contains("must end in .pb.gz"),
        "{ran:?}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_stops_nothing() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full");
    let program = Program::on("command");
    let mut run = program.command("run", &["--output", "heap.json"]);
    let status = run.stderr(full().unwrap()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(program.folder.path().join("heap.json").exists());

    let leaks = Program::on("leaks");
    let mut test = leaks.command("test", &["--invoke", "ping()"]);
    let status = test.stdout(full().unwrap()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_folder_that_does_not_exist_is_refused_before_the_guest_runs() {
    let program = Program::on("command");
    let outputs = ["--output", "heap.json", "--output", "nowhere/heap.json"];
    let ran = program.run("run", &outputs);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stdout.is_empty() && ran.stderr.contains("nowhere is no folder"),
        "{ran:?}"
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_guest_that_computes_or_waits_with_a_report() {
    let program = Program::on("command");
    for (mode, every) in [("spin", "200ms"), ("sleep", "1m")] {
        let mut child = program
            .command("run", &["--every", every, "--", mode])
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        if mode == "spin" {
            wait_for_growth(&mut child);
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let ran = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(130), "{mode}: {stderr}");
        assert!(stderr.contains("34,567         1"), "{mode}: {stderr}");
        if mode == "spin" {
            let verdict = stderr.lines().find(|line| line.starts_with("verdict: "));
            let line = line_of("command/src/main.rs", "spin");
            let named = format!("is command/src/main.rs:{line} (+");
            let verdict = verdict.unwrap();
            assert!(
                verdict.contains("your code leaks, or builds up"),
                "{verdict}"
            );
            assert!(verdict.contains(&named), "{verdict}");
        }
    }
}

/// Reads standard error until `--every` has reported eight times, so that it has seen growth since
/// a report, and enough for a verdict.
#[cfg(unix)]
fn wait_for_growth(child: &mut Child) {
    let mut stderr = child.stderr.take().unwrap();
    let mut text = String::new();
    let mut bytes = [0; 512];
    let spin = format!(
        "command/src/main.rs:{}",
        line_of("command/src/main.rs", "spin")
    );
    while text.matches(&spin).count() < 8 {
        let count = stderr.read(&mut bytes).unwrap();
        assert!(count > 0, "it ended early: {text}");
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    child.stderr = Some(stderr);
}

#[cfg(unix)]
#[test]
fn handles_that_get_more_and_more_are_the_verdict() {
    let program = Program::on("leaks");
    let call = "leaks:guest/leaking@1.0.0#forget-handles()";
    let started = Instant::now();
    let mut child = program.command("run", &["--invoke", call]).spawn().unwrap();
    // It writes a byte for each handle.
    let mut stdout = child.stdout.take().unwrap();
    let mut bytes = [0; 100];
    while started.elapsed() < Duration::from_secs(3) {
        stdout.read_exact(&mut bytes).unwrap();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let reader = std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
    let ran = child.wait_with_output().unwrap();
    reader.join().unwrap().unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    let line = line_of("leaks/src/lib.rs", "forget-handles");
    let verdict = stderr.lines().find(|line| line.starts_with("verdict: "));
    let named = format!("leaks/src/lib.rs:{line} of wasi:io/streams.output-stream (+");
    let verdict = verdict.unwrap_or(&stderr);
    assert!(
        verdict.starts_with("verdict: handles leak: what got more in every quarter of "),
        "{verdict}"
    );
    assert!(verdict.contains(&named), "{verdict}");
}

#[test]
fn a_core_module_for_preview_1_is_adapted() {
    let module = wat::parse_str(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func $main (export "_start")
                (drop (memory.grow (i32.const 3)))
                (call $exit (i32.const 1))))"#,
    );
    let ran = Program::on_bytes(&module.unwrap()).run("run", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr
            .contains("196,608 bytes of growth that no allocator entry point made: "),
        "{ran:?}"
    );
}

/// A command whose allocator has names of its own. It keeps 40 bytes.
const POOL: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (global $top (mut i32) (i32.const 1024))
  (func $pool_get (param $size i32) (result i32)
    (global.get $top)
    (global.set $top (i32.add (global.get $top) (local.get $size))))
  (func $keep (drop (call $pool_get (i32.const 40))))
  (func (export "_start") (call $keep) (call $exit (i32.const 0))))"#;

#[test]
fn declarations_next_to_the_component_are_used() {
    let program = Program::on_bytes(&wat::parse_str(POOL).unwrap());
    let file = program.folder.path().join("app.heap.toml");
    let unknown = program.run("run", &[]);
    assert!(!unknown.stderr.contains(" 40 "), "{unknown:?}");
    let toml = "[[entry-point]]\nfunction = \"pool_get\"\nkind = \"allocate\"\nsize = 0\n";
    std::fs::write(&file, toml).unwrap();
    let ran = program.run("run", &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut rows = ran.stderr.lines();
    let row = rows.find(|row| row.ends_with(" keep"));
    assert!(row.is_some_and(|row| row.contains(" 40 ")), "{ran:?}");
    std::fs::write(&file, "interpreted-frames = 65").unwrap();
    let wrong = program.run("run", &[]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(
        wrong
            .stderr
            .contains("app.heap.toml is wrong: interpreted-frames must be"),
        "{wrong:?}"
    );
}

/// A command of WASI 0.3, whose `run` is asynchronous and keeps 77 bytes.
const WASI_0_3: &str = r#"(component
  (core module $main
    (import "" "task-return" (func $task_return (param i32)))
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 1024))
    (func $malloc (export "malloc") (param $size i32) (result i32)
      (global.get $top)
      (global.set $top (i32.add (global.get $top) (local.get $size))))
    (func $free (export "free") (param i32))
    (func $keep (drop (call $malloc (i32.const 77))))
    (func (export "run") (result i32)
      (call $keep)
      (call $task_return (i32.const 0))
      (i32.const 0))
    (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
  (core func $task_return (canon task.return (result (result))))
  (core instance $main (instantiate $main
    (with "" (instance (export "task-return" (func $task_return))))))
  (func $run async (result (result))
    (canon lift (core func $main "run") async (callback (core func $main "callback"))))
  (instance $interface (export "run" (func $run)))
  (export "wasi:cli/run@0.3.0" (instance $interface)))"#;

#[test]
fn a_command_of_wasi_0_3_is_run() {
    let ran = Program::on_bytes(&wat::parse_str(WASI_0_3).unwrap()).run("run", &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let row = ran.stderr.lines().find(|row| row.ends_with(" keep"));
    assert!(
        row.is_some_and(|row| row.contains("77         1 100.0%")),
        "{ran:?}"
    );
}

#[test]
fn other_files_are_refused() {
    for (bytes, error) in [
        (b"#!/bin/sh".as_slice(), "it is not a WebAssembly file"),
        (b"\0asm\x01\0\0", "it is not a WebAssembly file"),
        (b"\0asm\x01\0\0\0\x07", "cannot be loaded"),
    ] {
        let ran = Program::on_bytes(bytes).run("run", &[]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(error), "{ran:?}");
    }
    let importing = wat::parse_str(r#"(component (import "other:host/api" (instance)))"#);
    let ran = Program::on_bytes(&importing.unwrap()).run("run", &[]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}
