//! Components that cannot be instrumented run unchanged, and the reason is precise.

use guest_heap::{Attribution, Options, instrument};

use crate::guest::Guest;
use crate::wat_guest::{ALLOCATOR, component};

/// A component whose core module has an allocator and these memories. Its `run` adds one.
fn with_memories(memories: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $m
            {memories}
            (func $malloc (export "malloc") (param i32) (result i32) (local.get 0))
            (func $free (export "free") (param i32))
            (func (export "run") (param i32) (result i32)
                (i32.add (call $malloc (local.get 0)) (i32.const 1))))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#
    ))
}

/// The reason for which a component is not instrumented.
fn refusal(bytes: &[u8]) -> String {
    let instrumented = instrument(bytes, &Options::default()).unwrap();
    let Attribution::Off { why } = instrumented.attribution() else {
        panic!("{:?}", instrumented.attribution())
    };
    assert_eq!(instrumented.component, bytes);
    why.clone()
}

fn check_runs(bytes: &[u8]) -> Guest {
    let mut guest = Guest::instrumented(bytes);
    assert_eq!(guest.call::<_, (u32,)>("run", (41_u32,)).unwrap(), (42,));
    guest
}

#[test]
fn a_64_bit_memory_is_refused_with_its_reason() {
    for memories in ["(memory i64 1)", "(memory 1) (memory i64 1)"] {
        let bytes = with_memories(memories);
        assert_eq!(refusal(&bytes), "core module 0 has a 64-bit memory");
        assert_eq!(check_runs(&bytes).reading(), Default::default());
    }
}

#[test]
fn a_64_bit_allocator_is_refused_with_its_reason() {
    let bytes = component(
        r#"(core module $m
            (memory (export "memory") i64 1)
            (func $malloc (export "malloc") (param i64) (result i64) (i64.const 1024))
            (func (export "run") (param i32) (result i32)
                (drop (call $malloc (i64.const 3)))
                (i32.add (local.get 0) (i32.const 1))))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#,
    );
    assert_eq!(refusal(&bytes), "core module 0 has a 64-bit memory");
    check_runs(&bytes);
}

#[test]
fn a_component_that_imports_the_profilers_interface_is_refused() {
    for import in [
        "guest-heap:profiler/host",
        "guest-heap:profiler/host@1.0.0",
        "guest-heap:profiler/anything",
    ] {
        let own = format!(
            r#"(import "{import}" (instance
                (export "new-context" (func (param "instance" u32) (param "index" u32)))))"#
        );
        let nested = format!(r#"(component {own})"#);
        for items in [own, nested] {
            let module = format!(r#"(core module $m {ALLOCATOR})"#);
            assert_eq!(
                refusal(&component(&format!("{items} {module}"))),
                format!("it imports {import}, which only the profiler may import")
            );
        }
    }
}

#[test]
fn a_shared_memory_is_refused_with_its_reason() {
    // The test does not run it: the engine is built without support for threads.
    assert_eq!(
        refusal(&with_memories("(memory 1 2 shared)")),
        "core module 0 shares its memory between threads"
    );
}

#[test]
fn an_instrumented_component_is_not_instrumented_again_and_still_runs() {
    let bytes = with_memories("(memory 1)");
    let once = instrument(&bytes, &Options::default()).unwrap();
    assert_eq!(*once.attribution(), Attribution::Exact);
    assert_eq!(refusal(&once.component), "it is instrumented already");
    check_runs(&once.component);
}

#[test]
fn a_program_that_never_frees_is_attributed() {
    // Nothing calls `free`, so the linker has omitted it.
    let bytes = component(
        r#"(core module $m
            (memory 1)
            (func $malloc (param i32) (result i32) (i32.const 1024))
            (func (export "run") (param i32) (result i32)
                (drop (call $malloc (local.get 0))) (i32.const 42)))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#,
    );
    assert_eq!(
        *instrument(&bytes, &Options::default())
            .unwrap()
            .attribution(),
        Attribution::Exact
    );
    assert_eq!(check_runs(&bytes).live(), (41, 1));
}

#[test]
fn a_refused_module_does_not_affect_the_other_modules() {
    let bytes = component(&format!(
        r#"(core module $wide
            (memory i64 1)
            (func (export "malloc") (param i32) (result i32) (local.get 0))
            (func (export "free") (param i32))
            (func (export "run") (param i32) (result i32) (local.get 0)))
        (core module $plain {ALLOCATOR}
            (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
        (core instance $wide (instantiate $wide))
        (core instance $plain (instantiate $plain))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $wide "run")))
        (func (export "run-plain") (param "n" u32) (result u32) (canon lift (core func $plain "run")))"#
    ));
    let instrumented = instrument(&bytes, &Options::default()).unwrap();
    assert_eq!(
        *instrumented.attribution(),
        Attribution::Partial {
            why: "core module 0 has a 64-bit memory".to_owned()
        }
    );
    let mut guest = Guest::instrumented(&bytes);
    guest.call::<_, (u32,)>("run", (5_u32,)).unwrap();
    guest.call::<_, (u32,)>("run-plain", (7_u32,)).unwrap();
    assert_eq!(guest.live(), (7, 1));
}
