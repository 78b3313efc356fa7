//! What the ledger of handles does not count, and that it says so.

use guest_heap::{HandleMeta, Handles, Options, instrument};

use crate::guest::Guest;
use crate::wat_guest::{ALLOCATOR, check_same, component, run};

/// A core module whose `run` makes this many handles and drops a half of them.
fn maker(memory: &str) -> String {
    format!(
        r#"(core module {memory}
            (import "" "new" (func $new (param i32) (result i32)))
            (import "" "drop" (func $drop (param i32)))
            {ALLOCATOR}
            (func (export "run") (param $n i32) (result i32)
                (local $handle i32)
                (drop (call $malloc (i32.const 8)))
                (loop $again
                    (if (local.get $n) (then
                        (local.set $handle (call $new (i32.const 5)))
                        (if (i32.and (local.get $n) (i32.const 1))
                            (then (call $drop (local.get $handle))))
                        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                        (br $again))))
                (i32.const 0)))"#
    )
}

/// The resource that the module above makes, and its instance.
fn own_resource(instance: &str) -> String {
    format!(
        r#"(type $r (resource (rep i32)))
        (core func $new (canon resource.new $r))
        (core func $drop (canon resource.drop $r))
        {}
        (core instance $i (instantiate $m (with "" (instance
            (export "new" (func $new)) (export "drop" (func $drop))))))
        {instance}
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#,
        maker("$m")
    )
}

fn handles(bytes: &[u8], n: u32) -> Handles {
    let mut guest = Guest::instrumented(bytes);
    run(&mut guest, n);
    guest.reading().handles
}

fn meta(bytes: &[u8]) -> HandleMeta {
    let instrumented = instrument(bytes, &Options::default()).unwrap();
    instrumented.meta.handles().clone()
}

/// Live and made handles of all records.
fn sums(handles: &Handles) -> (u64, u64) {
    let made = handles.records.iter().map(|record| record.made).sum();
    (handles.live(), made)
}

#[test]
fn handles_beyond_the_bound_are_untracked() {
    let bytes = component(&own_resource(""));
    check_same(&bytes, 9);
    let few = handles(&bytes, 1000);
    assert_eq!((sums(&few), few.untracked), ((500, 1000), 0));
    let many = handles(&bytes, 140_000);
    assert!(many.are_counted && many.gaps.is_empty());
    // 65,535 are live, and the others are too many.
    assert_eq!(many.live(), 65_535);
    assert!(many.untracked >= 70_000 - 65_535, "{many:?}");
}

#[test]
fn a_component_without_handles_has_none() {
    let plain = component(&format!(
        r#"(core module $m {ALLOCATOR} (func (export "run") (param i32) (result i32)
            (call $malloc (local.get 0))))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#
    ));
    assert_eq!(meta(&plain).gaps.len(), 0);
    let none = handles(&plain, 3);
    assert_eq!(
        (none.are_counted, none.records.len(), none.untracked),
        (false, 0, 0)
    );
}

#[test]
fn a_component_inside_another_one_has_its_own_handles() {
    let inner = own_resource("");
    let bytes = component(&format!(
        r#"(component $c {inner})
        (instance $one (instantiate $c))
        (instance $two (instantiate $c))
        (export "run" (func $one "run"))
        (export "run-two" (func $two "run"))"#
    ));
    let mut guest = Guest::instrumented(&bytes);
    run(&mut guest, 10);
    guest.call::<_, (u32,)>("run-two", (4_u32,)).unwrap();
    let handles = guest.reading().handles;
    assert!(
        handles.are_counted && handles.gaps.is_empty(),
        "{handles:?}"
    );
    assert_eq!(sums(&handles), (7, 14));
    assert_eq!(handles.records.len(), 2, "one line of each instance");
}

#[test]
fn handles_of_two_heaps_in_one_component_are_not_counted() {
    let second = r#"(core instance $j (instantiate $m (with "" (instance
        (export "new" (func $new)) (export "drop" (func $drop))))))"#;
    let bytes = component(&own_resource(second));
    let meta = meta(&bytes);
    assert!(!meta.are_counted);
    assert_eq!(
        meta.gaps.to_vec(),
        ["handles of core module 0, which shares them with another heap".into()]
    );
    assert!(handles(&bytes, 10).records.is_empty());
}

#[test]
fn imports_that_are_called_through_a_table_are_named() {
    let bytes = component(&format!(
        r#"(type $r (resource (rep i32)))
        (core func $new (canon resource.new $r))
        (core module $m
            (import "" "new" (func $new (param i32) (result i32)))
            {ALLOCATOR}
            (type $f (func (param i32) (result i32)))
            (table 1 funcref)
            (elem (i32.const 0) $new)
            (func (export "run") (param $n i32) (result i32)
                (drop (call $malloc (local.get $n)))
                (drop (call_indirect (type $f) (i32.const 5) (i32.const 0)))
                (i32.const 0)))
        (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#
    ));
    assert_eq!(
        meta(&bytes).gaps.to_vec(),
        ["handles of imports that are called through a table".into()]
    );
    check_same(&bytes, 3);
}

/// A component that imports a function with this result, which is made of handles `$h`.
fn importing(types: &str, result: &str) -> Vec<u8> {
    component(&format!(
        r#"(import "r" (type $r (sub resource)))
        (type $h (own $r))
        {types}
        (import "f" (func $f (result {result})))
        (core module $memory {ALLOCATOR})
        (core instance $memory (instantiate $memory))
        (core func $f (canon lower (func $f)
            (memory (core memory $memory "memory")) (realloc (core func $memory "cabi_realloc"))))
        (core module $m
            (import "" "f" (func $f (param i32)))
            (import "" "memory" (memory 1))
            (import "" "malloc" (func $malloc (param i32) (result i32)))
            (func (export "run") (param i32) (result i32)
                (call $f (call $malloc (i32.const 8192)))
                (i32.const 0)))
        (core instance $i (instantiate $m (with "" (instance
            (export "f" (func $f))
            (export "memory" (memory $memory "memory"))
            (export "malloc" (func $memory "malloc"))))))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#
    ))
}

#[test]
fn hostile_types_are_refused_and_named() {
    let tower = |levels: u32, wrap: &dyn Fn(&str) -> String| {
        let mut types = String::new();
        let mut last = "$h".to_owned();
        for level in 0..levels {
            types.push_str(&format!("(type $t{level} {})", wrap(&last)));
            last = format!("$t{level}");
        }
        (types, last)
    };
    let tuple = |of: &str| format!("(tuple u8 {of})");
    let list = |of: &str| format!("(list {of})");
    let double = |of: &str| format!("(tuple {of} {of})");
    let complex = "handles of functions whose types or options are too complex";
    let (types, result) = tower(40, &tuple);
    assert_eq!(meta(&importing(&types, &result)).gaps.len(), 0);
    for (types, result) in [
        tower(70, &tuple),
        tower(9, &double),
        tower(16, &double),
        tower(5, &list),
    ] {
        let meta = meta(&importing(&types, &result));
        assert_eq!(meta.gaps.to_vec(), [complex.into()], "{}", result);
    }
    let (types, result) = tower(3, &list);
    let meta = meta(&importing(&types, &result));
    assert!(meta.are_counted && meta.gaps.is_empty(), "{meta:?}");
}
