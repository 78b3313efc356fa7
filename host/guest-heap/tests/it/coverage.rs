//! What the profiler has seen of a guest's memory: each signal, and that clean guests stay exact.

use guest_heap::{Attribution, Context, Coverage, InstrumentedMeta, Options, instrument};

use crate::guest::Guest;
use crate::wat_guest::{attribution, by_name, check_same, component, names, run};

const PAGE: u64 = 65_536;

/// A bump allocator that grows its memory with `sbrk`. Static data ends at 4096.
const GROWING: &str = r#"
    (memory (export "memory") 1)
    (data (i32.const 4000) "\01\02\03\04")
    (global $stack (mut i32) (i32.const 4096))
    (global $next (mut i32) (i32.const 4096))
    (func $sbrk (param $bytes i32) (result i32)
        (local $pages i32)
        (if (i32.eqz (local.get $bytes))
            (then (return (i32.shl (memory.size) (i32.const 16)))))
        (local.set $pages (i32.shr_u (i32.add (local.get $bytes) (i32.const 65535)) (i32.const 16)))
        (i32.shl (memory.grow (local.get $pages)) (i32.const 16)))
    (func $malloc (param $size i32) (result i32)
        (local $block i32)
        (local.set $block (global.get $next))
        (global.set $next (i32.add (local.get $block)
            (i32.and (i32.add (local.get $size) (i32.const 23)) (i32.const -16))))
        (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16)))
            (then (drop (call $sbrk (i32.sub (global.get $next)
                (i32.shl (memory.size) (i32.const 16)))))))
        (local.get $block))
    (func $free (param i32))
"#;

/// A component with one core module, which has these items. The component lifts the export `run`.
pub(crate) fn lift(items: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $m {items})
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#
    ))
}

pub(crate) fn with_allocator(functions: &str) -> Vec<u8> {
    lift(&format!("{GROWING} {functions}"))
}

fn meta(bytes: &[u8]) -> std::sync::Arc<InstrumentedMeta> {
    instrument(bytes, &Options::default()).unwrap().meta
}

/// Why the attribution of a component is partial, by what is known before it runs.
pub(crate) fn known_gap(bytes: &[u8]) -> String {
    match attribution(bytes) {
        Attribution::Partial { why } => why,
        other => panic!("{other:?}"),
    }
}

/// Why the attribution of a guest is partial now.
pub(crate) fn gap(guest: &Guest) -> String {
    let meta = guest.store.data().recorder.meta();
    match guest.reading().attribution(meta) {
        Attribution::Partial { why } => why,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn is_exact(guest: &Guest) -> bool {
    let recorder = &guest.store.data().recorder;
    let exact = guest.reading().attribution(recorder.meta()) == Attribution::Exact;
    let summary = recorder.live_summary(&guest.store);
    assert_eq!(
        summary.attribution(recorder.meta()) == Attribution::Exact,
        exact
    );
    exact
}

#[test]
fn growth_inside_an_entry_point_is_the_allocators() {
    let bytes = with_allocator(
        r#"(func $run (export "run") (param i32) (result i32)
            (drop (call $malloc (i32.const 100)))
            (drop (call $malloc (local.get 0)))
            (memory.size))"#,
    );
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 200_000);
    assert_eq!(
        guest.reading().coverage,
        Coverage {
            memory_bytes: 4 * PAGE,
            static_bytes: 4096,
            initial_heap_bytes: PAGE - 4096,
            heap_seen_bytes: 3 * PAGE,
            ..Coverage::default()
        }
    );
    assert_eq!(guest.live(), (200_100, 2));
    assert!(is_exact(&guest));
    assert_eq!(
        guest.reading().coverage.evidence(),
        "allocator entry points made 196,608 of 196,608 bytes of growth; at most 61,440 bytes of \
         heap were there at the start; static data and stack take at least 4,096 bytes, and what \
         the program allocates there by itself is not seen"
    );
}

#[test]
fn growth_outside_is_counted_in_pages_under_its_call_stack() {
    let bytes = with_allocator(
        r#"(func $arena (param $pages i32) (result i32) (memory.grow (local.get $pages)))
        (func $run (export "run") (param i32) (result i32)
            (drop (call $malloc (i32.const 100)))
            (drop (call $arena (i32.const 2)))
            (drop (call $arena (i32.const 1)))
            (drop (call $malloc (i32.const 70000)))
            (drop (call $malloc (i32.const 200000)))
            (memory.size))"#,
    );
    assert_eq!(
        known_gap(&bytes),
        "core module 0 may grow its memory without the entry points that are hooked, in arena"
    );
    let guest = check_same(&bytes, 0);
    let reading = guest.reading();
    assert_eq!(reading.coverage.heap_unseen_bytes, 3 * PAGE);
    assert_eq!(reading.coverage.heap_seen_bytes, PAGE);
    let unseen: Vec<_> = reading
        .contexts
        .iter()
        .filter(|context| context.unseen_growths > 0)
        .map(|context| {
            let recorder = &guest.store.data().recorder;
            let Context::Stack(frames) = recorder.context(&guest.store, context.index) else {
                panic!("a growth has a call stack")
            };
            (
                frames.len(),
                context.unseen_bytes,
                context.unseen_growths,
                context.allocated_objects,
            )
        })
        .collect();
    assert_eq!(unseen, [(2, 2 * PAGE, 1, 0), (2, PAGE, 1, 0)]);
    assert_eq!(guest.live(), (270_100, 3));
    assert!(gap(&guest).ends_with(
        "; 196,608 of 323,584 bytes over static data came by growth that no entry point made, at \
         most 61,440 at the start"
    ));
}

#[test]
fn a_function_that_the_allocator_shares_keeps_the_call_stacks_apart() {
    // `sbrk` runs inside and outside of `malloc` and `free`, in the same activation of `run`.
    let bytes = lift(&format!(
        r#"{}
        (func $free (param i32) (drop (call $sbrk (i32.const 1))))
        (func $leaf (param i32) (result i32) (call $malloc (local.get 0)))
        (func $run (export "run") (param i32) (result i32)
            (loop $again
                (drop (call $sbrk (i32.const 65536)))
                (call $free (call $malloc (i32.const 70000)))
                (drop (call $leaf (i32.const 70000)))
                (drop (call $malloc (i32.const 5)))
                (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (memory.size))"#,
        GROWING.replace("(func $free (param i32))", "")
    ));
    let guest = check_same(&bytes, 3);
    let reading = guest.reading();
    assert_eq!(reading.coverage.heap_unseen_bytes, 3 * PAGE);
    assert_eq!(
        reading.coverage.memory_bytes,
        PAGE + reading.coverage.heap_seen_bytes + 3 * PAGE
    );
    assert!(reading.coverage.heap_seen_bytes >= 3 * PAGE);
    assert_eq!(
        by_name(&guest),
        names(&[("stack of 1", 15), ("stack of 2", 210_000)])
    );
}

#[test]
fn a_refused_growth_is_no_growth() {
    let bytes = with_allocator(
        r#"(func $run (export "run") (param i32) (result i32) (memory.grow (local.get 0)))"#,
    );
    let mut guest = check_same(&bytes, 0x10000);
    assert_eq!(run(&mut guest, 0), 1);
    assert!(guest.reading().coverage.is_complete());
    assert_eq!(run(&mut guest, 2), 1);
    assert_eq!(guest.reading().coverage.heap_unseen_bytes, 2 * PAGE);
}

#[test]
fn a_block_that_is_handed_out_again_was_freed_unseen() {
    // A free list of one block, which `run` also fills with an inlined `free`.
    let bytes = lift(
        r#"(memory 1)
        (global $next (mut i32) (i32.const 4096))
        (global $list (mut i32) (i32.const 0))
        (func $malloc (param i32) (result i32)
            (if (result i32) (global.get $list)
                (then (global.get $list) (global.set $list (i32.const 0)))
                (else (global.get $next)
                    (global.set $next (i32.add (global.get $next) (i32.const 64))))))
        (func $free (param i32) (global.set $list (local.get 0)))
        (func $run (export "run") (param i32) (result i32)
            (loop $again
                (global.set $list (call $malloc (i32.const 50)))
                (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (call $malloc (i32.const 30)))"#,
    );
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 99);
    let coverage = guest.reading().coverage;
    assert_eq!((coverage.reused_blocks, coverage.unknown_frees), (99, 0));
    assert_eq!(guest.live(), (30, 1));
    assert_eq!(
        gap(&guest),
        "blocks handed out again before a free was seen: 99"
    );
}

#[test]
fn frees_of_a_snapshots_blocks_are_told_apart_from_unknown_ones() {
    // The heap of a snapshot lies in its data segments.
    let bytes = with_allocator(
        r#"(func $run (export "run") (param i32) (result i32)
            (call $free (local.get 0)) (call $malloc (i32.const 8)))"#,
    );
    let mut guest = check_same(&bytes, 4000);
    assert_eq!(guest.totals().unknown_frees, 1);
    assert!(is_exact(&guest));
    let coverage = guest.reading().coverage;
    assert_eq!((coverage.snapshot_frees, coverage.unknown_frees), (1, 0));
    assert!(
        coverage
            .evidence()
            .ends_with("freed blocks of the snapshot that the guest started from: 1")
    );
    run(&mut guest, 5000);
    assert_eq!(
        gap(&guest),
        "frees of blocks whose allocation was not seen: 1"
    );
    assert_eq!(guest.totals().unknown_frees, 2);
}

#[test]
fn a_realloc_in_place_of_an_unknown_block_is_an_unknown_free() {
    let bytes = with_allocator(
        r#"(func $realloc (param i32 i32) (result i32) (local.get 0))
        (func $run (export "run") (param i32) (result i32)
            (drop (call $realloc (call $malloc (i32.const 10)) (i32.const 20)))
            (call $realloc (local.get 0) (i32.const 5)))"#,
    );
    let guest = check_same(&bytes, 5000);
    assert_eq!(guest.live(), (25, 2));
    assert_eq!(
        gap(&guest),
        "frees of blocks whose allocation was not seen: 1"
    );
}

#[test]
fn a_module_without_names_is_counted_in_pages() {
    let bytes = component(
        r#"(core module $m
            (memory (export "memory") 1)
            (func (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                (i32.shl (call 0 (i32.const 1)) (i32.const 16)))
            (func (export "take") (param i32 i32) (result i32) (call 0 (i32.const 2)))
            (func (export "run") (param i32) (result i32) (call 0 (local.get 0))))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))
        (func (export "take") (param "text" string) (result u32)
            (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))"#,
    );
    assert_eq!(
        known_gap(&bytes),
        "core module 0: function names are stripped, so only the growth of its memory is counted, \
         in pages of 64 KiB by call stack"
    );
    let meta = meta(&bytes);
    assert!(!meta.counts_blocks());
    assert!(meta.modules()[0].entry_points.is_empty());
    let mut guest = check_same(&bytes, 3);
    assert_eq!(guest.call::<_, (u32,)>("take", ("text",)).unwrap(), (5,));
    let reading = guest.reading();
    assert_eq!(guest.live(), (0, 0));
    assert_eq!(reading.coverage.heap_unseen_bytes, 6 * PAGE);
    let mut unseen: Vec<_> = reading
        .contexts
        .iter()
        .map(|context| {
            let recorder = &guest.store.data().recorder;
            let name = match recorder.context(&guest.store, context.index) {
                Context::Stack(frames) => format!("stack of {}", frames.len()),
                Context::Interpreted(_) => "lines".to_owned(),
                Context::Synthetic(name) => name.to_string(),
            };
            (name, context.unseen_bytes)
        })
        .collect();
    unseen.sort();
    let expected = [
        ("arguments", PAGE),
        ("stack of 2", 2 * PAGE),
        ("stack of 2", 3 * PAGE),
    ];
    assert_eq!(
        unseen,
        expected.map(|(name, bytes)| (name.to_owned(), bytes))
    );
}

#[test]
fn growth_of_a_module_that_is_not_instrumented_shows() {
    // Like the adapter between WASI versions: it grows the memory of another module.
    let of = |pages: u32| {
        component(&format!(
            r#"(core module $libc {GROWING}
                (func $run (export "run") (param i32) (result i32) (call $malloc (local.get 0)))
                (func (export "nothing") (param i32) (result i32) (local.get 0)))
            (core instance $libc (instantiate $libc))
            (core module $adapter
                (import "libc" "memory" (memory 0))
                (func (export "grow") (param i32) (result i32) (memory.grow (i32.const {pages}))))
            (core instance $adapter (instantiate $adapter (with "libc" (instance $libc))))
            (func (export "grow") (param "n" u32) (result u32) (canon lift (core func $adapter "grow")))
            (func (export "run") (param "n" u32) (result u32) (canon lift (core func $libc "run")))"#
        ))
    };
    let grown = |pages| {
        let mut guest = Guest::instrumented(&of(pages));
        guest.call::<_, (u32,)>("grow", (0_u32,)).unwrap();
        run(&mut guest, 10);
        guest
    };
    let guest = grown(2);
    assert_eq!(guest.reading().coverage.other_bytes(), 2 * PAGE);
    assert!(is_exact(&guest));
    assert_eq!(
        gap(&grown(3)),
        "196,608 bytes came by growth in modules that are not instrumented"
    );
}

#[test]
fn the_side_data_names_the_entry_points_of_each_module() {
    let bytes = with_allocator(
        r#"(func $run (export "run") (param i32) (result i32) (call $malloc (local.get 0)))"#,
    );
    let meta = meta(&bytes);
    assert!(meta.counts_blocks());
    assert_eq!(meta.modules()[0].entry_points, ["malloc", "free"]);
    let decoded = InstrumentedMeta::from_bytes(&meta.to_bytes()).unwrap();
    assert_eq!(decoded, *meta);
}
