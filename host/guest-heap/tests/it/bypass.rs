//! Allocators that the compiler has inlined: blocks that no entry point sees, in arrays of the
//! program.

use guest_heap::Attribution;

use crate::coverage::{is_exact, known_gap, lift, with_allocator};
use crate::wat_guest::{attribution, check_same};

/// A bump allocator over static data, as the compiler inlines it.
const INLINED: &str = r#"
    (i32.load (i32.const 2048))
    (i32.store (i32.const 2048)
        (i32.add (i32.load (i32.const 2048)) (local.get 0)))"#;

const INLINED_EVERYWHERE: &str = "core module 0 has an allocator of its own that is no function of \
                                  it, because the compiler has inlined it into its callers: the \
                                  profiler misses its blocks";

#[test]
fn the_export_by_which_the_host_allocates_leads_to_an_entry_point() {
    let guest = |realloc: &str| {
        with_allocator(&format!(
            r#"(func $7 (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
            (func $run (export "run") (param i32) (result i32) (call $malloc (local.get 0)))"#
        ))
    };
    assert_eq!(
        attribution(&guest("(call $malloc (local.get 3))")),
        Attribution::Exact
    );
    assert_eq!(
        known_gap(&guest(INLINED)),
        "core module 0 allocates without the entry points that are hooked, in 7"
    );
}

#[test]
fn a_vector_that_grows_leads_to_an_entry_point() {
    let guest = |grow: &str| {
        with_allocator(&format!(
            r#"(func $_RNvMs4_NtCs8jb7XIKFSSy_5alloc7raw_vecNtB5_11RawVecInner11finish_growCs_1a
                (param i32) (result i32) {grow})
            (func $run (export "run") (param i32) (result i32)
                (drop (call $malloc (i32.const 1)))
                (call $_RNvMs4_NtCs8jb7XIKFSSy_5alloc7raw_vecNtB5_11RawVecInner11finish_growCs_1a
                    (local.get 0)))"#
        ))
    };
    let clean = check_same(&guest("(call $malloc (local.get 0))"), 10);
    assert!(is_exact(&clean));
    let gap = known_gap(&guest(INLINED));
    let expected = "core module 0 allocates without the entry points that are hooked, in \
                    <alloc::raw_vec::RawVecInner>::finish_grow";
    assert_eq!(gap, expected);
    check_same(&guest(INLINED), 10);
}

#[test]
fn code_that_reports_a_failed_allocation_has_allocated() {
    let guest = |functions: &str| {
        with_allocator(&format!(
            r#"(func $_RNvNtCs8jb7XIKFSSy_5alloc5alloc18handle_alloc_error (param i32) unreachable)
            {functions}
            (func $run (export "run") (param i32) (result i32)
                (drop (call $malloc (i32.const 1)))
                (call $boxed (local.get 0)))"#
        ))
    };
    let inlined = guest(&format!(
        r#"(func $boxed (param i32) (result i32)
            {INLINED}
            (if (i32.eqz (local.get 0))
                (then
                    (call $_RNvNtCs8jb7XIKFSSy_5alloc5alloc18handle_alloc_error (local.get 0))
                    unreachable)))"#
    ));
    assert_eq!(
        known_gap(&inlined),
        "core module 0 allocates without the entry points that are hooked, in boxed"
    );
    // A function that only reports, for callers that allocate.
    let reports = guest(
        r#"(func $report (param i32) (result i32)
            (if (i32.eqz (local.get 0))
                (then (call $_RNvNtCs8jb7XIKFSSy_5alloc5alloc18handle_alloc_error (local.get 0))))
            (local.get 0))
        (func $boxed (param i32) (result i32) (call $report (call $malloc (local.get 0))))"#,
    );
    assert_eq!(attribution(&reports), Attribution::Exact);
}

#[test]
fn debug_information_names_an_allocator_that_is_inlined_everywhere() {
    let guest = |names: &str| {
        lift(&format!(
            r#"(memory 1)
            (func $malloc (param i32) (result i32) (i32.const 4096))
            (func $free (param i32))
            (func $run (export "run") (param i32) (result i32)
                (drop (call $malloc (i32.const 1)))
                {INLINED})
            (@custom ".debug_str" "main\00{names}\00run\00")"#
        ))
    };
    for inlined in ["__rust_alloc", "__rg_alloc", "_Znwm", "_Znaj"] {
        assert_eq!(known_gap(&guest(inlined)), INLINED_EVERYWHERE, "{inlined}");
    }
    for other in ["__rust_allocate", "my__rust_alloc", "__rdl_alloc", "malloc"] {
        assert_eq!(attribution(&guest(other)), Attribution::Exact, "{other}");
    }
}

#[test]
fn operators_of_the_program_are_counted_in_front_of_malloc() {
    // The program takes small blocks from static data, and large ones from `malloc`. Linkers write
    // demangled names.
    let guest = |new: &str, delete: &str| {
        with_allocator(&format!(
            r#"(func $take (param i32) (result i32)
                (if (result i32) (i32.gt_u (local.get 0) (i32.const 50))
                    (then (call $malloc (local.get 0)))
                    (else
                        (i32.store (i32.const 2048)
                            (i32.add (i32.load (i32.const 2048)) (i32.const 64)))
                        (i32.add (i32.load (i32.const 2048)) (i32.const 1024)))))
            (func {new} (param i32) (result i32) (call $take (local.get 0)))
            (func {delete} (param i32 i32)
                (if (i32.gt_u (local.get 0) (i32.const 4095))
                    (then (call $free (local.get 0)))))
            (func $run (export "run") (param i32) (result i32)
                (call {delete} (call {new} (i32.const 40)) (i32.const 40))
                (call {delete} (call {new} (i32.const 70)) (i32.const 70))
                (drop (call {new} (i32.const 80)))
                (drop (call $malloc (i32.const 5)))
                (call {new} (local.get 0)))"#
        ))
    };
    for (new, delete) in [
        ("$_Znwm", "$_ZdlPvm"),
        (
            r#"$"operator new(unsigned long)""#,
            r#"$"operator delete(void*, unsigned long)""#,
        ),
    ] {
        let guest = check_same(&guest(new, delete), 10);
        assert_eq!(guest.live(), (95, 3), "{new}");
        assert!(is_exact(&guest), "{new}");
    }
}

#[test]
fn an_operator_that_frees_may_be_inlined() {
    let guest = with_allocator(
        r#"(func $_Znwm (param i32) (result i32)
            (i32.store (i32.const 2048)
                (i32.add (i32.load (i32.const 2048)) (i32.const 64)))
            (i32.add (i32.load (i32.const 2048)) (i32.const 1024)))
        (func $run (export "run") (param i32) (result i32)
            (drop (call $malloc (i32.const 5)))
            (call $_Znwm (local.get 0)))"#,
    );
    assert_eq!(
        known_gap(&guest),
        "core module 0 has an allocator without a function that frees: a freed block counts until \
         its memory is handed out again"
    );
}

#[test]
fn functions_of_the_cxx_library_need_an_operator() {
    let guest = |functions: &str| {
        with_allocator(&format!(
            r#"{functions}
            (func $"void std::__2::vector<int>::__push_back_slow_path<int>(int&&)"
                (param i32) (result i32) (call $malloc (local.get 0)))
            (func $run (export "run") (param i32) (result i32)
                (call $"void std::__2::vector<int>::__push_back_slow_path<int>(int&&)"
                    (local.get 0)))"#
        ))
    };
    assert_eq!(known_gap(&guest("")), INLINED_EVERYWHERE);
    let library = r#"(func $"operator new(unsigned long)" (param i32) (result i32)
        (call $malloc (local.get 0)))"#;
    assert_eq!(attribution(&guest(library)), Attribution::Exact);
}

#[test]
fn functions_of_rust_have_names_that_linkers_demangle() {
    let guest = with_allocator(
        r#"(func $__rustc::__rust_alloc (param i32 i32) (result i32)
            (call $malloc (local.get 0)))
        (func $__rustc::__rust_dealloc (param i32 i32 i32) (call $free (local.get 0)))
        (func $run (export "run") (param i32) (result i32)
            (call $__rustc::__rust_dealloc
                (call $__rustc::__rust_alloc (i32.const 9) (i32.const 1))
                (i32.const 9) (i32.const 1))
            (call $__rustc::__rust_alloc (local.get 0) (i32.const 1)))"#,
    );
    // Without `__rdl_alloc`, the allocator is the program's own.
    let gap = known_gap(&guest);
    assert!(
        gap.contains("has a global allocator of its own: the profiler counts"),
        "{gap}"
    );
    let guest = check_same(&guest, 10);
    assert_eq!(guest.live(), (10, 1));
}

#[test]
fn rusts_default_allocator_is_exact_when_its_parts_are_inlined() {
    // `__rdl_alloc` is inlined into `__rust_alloc`, and `__rust_dealloc` into its callers.
    let guest = with_allocator(
        r#"(func $_RNvCs1_7___rustc12___rust_alloc (param i32 i32) (result i32)
            (call $malloc (local.get 0)))
        (func $run (export "run") (param i32) (result i32)
            (call $free (call $_RNvCs1_7___rustc12___rust_alloc (i32.const 10) (i32.const 8)))
            (call $_RNvCs1_7___rustc12___rust_alloc (local.get 0) (i32.const 8)))"#,
    );
    assert_eq!(attribution(&guest), Attribution::Exact);
    let guest = check_same(&guest, 20);
    assert!(is_exact(&guest));
    assert_eq!(guest.live(), (20, 1));
}
