//! Input that is not a valid component, and a recorder without an instance.

use guest_heap::{
    Attribution, Context, InstrumentError, InstrumentedMeta, Options, Recorder, instrument,
};

use crate::fixtures;
use crate::wat_guest::single;

#[test]
fn invalid_bytes_are_an_error_and_an_instrumented_component_is_not_instrumented_again() {
    let error = |bytes: &[u8]| instrument(bytes, &Options::default()).unwrap_err();
    assert!(matches!(
        error(b"hello, world"),
        InstrumentError::NotAComponent(_)
    ));
    assert!(matches!(error(b""), InstrumentError::NotAComponent(_)));
    assert!(matches!(
        error(b"\0asm\x01\0\0\0"),
        InstrumentError::NotAComponent("it is a core module")
    ));
    let bytes = fixtures::rust("free_lists");
    assert!(matches!(
        error(&bytes[..bytes.len() / 2]),
        InstrumentError::Invalid(_)
    ));
    let once = instrument(&bytes, &Options::default()).unwrap().component;
    let twice = instrument(&once, &Options::default()).unwrap();
    assert_eq!(
        *twice.attribution(),
        Attribution::Off {
            why: "it is instrumented already".to_owned()
        }
    );
    assert_eq!(twice.component, once);
    let body = single(r#"(func $run (export "run") (param i32) (result i32) (local.get 0))"#);
    let at = body
        .windows(5)
        .position(|window| window == [4, 0, 0x20, 0, 0x0B])
        .unwrap();
    let mut invalid = body;
    // A local that does not exist.
    invalid[at + 3] = 9;
    assert!(matches!(error(&invalid), InstrumentError::Invalid(_)));
    // Items that do not exist, but would exist after instrumentation.
    for beyond in [
        "(i64.store 1 (i32.const 0) (i64.const -1))",
        "(drop (memory.grow 1 (i32.const 1)))",
        "(drop (global.get 1))",
        "(call 4 (i32.const 1))",
    ] {
        let invalid = single(&format!(
            r#"(func $run (export "run") (param i32) (result i32) {beyond} (local.get 0))"#
        ));
        assert!(
            matches!(error(&invalid), InstrumentError::Invalid(_)),
            "{beyond}"
        );
    }
}

#[test]
fn a_damaged_component_is_an_error_or_gives_a_valid_component() {
    let bytes = single(
        r#"(func $run (export "run") (param i32) (result i32) (call $malloc (local.get 0)))"#,
    );
    let mut valid = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            if let Ok(instrumented) = instrument(&damaged, &Options::default()) {
                wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
                    .validate_all(&instrumented.component)
                    .unwrap();
                valid += 1;
            }
        }
    }
    assert!(valid > 100, "{valid}");
}

#[test]
fn a_recorder_without_an_instance_has_an_empty_reading() {
    let engine = wasmtime::Engine::default();
    let meta = InstrumentedMeta::off("a test");
    let store = wasmtime::Store::new(&engine, Recorder::new(meta.into()));
    assert_eq!(store.data().read(&store), Default::default());
    assert_eq!(
        store.data().context(&store, 3),
        Context::Synthetic("unknown".into())
    );
}
