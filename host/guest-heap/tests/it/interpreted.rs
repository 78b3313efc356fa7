//! Components with an interpreter that looks like CPython: the contexts are lines of its program.

use std::collections::BTreeMap;

use guest_heap::snapshot::GroupBy;
use guest_heap::{Attribution, InstrumentedMeta, Options, instrument};

use crate::fake_python::{CODES, FRAMES, Program, RUNTIME, STATE, THREAD};

/// Expected lines.
fn lines<const N: usize>(lines: [(&str, u64); N]) -> BTreeMap<String, u64> {
    lines.map(|(line, bytes)| (line.to_owned(), bytes)).into()
}

#[test]
fn memory_belongs_to_the_lines_of_the_program() {
    let running = Program::default().start(&Options::default());
    assert_eq!(running.reasons(), (Attribution::Exact, None));
    assert_eq!(
        running.lines(),
        lines([("app.py:10", 20), ("app.py:11", 1000), ("run", 7)])
    );
    assert_eq!(
        running.meta.interpreter_name().as_deref(),
        Some("CPython 3.14.0")
    );
    // The whole stack of the program, and nothing of the interpreter.
    let snapshot = running.snapshot();
    let trace = &snapshot.top(GroupBy::Trace, 1)[0];
    let frames: Vec<String> = trace
        .frames
        .iter()
        .map(|frame| format!("{} {:?} {:?}", frame.function, frame.file, frame.line))
        .collect();
    assert_eq!(
        frames,
        [
            r#"inner Some("app.py") Some(11)"#,
            r#"App.outer Some("app.py") Some(20)"#,
            r#"run Some("python/runpy.py") Some(30)"#,
        ]
    );
    let folded = guest_heap::folded::live_bytes(&snapshot, None);
    assert!(
        folded.contains("run;App.outer (app.py:20);inner (app.py:11) 1000\n"),
        "{folded}"
    );
    let meta = InstrumentedMeta::from_bytes(&running.meta.to_bytes()).unwrap();
    assert_eq!(meta, *running.meta);
}

#[test]
fn library_code_is_attributed_to_its_caller() {
    for file in [
        "/python/json/decoder.py",
        "<frozen os>",
        "/1/site-packages/x.py",
    ] {
        let program = Program {
            file,
            ..Program::default()
        };
        let running = program.start(&Options::default());
        let expected = lines([("app.py:20", 1020), ("run", 7)]);
        assert_eq!(running.lines(), expected, "{file}");
    }
}

#[test]
fn a_context_has_as_many_calls_as_the_options_say() {
    let declared = Options::default().declarations("interpreted-frames = 1");
    let running = Program::default().start(&declared.unwrap());
    let snapshot = running.snapshot();
    let trace = &snapshot.top(GroupBy::Trace, 1)[0];
    let names: Vec<&str> = trace.frames.iter().map(|frame| &*frame.function).collect();
    assert_eq!(names, ["inner", "(outer frames)"]);
    let off = Program::default().start(&Options::default().interpreted_frames(0));
    let (attribution, why) = off.reasons();
    assert_eq!(attribution, Attribution::Exact);
    assert!(why.unwrap().contains("is not asked for"), "{why:?}");
    assert_eq!(off.native(), [1, 2, 2, 2]);
}

#[test]
fn every_allocation_has_the_frames_of_its_context() {
    let mut options = Options::default();
    options.check_contexts = true;
    let running = Program::default().start(&options);
    let store = &running.guest.store;
    let checked = store.data().recorder.checked(store);
    assert_eq!((checked.events, checked.mismatches), (4, 0));
}

/// Without lines, the contexts are the exact call stacks of the interpreter.
#[test]
fn an_interpreter_that_cannot_be_read_has_its_own_call_stacks() {
    let base = Program::default;
    for (program, why) in [
        (
            Program {
                version: 0x030F_00F0,
                ..base()
            },
            "is CPython 3.15.0, whose frames this profiler does not know",
        ),
        (
            Program {
                free_threaded: 1,
                ..base()
            },
            "is a free-threaded build of CPython 3.14.0",
        ),
        (
            Program {
                offset: "global.get $base",
                ..base()
            },
            "keeps its state in data whose address is not constant",
        ),
    ] {
        let running = program.start(&Options::default());
        let (attribution, reason) = running.reasons();
        let reason = reason.unwrap();
        assert_eq!(attribution, Attribution::Exact, "{reason}");
        assert!(reason.contains(why), "{reason}");
        assert_eq!(running.native(), [1, 2, 2, 2], "{reason}");
        let meta = InstrumentedMeta::from_bytes(&running.meta.to_bytes()).unwrap();
        assert_eq!(meta.without_lines(), Some(reason));
    }
}

#[test]
fn an_interpreter_without_a_table_is_recognised_by_its_functions() {
    let text = Program::default().component();
    // The cookie, which is at one place.
    let at = text.windows(8).position(|bytes| bytes == b"xdebugpy");
    let mut without = text.clone();
    without[at.unwrap()] = b'X';
    let instrumented = instrument(&without, &Options::default()).unwrap();
    let why = instrumented.meta.without_lines().unwrap();
    assert!(why.contains("older than CPython 3.13"), "{why}");
    assert_eq!(*instrumented.attribution(), Attribution::Exact);
}

#[test]
fn without_the_function_for_reused_objects_the_lines_are_partial() {
    let program = Program {
        python: "",
        ..Program::default()
    };
    let running = program.start(&Options::default());
    let (attribution, _) = running.reasons();
    let Attribution::Partial { why } = attribution else {
        panic!("{attribution:?}");
    };
    assert!(why.contains("no function named _Py_NewReference"), "{why}");
    assert_eq!(running.lines()["app.py:11"], 1000);
}

/// An object that the interpreter takes from a free list belongs to the line that runs then. One
/// from before the snapshot is adopted with the size that its type says.
#[test]
fn reused_objects_move_to_the_line_that_reuses_them() {
    let program = Program {
        python: r#"(func $_Py_NewReference (param i32) (i32.store (local.get 0) (i32.const 1)))
            (func (export "reuse") (param $line i32) (param $object i32)
                (i32.store (i32.const 9208) (i32.const 9400))
                (i32.store (i32.const 9408)
                    (i32.add (i32.const 10064) (i32.mul (local.get $line) (i32.const 2))))
                (call $_Py_NewReference (local.get $object))
                (i32.store (i32.const 9208) (i32.const 0)))"#,
        more: r#"(core module $between
                (import "env" "memory" (memory 1))
                (import "python" "eval" (func $eval (param i32 i32) (result i32)))
                (import "python" "reuse" (func $reuse (param i32 i32)))
                (func (export "eval") (param i32 i32) (result i32)
                    (local $object i32)
                    (local.set $object (call $eval (local.get 0) (local.get 1)))
                    ;; A type at 13000 without flags: nothing is in front of the object.
                    (i32.store offset=4 (local.get $object) (i32.const 13000))
                    ;; The first call is for the new block, the second one reuses it.
                    (call $reuse (i32.const 2) (local.get $object))
                    (call $reuse (i32.const 2) (local.get $object))
                    ;; An object of the snapshot, whose type has 40 bytes.
                    (i32.store (i32.const 13016) (i32.const 40))
                    (i32.store offset=4 (i32.const 13600) (i32.const 13000))
                    (call $reuse (i32.const 1) (i32.const 13600))
                    (local.get $object)))
            (core instance $python2 (instantiate $between (with "env" (instance $env))
                (with "python" (instance $python))))"#,
        ..Program::default()
    };
    let running = program.start(&Options::default());
    assert_eq!(running.reasons().0, Attribution::Exact);
    assert_eq!(
        running.lines(),
        lines([("app.py:11", 1020), ("app.py:10", 40), ("run", 7)])
    );
    assert_eq!(running.totals().live_objects, 5);
}

/// What the guest has destroyed of its frames costs the lines, and nothing else.
#[test]
fn frames_that_cannot_be_read_leave_the_native_stack() {
    let program = Program {
        python: r#"(func $_Py_NewReference (param i32))
            (func (export "eval-damaged") (param i32 i32) (result i32)
                ;; The name of the file is no text.
                (i32.store (i32.const 10216) (i32.const 0))
                (call $_PyEval_EvalFrameDefault (local.get 0) (local.get 1)))"#,
        more: r#"(core module $between
                (import "python" "eval-damaged" (func $eval (param i32 i32) (result i32)))
                (func (export "eval") (param i32 i32) (result i32)
                    (call $eval (local.get 0) (local.get 1))))
            (core instance $python2 (instantiate $between (with "python" (instance $python))))"#,
        ..Program::default()
    };
    let running = program.start(&Options::default());
    assert_eq!(running.totals().unreadable, 2);
    assert_eq!(running.totals().live_bytes, 1027);
    assert_eq!(running.native().len(), 3);
}

/// Wild pointers make no trap: neither in the guest nor in the host.
#[test]
fn wild_frames_do_not_stop_the_guest() {
    for (address, value) in [
        (THREAD + 8, u32::MAX),
        (THREAD + 8, 131_071),
        (STATE + 16, u32::MAX - 3),
        (RUNTIME + 800, u32::MAX),
        (RUNTIME + 800, 131_070),
        (FRAMES[0], u32::MAX),
        (FRAMES[0] + 4, u32::MAX),
        (FRAMES[0] + 4, FRAMES[0] as u32),
        (CODES[0] + 8, u32::MAX),
        (CODES[0], 131_060),
    ] {
        let python = format!(
            r#"(func $_Py_NewReference (param i32))
            (func (export "eval-wild") (param i32 i32) (result i32)
                (i32.store (i32.const {address}) (i32.const {value}))
                (call $malloc (local.get 1)))"#,
            value = value as i32,
        );
        let program = Program {
            python: Box::leak(python.into_boxed_str()),
            more: r#"(core module $between
                    (import "env" "memory" (memory 1))
                    (import "python" "eval" (func $eval (param i32 i32) (result i32)))
                    (import "python" "eval-wild" (func $wild (param i32 i32) (result i32)))
                    (func (export "eval") (param i32 i32) (result i32)
                        (drop (call $eval (local.get 0) (local.get 1)))
                        (i32.store (i32.const 9208) (i32.const 9400))
                        (call $wild (local.get 0) (local.get 1))
                        (i32.store (i32.const 9208) (i32.const 0))))
                (core instance $python2 (instantiate $between (with "env" (instance $env))
                    (with "python" (instance $python))))"#,
            ..Program::default()
        };
        let running = program.start(&Options::default());
        assert_eq!(running.totals().live_bytes, 2047, "{address}: {value:#x}");
    }
}

/// CPython's own allocator for objects takes large blocks from the C library.
#[test]
fn objects_of_cpythons_allocator_count_once() {
    let program = Program {
        python: r#"(func $_Py_NewReference (param i32))
            (global $arena (mut i32) (i32.const 30000))
            (func $_PyObject_Malloc (param $context i32) (param $size i32) (result i32)
                (if (result i32) (i32.gt_u (local.get $size) (i32.const 512))
                    (then (call $malloc (local.get $size)))
                    (else (global.get $arena)
                        (global.set $arena (i32.add (global.get $arena) (i32.const 512))))))
            (func $_PyObject_Free (param $context i32) (param i32))
            (func (export "eval-object") (param i32 i32) (result i32)
                (i32.store (i32.const 9208) (i32.const 9400))
                (i32.store (i32.const 9408)
                    (i32.add (i32.const 10064) (i32.mul (local.get 0) (i32.const 2))))
                (call $_PyObject_Malloc (i32.const 0) (local.get 1))
                (i32.store (i32.const 9208) (i32.const 0)))"#,
        more: r#"(core module $between
                (import "python" "eval-object" (func $eval (param i32 i32) (result i32)))
                (func (export "eval") (param i32 i32) (result i32)
                    (call $eval (local.get 0) (local.get 1))))
            (core instance $python2 (instantiate $between (with "python" (instance $python))))"#,
        ..Program::default()
    };
    let running = program.start(&Options::default());
    assert_eq!(
        running.lines(),
        lines([("app.py:10", 20), ("app.py:11", 1000), ("run", 7)])
    );
}
