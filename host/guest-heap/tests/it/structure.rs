//! Entry points that are found by their structure, in modules without names.

use guest_heap::{Attribution, Options, instrument};

use crate::coverage::{gap, lift};
use crate::fixtures;
use crate::guest::Guest;
use crate::wat_guest::check_same;

/// An allocator with a free list, its end and two counters in static data, without names: malloc
/// (0), free (1), realloc (2), memalign (3) and calloc (4). A block has its size in front of it.
const ALLOCATOR: &str = r#"
    (memory 1)
    (func (param i32) (result i32) (local i32)
        (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1)))
        (i32.store (i32.const 2052) (i32.add (i32.load (i32.const 2052)) (local.get 0)))
        (i32.store (i32.const 2056)
            (select (i32.load (i32.const 2056)) (i32.const 4096) (i32.load (i32.const 2056))))
        (local.set 1 (i32.load (i32.const 2060)))
        (if (local.get 1)
            (then (if (i32.ge_u (i32.load (i32.sub (local.get 1) (i32.const 4))) (local.get 0))
                (then (i32.store (i32.const 2060) (i32.const 0)) (return (local.get 1))))))
        (local.set 1 (i32.add (i32.load (i32.const 2056)) (i32.const 16)))
        (i32.store (i32.const 2056) (i32.and (i32.const -16)
            (i32.add (i32.add (local.get 1) (local.get 0)) (i32.const 15))))
        (if (i32.gt_u (i32.add (i32.load (i32.const 2056)) (i32.const 4096))
                (i32.shl (memory.size) (i32.const 16)))
            (then (drop (memory.grow (i32.const 1)))))
        (i32.store (i32.sub (local.get 1) (i32.const 4)) (local.get 0))
        (local.get 1))
    (func (param i32)
        (i32.store (i32.const 2048) (i32.sub (i32.load (i32.const 2048)) (i32.const 1)))
        (i32.store (i32.const 2060) (local.get 0)))
    (func (param i32 i32) (result i32) (local i32)
        (i32.store (i32.const 2052) (i32.add (i32.load (i32.const 2048)) (local.get 1)))
        (if (i32.ge_u (i32.load (i32.sub (local.get 0) (i32.const 4))) (local.get 1))
            (then (return (local.get 0))))
        (local.set 2 (call 0 (local.get 1)))
        (call 1 (local.get 0))
        (local.get 2))
    (func (param i32 i32) (result i32)
        (i32.store (i32.const 2052) (i32.add (i32.load (i32.const 2048)) (local.get 0)))
        (call 0 (local.get 1)))
    (func (param i32 i32) (result i32) (call 0 (i32.mul (local.get 0) (local.get 1))))
"#;

fn entry_points(component: &[u8]) -> Vec<&'static str> {
    let report = instrument(component, &Options::default()).unwrap().report;
    report.modules[0].entry_points.clone()
}

#[test]
fn an_allocator_without_names_is_found_by_its_state() {
    let bytes = lift(&format!(
        r#"{ALLOCATOR}
        (func (export "run") (param i32) (result i32)
            (call 1 (call 0 (i32.const 500)))
            (drop (call 2 (call 0 (i32.const 600)) (i32.const 70)))
            (drop (call 2 (call 4 (i32.const 30) (i32.const 10)) (i32.const 1000)))
            (call 1 (call 3 (i32.const 32) (i32.const 44)))
            (drop (call 3 (i32.const 32) (i32.const 9000)))
            (call 0 (local.get 0)))"#
    ));
    assert_eq!(
        entry_points(&bytes),
        ["malloc", "realloc", "free", "memalign"]
    );
    let guest = check_same(&bytes, 7);
    assert_eq!(guest.live(), (70 + 1000 + 9000 + 7, 4));
    assert_eq!(guest.totals().unknown_frees, 0);
    // It is a guess, so it is not exact, and all that is certain is the memory.
    assert!(
        gap(&guest).contains("by their structure"),
        "{}",
        gap(&guest)
    );
    let meta = guest.store.data().recorder.meta();
    let range = guest.reading().live_range(meta);
    assert_eq!(range.at_least, 0);
    assert_eq!(range.at_most, Some(guest.reading().coverage.memory_bytes));
}

#[test]
fn what_only_resembles_an_allocator_is_not_hooked() {
    let run = r#"(func (export "run") (param i32) (result i32) (call 0 (local.get 0)))"#;
    let without_free = ALLOCATOR.replace(
        "(i32.store (i32.const 2060) (local.get 0)))",
        "(unreachable))",
    );
    let second_free = format!(
        r#"{ALLOCATOR}
        (func (param i32)
            (i32.store (i32.const 2048) (i32.load (i32.const 2052)))
            (i32.store (i32.const 2052) (local.get 0)))"#
    );
    let second_realloc = format!(
        r#"{ALLOCATOR}
        (func (param i32 i32) (result i32)
            (i32.store (i32.const 2048) (i32.load (i32.const 2052)))
            (call 1 (local.get 0))
            (call 0 (local.get 1)))"#
    );
    let without_state = r#"(memory 1)
        (func (param i32) (result i32) (memory.grow (local.get 0)))
        (func (param i32))"#;
    for allocator in [&without_free, &second_free, &second_realloc, without_state] {
        let bytes = lift(&format!("{allocator} {run}"));
        assert_eq!(entry_points(&bytes), [""; 0], "{allocator}");
        check_same(&bytes, 3);
    }
    // With names, it is no allocator that this library knows.
    let named = ALLOCATOR.replacen("(func (param i32)", "(func $other (param i32)", 1);
    let bytes = lift(&format!("{named} {run}"));
    let attribution = instrument(&bytes, &Options::default()).unwrap();
    assert!(
        matches!(attribution.attribution(), Attribution::Partial { why }
            if why.contains("none of its functions is named malloc")),
    );
}

/// The binary without the name sections of its core modules.
fn stripped(binary: &[u8]) -> Vec<u8> {
    const HEADER: usize = 8;
    const CUSTOM: u8 = 0;
    const MODULE: u8 = wasm_encoder::ComponentSectionId::CoreModule as u8;
    let is_component = binary[4..HEADER] == wasm_encoder::Component::HEADER[4..];
    let mut written = binary[..HEADER].to_vec();
    let mut reader = wasmparser::BinaryReader::new(&binary[HEADER..], 0);
    while !reader.eof() {
        let id = reader.read_u8().unwrap();
        let size = reader.read_var_u32().unwrap();
        let mut data = reader.read_bytes(size as usize).unwrap().to_vec();
        if !is_component && id == CUSTOM && data.starts_with(b"\x04name") {
            continue;
        }
        if is_component && id == MODULE {
            data = stripped(&data);
        }
        let section = wasm_encoder::RawSection { id, data: &data };
        wasm_encoder::Section::append_to(&section, &mut written);
    }
    written
}

#[test]
fn a_stripped_program_in_rust_is_counted_to_the_byte() {
    let bytes = stripped(&fixtures::rust("workload"));
    let found = entry_points(&bytes);
    assert_eq!(
        found.get(..2),
        Some(["malloc", "realloc"].as_slice()),
        "{found:?}"
    );
    let mut guest = Guest::instrumented(&bytes);
    let before = guest.live();
    for seed in 1..=4_u64 {
        let expected: (u64, u64) = guest
            .call::<_, (_,)>("exercise", (seed * 7919, 100_000_u32, seed == 4))
            .unwrap()
            .0;
        let live = guest.live();
        assert_eq!(
            (live.0 - before.0, live.1 - before.1),
            expected,
            "seed {seed}"
        );
    }
    assert_eq!(guest.totals().unknown_frees, 0);
    assert!(gap(&guest).contains("by their structure"));
}
