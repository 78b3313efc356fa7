//! Components of unusual shapes: each loads and runs, and says what can be told of its heap.

use std::collections::BTreeMap;

use guest_heap::{Attribution, Context, InstrumentError, Options, Recorder, instrument};
use wasmtime::ResourceLimiter;

use crate::fixtures;
use crate::guest::{Guest, linker, store};

/// A bump allocator, with names.
pub(crate) const ALLOCATOR: &str = r#"
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (func $malloc (export "malloc") (param $size i32) (result i32)
        (local $block i32)
        (local.set $block (global.get $next))
        (global.set $next (i32.add (global.get $next)
            (i32.and (i32.add (local.get $size) (i32.const 23)) (i32.const -16))))
        (local.get $block))
    (func $free (export "free") (param i32))
    (func $cabi_realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (call $malloc (local.get 3)))
"#;

/// A component of one module with that allocator, whose export `run` is lifted.
pub(crate) fn single(functions: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $m {ALLOCATOR} {functions})
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#
    ))
}

pub(crate) fn component(items: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {items})")).unwrap()
}

fn attribution(component: &[u8]) -> Attribution {
    instrument(component, &Options::default())
        .unwrap()
        .attribution()
        .clone()
}

fn run(guest: &mut Guest, n: u32) -> u32 {
    guest.call::<_, (u32,)>("run", (n,)).unwrap().0
}

/// Live bytes by name; call stacks by their depth.
fn by_name(guest: &Guest) -> BTreeMap<String, u64> {
    let mut names = BTreeMap::new();
    for record in guest.reading().contexts {
        let name = match guest
            .store
            .data()
            .recorder
            .context(&guest.store, record.index)
        {
            Context::Stack(frames) => format!("stack of {}", frames.len()),
            Context::Synthetic(name) => name.to_string(),
        };
        *names.entry(name).or_default() += record.live_bytes();
    }
    names
}

fn names(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), *bytes))
        .collect()
}

/// The same result as the original, and no context for two stacks.
fn check_same(component: &[u8], n: u32) -> Guest {
    let expected = run(&mut Guest::original(component), n);
    let mut options = Options::default();
    options.check_contexts = true;
    let mut checking = Guest::with_options(component, &options);
    assert_eq!(run(&mut checking, n), expected);
    assert_eq!(checking.store.data().recorder.checked().mismatches, 0);
    let mut guest = Guest::instrumented(component);
    assert_eq!(run(&mut guest, n), expected);
    guest
}

#[test]
fn tail_calls_keep_the_stack_flat_and_their_contexts_apart() {
    // The loop is a tail call of itself, a million deep; each tenth allocates.
    let bytes = single(
        r#"(func $loop (param $n i32) (param $sum i32) (result i32)
            (if (i32.eqz (local.get $n)) (then (return (local.get $sum))))
            (if (i32.eqz (i32.rem_u (local.get $n) (i32.const 100000)))
                (then (drop (call $malloc (i32.const 10)))))
            (return_call $loop (i32.sub (local.get $n) (i32.const 1)) (i32.add (local.get $sum) (i32.const 3))))
        (func $run (export "run") (param i32) (result i32)
            (return_call $loop (local.get 0) (i32.const 0)))"#,
    );
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 1_000_000);
    assert_eq!(guest.live(), (100, 10));
}

#[test]
fn a_tail_call_of_an_import_still_owns_its_results() {
    // What follows it is never reached, whatever it is.
    for dead in ["", "(unreachable)"] {
        tail_call_of_an_import(dead);
    }
}

/// Puts the lowered import into the table that a core instance exports, by a module that does nothing else.
fn lowered_into_table_of(instance: &str) -> String {
    format!(
        r#"(core module $fix
            (import "" "table" (table 1 1 funcref))
            (import "" "fetch" (func $fetch (param i32 i32)))
            (elem (i32.const 0) func $fetch))
        (core instance (instantiate $fix (with "" (instance
            (export "table" (table ${instance} "table"))
            (export "fetch" (func $lowered))))))"#
    )
}

/// Bytes that have a call stack.
fn with_stacks(guest: &Guest) -> u64 {
    let names = by_name(guest);
    let stacks = names.iter().filter(|(name, _)| name.starts_with("stack"));
    stacks.map(|(_, bytes)| bytes).sum()
}

fn tail_call_of_an_import(dead: &str) {
    let lowered_into_table = lowered_into_table_of("shim");
    let bytes = component(&format!(
        r#"(import "fetch" (func $fetch (param "length" u32) (result string)))
        (core module $libc {ALLOCATOR})
        (core instance $libc (instantiate $libc))
        (core module $m
            (import "libc" "memory" (memory 0))
            (import "host" "fetch" (func $fetch (param i32 i32)))
            (global $next (mut i32) (i32.const 70000))
            (func $malloc (param $size i32) (result i32) (global.get $next)
                (global.set $next (i32.add (global.get $next) (i32.const 64))))
            (func $free (param i32))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (call $malloc (local.get 3)))
            (func $tail (param i32) (return_call $fetch (local.get 0) (i32.const 16)) {dead})
            (func (export "run") (param i32) (result i32) (call $tail (local.get 0)) (i32.load (i32.const 20))))
        (core module $shim
            (table (export "table") 1 1 funcref)
            (type $t (func (param i32 i32)))
            (func (export "fetch") (param i32 i32)
                (call_indirect (type $t) (local.get 0) (local.get 1) (i32.const 0))))
        (core instance $shim (instantiate $shim))
        (core instance $i (instantiate $m
            (with "libc" (instance $libc))
            (with "host" (instance (export "fetch" (func $shim "fetch"))))))
        (core func $lowered (canon lower (func $fetch) (memory (core memory $libc "memory")) (realloc (core func $i "realloc"))))
        {lowered_into_table}
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#
    ));
    let mut guest = check_same(&bytes, 33);
    run(&mut guest, 7);
    // The tail call's own frame is gone before the import is called, or not, as the host likes.
    assert_eq!(with_stacks(&guest), 40, "{:?}", by_name(&guest));
}

#[test]
fn the_results_of_an_import_that_is_called_through_a_table_have_a_name() {
    // The module has no import: another one puts it into the table.
    let lowered_into_table = lowered_into_table_of("i");
    let bytes = component(&format!(
        r#"(import "fetch" (func $fetch (param "length" u32) (result string)))
        (core module $m {ALLOCATOR}
            (table (export "table") 1 1 funcref)
            (type $t (func (param i32 i32)))
            (func (export "run") (param i32) (result i32)
                (drop (call $malloc (i32.const 5)))
                (call_indirect (type $t) (local.get 0) (i32.const 16) (i32.const 0))
                (drop (call $malloc (i32.const 6)))
                (i32.load (i32.const 20))))
        (core instance $i (instantiate $m))
        (core func $lowered (canon lower (func $fetch)
            (memory (core memory $i "memory")) (realloc (core func $i "cabi_realloc"))))
        {lowered_into_table}
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#
    ));
    let mut guest = check_same(&bytes, 33);
    run(&mut guest, 7);
    let names = by_name(&guest);
    assert_eq!(with_stacks(&guest), 2 * 11, "{names:?}");
    assert_eq!(names.values().sum::<u64>(), 2 * 11 + 40, "{names:?}");
    assert!(!names.contains_key("unknown"), "{names:?}");
}

#[test]
fn what_an_initialiser_takes_is_told_from_what_is_taken_later_in_the_same_way() {
    let bytes = component(&format!(
        r#"(core module $libc {ALLOCATOR})
        (core instance $libc (instantiate $libc))
        (core module $app
            (import "libc" "malloc" (func $malloc (param i32) (result i32)))
            (func $begin (drop (call $malloc (i32.const 100))))
            (start $begin)
            (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
        (core instance $app (instantiate $app (with "libc" (instance $libc))))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $app "run")))"#
    ));
    let guest = check_same(&bytes, 10);
    assert_eq!(
        by_name(&guest),
        names(&[
            ("initialisation", 100),
            ("other modules through malloc", 10)
        ])
    );
}

#[test]
fn an_allocator_whose_entry_points_were_inlined_is_counted_where_it_works() {
    let bytes = component(
        r#"(core module $m
            (memory (export "memory") 2)
            (global $next (mut i32) (i32.const 4096))
            (func $dlmalloc (param $size i32) (result i32) (global.get $next)
                (global.set $next (i32.add (global.get $next) (i32.const 64))))
            (func $dlfree (param i32))
            (func $calloc (param i32 i32) (result i32)
                (call $dlmalloc (i32.mul (local.get 0) (local.get 1))))
            (func $run (export "run") (param i32) (result i32)
                (call $dlfree (call $dlmalloc (i32.const 30)))
                (drop (call $dlmalloc (i32.const 7)))
                (call $calloc (i32.const 3) (local.get 0))))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#,
    );
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 10);
    assert_eq!(guest.live(), (37, 2));
    assert_eq!(guest.totals().unknown_frees, 0);
}

#[test]
fn exceptions_leave_the_contexts_right() {
    // A throw looks like a panic to the compiler: `unreachable` follows. It is survived.
    let bytes = single(
        r#"(tag $e (param i32))
        (func $throw (param i32) (throw $e (call $malloc (local.get 0))))
        (func $deeper (param i32) (call $throw (local.get 0)) (unreachable))
        (func $once (param $n i32) (result i32)
            (block $caught (result i32)
                (try_table (catch $e $caught)
                    (call $deeper (local.get $n)) (unreachable))
                (unreachable))
            (drop (call $malloc (i32.const 1))))
        (func $run (export "run") (param $n i32) (result i32)
            (local $last i32)
            (loop $again
                (local.set $last (call $once (i32.const 5)))
                (drop (call $malloc (i32.const 2)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $again (local.get $n)))
            (local.get $last))"#,
    );
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 100);
    assert_eq!(guest.live(), (800, 300));
    assert_eq!(
        by_name(&guest),
        names(&[
            ("stack of 1", 200),
            ("stack of 2", 100),
            ("stack of 4", 500)
        ])
    );
}

#[test]
fn each_of_several_allocating_modules_has_its_books() {
    let bytes = component(&format!(
        r#"(core module $a {ALLOCATOR} (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
        (core module $b {ALLOCATOR} (func (export "run") (param i32) (result i32)
            (drop (call $malloc (local.get 0))) (call $malloc (local.get 0))))
        (core instance $a (instantiate $a))
        (core instance $b (instantiate $b))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $a "run")))
        (func (export "run-b") (param "n" u32) (result u32) (canon lift (core func $b "run")))"#
    ));
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let mut guest = check_same(&bytes, 10);
    guest.call::<_, (u32,)>("run-b", (100_u32,)).unwrap();
    assert_eq!(guest.live(), (210, 3));
    let mut indices: Vec<_> = guest
        .reading()
        .contexts
        .iter()
        .map(|record| record.index)
        .collect();
    indices.dedup();
    assert_eq!(indices.len(), 3, "{:?}", guest.reading());
    assert_eq!(by_name(&guest), names(&[("stack of 1", 210)]));
}

#[test]
fn a_module_that_is_instantiated_twice_has_books_twice() {
    let bytes = component(&format!(
        r#"(core module $m {ALLOCATOR} (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
        (core instance $a (instantiate $m))
        (core instance $b (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $a "run")))
        (func (export "run-b") (param "n" u32) (result u32) (canon lift (core func $b "run")))"#
    ));
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let mut guest = check_same(&bytes, 10);
    guest.call::<_, (u32,)>("run-b", (100_u32,)).unwrap();
    assert_eq!(guest.live(), (110, 2));
    assert_eq!(guest.reading().contexts.len(), 2);
}

#[test]
fn a_module_that_borrows_an_allocator_is_named_after_what_it_calls() {
    // As the parts of an interpreter: even `cabi_realloc` and post-return are another module's.
    let bytes = component(&format!(
        r#"(core module $libc {ALLOCATOR})
        (core instance $libc (instantiate $libc))
        (core module $app
            (import "libc" "memory" (memory 0))
            (import "libc" "malloc" (func $malloc (param i32) (result i32)))
            (import "libc" "free" (func $free (param i32)))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (call $malloc (local.get 3)))
            (func (export "run") (param i32) (result i32) (call $malloc (local.get 0)))
            (func (export "take") (param i32 i32) (result i32) (call $malloc (i32.const 9)))
            (func (export "post") (param i32) (drop (call $malloc (i32.const 1))) (call $free (local.get 0))))
        (core instance $app (instantiate $app (with "libc" (instance $libc))))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $app "run")))
        (func (export "take") (param "text" string) (result u32)
            (canon lift (core func $app "take") (memory (core memory $libc "memory")) (realloc (core func $app "realloc"))
                (post-return (core func $app "post"))))"#
    ));
    let Attribution::Partial { why } = attribution(&bytes) else {
        panic!()
    };
    assert!(
        why.contains("core module 1 allocates through another one"),
        "{why}"
    );
    let mut guest = check_same(&bytes, 10);
    guest.call::<_, (u32,)>("take", ("four",)).unwrap();
    assert_eq!(
        by_name(&guest),
        names(&[("other modules through malloc", 10 + 4 + 1)])
    );
}

#[test]
fn a_component_inside_is_left_alone_and_said_so() {
    let inner = format!(
        r#"(component $inner
            (core module $m {ALLOCATOR} (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
            (core instance $i (instantiate $m))
            (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))
        (instance $inner (instantiate $inner))"#
    );
    let bytes = component(&format!(r#"{inner} (export "run" (func $inner "run"))"#));
    let Attribution::Off { why } = attribution(&bytes) else {
        panic!()
    };
    assert_eq!(
        why,
        "a component inside this one allocates, which is not looked into"
    );
    let instrumented = instrument(&bytes, &Options::default()).unwrap();
    assert_eq!(instrumented.component, bytes);
    assert_eq!(run(&mut Guest::instrumented(&bytes), 5), 4096);

    let both = component(&format!(
        r#"{inner}
        (core module $m {ALLOCATOR} (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))
        (export "run-inner" (func $inner "run"))"#
    ));
    assert!(matches!(attribution(&both), Attribution::Partial { .. }));
    let mut guest = check_same(&both, 5);
    guest.call::<_, (u32,)>("run-inner", (100_u32,)).unwrap();
    assert_eq!(guest.live(), (5, 1));
}

#[test]
fn without_names_there_is_nothing_to_go_by() {
    let bytes = component(
        r#"(core module $m
            (memory 1)
            (func (param i32) (result i32) (local.get 0))
            (func (export "run") (param i32) (result i32) (call 0 (local.get 0))))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#,
    );
    // The text format keeps the names of what has one: here a module's, of no function.
    let Attribution::Off { why } = attribution(&bytes) else {
        panic!()
    };
    assert_eq!(
        why,
        "no allocator found (core module 0: function names are stripped)"
    );
    let mut guest = Guest::instrumented(&bytes);
    assert_eq!(run(&mut guest, 5), 5);
    assert_eq!(guest.reading(), Default::default());

    let named = component(
        r#"(core module $m (func $run (export "run") (param i32) (result i32) (local.get 0)))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#,
    );
    let Attribution::Off { why } = attribution(&named) else {
        panic!()
    };
    assert_eq!(
        why,
        "no allocator found (core module 0: none of its functions is named malloc or __rust_alloc)"
    );
}

#[test]
fn a_snapshot_of_an_initialised_program_has_blocks_that_nobody_knows() {
    // The block at 2048 was allocated before the component was written.
    let bytes = single(
        r#"(func $start (drop (call $malloc (i32.const 500))))
        (start $start)
        (func $run (export "run") (param i32) (result i32)
            (call $free (i32.const 2048))
            (call $free (call $malloc (i32.const 3)))
            (call $malloc (local.get 0)))"#,
    );
    let guest = check_same(&bytes, 10);
    let totals = guest.totals();
    assert_eq!(
        (totals.unknown_frees, totals.live_bytes, totals.live_objects),
        (1, 510, 2)
    );
    assert_eq!(
        by_name(&guest),
        names(&[("initialisation", 500), ("stack of 1", 10)])
    );
}

#[test]
fn a_global_allocator_over_malloc_is_counted_where_it_takes_its_memory() {
    let bytes = fixtures::rust("bump");
    let instrumented = instrument(&bytes, &Options::default()).unwrap();
    let Attribution::Partial { why } = instrumented.attribution() else {
        panic!()
    };
    assert!(
        why.contains("core module 0 has a global allocator of its own"),
        "{why}"
    );
    assert!(
        instrumented.report.modules[0]
            .entry_points
            .contains(&"malloc")
    );
    let mut guest = Guest::instrumented(&bytes);
    let before = guest.live();
    guest.call::<_, ()>("keep", ("x".repeat(1000),)).unwrap();
    let live = guest.live();
    // It rounds up to powers of two: a string, and a vector of four.
    assert_eq!((live.0 - before.0, live.1 - before.1), (1024 + 64, 2));
    let churned = guest.call::<_, (u64,)>("churn", (1000_u32,)).unwrap();
    assert_eq!(
        churned,
        Guest::original(&bytes)
            .call::<_, (u64,)>("churn", (1000_u32,))
            .unwrap()
    );
    // What it holds in its free lists, it holds.
    let held = guest.live();
    guest.call::<_, (u64,)>("churn", (1000_u32,)).unwrap();
    guest.call::<_, ()>("drop-kept", ()).unwrap();
    assert_eq!(guest.live(), held);
    assert_eq!(guest.totals().unknown_frees, 0);
}

#[test]
fn rusts_own_entry_points_will_do() {
    // A free list of one block, so that a realloc may move or not. Mangled as rustc does.
    let bytes = component(
        r#"(core module $m
            (memory 2)
            (global $next (mut i32) (i32.const 4096))
            (func $_RNvCs1_7___rustc12___rust_alloc (param i32 i32) (result i32)
                (global.get $next)
                (global.set $next (i32.add (global.get $next) (i32.const 1024))))
            (func $_RNvCs1_7___rustc19___rust_alloc_zeroed (param i32 i32) (result i32)
                (call $_RNvCs1_7___rustc12___rust_alloc (local.get 0) (local.get 1)))
            (func $_RNvCs1_7___rustc14___rust_realloc (param i32 i32 i32 i32) (result i32)
                (if (i32.le_u (local.get 3) (i32.const 1024)) (then (return (local.get 0))))
                (call $_RNvCs1_7___rustc12___rust_alloc (local.get 3) (local.get 2)))
            (func $_RNvCs1_7___rustc14___rust_dealloc (param i32 i32 i32))
            (func $run (export "run") (param i32) (result i32)
                (local $a i32) (local $b i32)
                (local.set $a (call $_RNvCs1_7___rustc12___rust_alloc (i32.const 100) (i32.const 8)))
                (local.set $b (call $_RNvCs1_7___rustc19___rust_alloc_zeroed (i32.const 20) (i32.const 8)))
                (local.set $a (call $_RNvCs1_7___rustc14___rust_realloc
                    (local.get $a) (i32.const 100) (i32.const 8) (i32.const 200)))
                (local.set $a (call $_RNvCs1_7___rustc14___rust_realloc
                    (local.get $a) (i32.const 200) (i32.const 8) (i32.const 3000)))
                (call $_RNvCs1_7___rustc14___rust_dealloc (local.get $b) (i32.const 20) (i32.const 8))
                (i32.sub (local.get $a) (local.get $b))))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#,
    );
    assert!(matches!(attribution(&bytes), Attribution::Partial { .. }));
    let guest = check_same(&bytes, 1);
    let totals = guest.totals();
    assert_eq!(guest.live(), (3000, 1));
    assert_eq!(
        (totals.allocated_bytes, totals.allocated_objects),
        (3320, 4)
    );
    assert_eq!((totals.unknown_frees, totals.lost), (0, 0));
}

#[test]
fn an_entry_point_that_calls_another_counts_once() {
    let bytes = single(
        r#"(func $calloc (param i32 i32) (result i32)
            (call $helper (i32.mul (local.get 0) (local.get 1))))
        (func $helper (param i32) (result i32) (call $malloc (local.get 0)))
        (func $posix_memalign (param i32 i32 i32) (result i32)
            (i32.store (local.get 0) (call $calloc (local.get 2) (i32.const 1))) (i32.const 0))
        (func $run (export "run") (param i32) (result i32)
            (drop (call $posix_memalign (i32.const 16) (i32.const 8) (i32.const 30)))
            (call $free (i32.load (i32.const 16)))
            (drop (call $malloc (i32.const 7)))
            (call $calloc (i32.const 3) (local.get 0)))"#,
    );
    let guest = check_same(&bytes, 10);
    let totals = guest.totals();
    assert_eq!(guest.live(), (37, 2));
    assert_eq!(
        (
            totals.allocated_bytes,
            totals.allocated_objects,
            totals.unknown_frees
        ),
        (67, 3, 0)
    );
}

/// Refuses the profiler's memory any growth, and counts what the guest's own gets.
struct Limiter {
    meta: std::sync::Arc<guest_heap::InstrumentedMeta>,
    refused: usize,
    guest: usize,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if !self.meta.is_profiler_memory(maximum) {
            self.guest += desired - current;
            return Ok(true);
        }
        self.refused += usize::from(current > 0);
        Ok(current == 0)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

#[test]
fn a_profiler_without_memory_loses_counts_and_the_guest_nothing() {
    let instrumented = instrument(&fixtures::rust("workout"), &Options::default()).unwrap();
    let engine = wasmtime::Engine::new(&crate::guest::config()).unwrap();
    let compiled = wasmtime::component::Component::new(&engine, &instrumented.component).unwrap();
    let mut store = store(&engine, instrumented.meta.clone());
    store.data_mut().limiter = Some(Box::new(Limiter {
        meta: instrumented.meta,
        refused: 0,
        guest: 0,
    }));
    let instance = linker(&engine)
        .unwrap()
        .instantiate(&mut store, &compiled)
        .unwrap();
    let mut guest = Guest { store, instance };
    let before = guest.live();
    for _ in 0..2 {
        guest.call::<_, ()>("fill", (100_000_u32, 40_u32)).unwrap();
        let totals = guest.totals();
        assert!(
            totals.lost > 90_000 && totals.lost_bytes >= totals.lost * 40,
            "{totals:?}"
        );
        assert!(totals.live_objects < 10_000, "{totals:?}");
        guest.call::<_, ()>("empty", ()).unwrap();
        assert_eq!(guest.live(), before);
    }
    let totals = guest.totals();
    assert_eq!(totals.lost, totals.unknown_frees);
}

#[test]
fn a_guests_memory_is_never_taken_for_the_profilers() {
    let bytes = fixtures::rust("workout");
    let first = instrument(&bytes, &Options::default()).unwrap().meta;
    let taken = (0..1 << 16)
        .find(|pages| first.is_profiler_memory(Some(pages << 16)))
        .unwrap();
    let sly = single(&format!(
        r#"(memory $other 1 {taken}) (func $run (export "run") (param i32) (result i32) (local.get 0))"#
    ));
    let meta = instrument(&sly, &Options::default()).unwrap().meta;
    assert!(!meta.is_profiler_memory(Some(taken << 16)));
    assert!(!meta.is_profiler_memory(None));
    assert!(meta.is_profiler_memory(Some((taken + 1) << 16)));
    check_same(&sly, 3);
}

#[test]
fn what_is_no_component_is_an_error_and_what_is_instrumented_stays_so() {
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
    let bytes = fixtures::rust("bump");
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
    // A local that is not there.
    invalid[at + 3] = 9;
    assert!(matches!(error(&invalid), InstrumentError::Invalid(_)));
    // What is not there either, but would be once it is instrumented.
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
fn a_damaged_component_is_an_error_or_loads_and_never_more() {
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
fn a_recorder_without_an_instance_has_empty_books() {
    let engine = wasmtime::Engine::default();
    let meta = guest_heap::InstrumentedMeta::off("a test");
    let store = wasmtime::Store::new(&engine, Recorder::new(meta.into()));
    assert_eq!(store.data().read(&store), Default::default());
    assert_eq!(
        store.data().context(&store, 3),
        Context::Synthetic("unknown".into())
    );
}
