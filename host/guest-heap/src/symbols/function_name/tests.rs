use super::*;

#[test]
fn rust_and_cpp_names_are_demangled() {
    let cases = [
        (
            "_ZN5alloc7raw_vec19RawVec$LT$T$C$A$GT$8grow_one17h0123456789abcdefE",
            "alloc::raw_vec::RawVec<T,A>::grow_one",
        ),
        ("_ZN5shape6Circle4growEi", "shape::Circle::grow"),
        ("_Znwm", "operator new"),
        ("strdup", "strdup"),
        ("_Znonsense", "_Znonsense"),
    ];
    for (raw, expected) in cases {
        assert_eq!(demangle(raw), expected, "{raw}");
    }
}

#[test]
fn the_owner_of_a_method_is_its_self_type_or_its_trait() {
    let cases = [
        ("lines::closure::{{closure}}", Some("lines")),
        ("<lines::Greedy as lines::Handler>::handle", Some("lines")),
        (
            "<alloc::vec::Vec<lines::Node> as core::clone::Clone>::clone",
            Some("alloc"),
        ),
        (
            "<[T] as alloc::slice::hack::ConvertVec>::to_vec",
            Some("alloc"),
        ),
        (
            "<&mut F as core::ops::function::FnOnce<A>>::call_once",
            Some("core"),
        ),
        ("<&mut lines::Node as core::fmt::Debug>::fmt", Some("lines")),
        ("alloc::slice::<impl [T]>::to_vec", Some("alloc")),
        ("__rustc::__rust_alloc", Some("__rustc")),
        ("malloc", None),
    ];
    for (function, expected) in cases {
        assert_eq!(owner_crate(function), expected, "{function}");
    }
}

#[test]
fn names_do_not_depend_on_the_build() {
    for (raw, shown) in [
        ("_ZN2js2gc4growEj.llvm.15017134172974177405", "js::gc::grow"),
        ("_ZN2js2gc4growEj", "js::gc::grow"),
        ("_ZN2js2gc4growEj.142", "js::gc::grow"),
        (
            "js::grow(int) (.llvm.15017134172974177405)",
            "js::grow(int)",
        ),
        ("grow", "grow"),
    ] {
        assert_eq!(demangle(raw), shown, "{raw}");
    }
}

#[test]
fn a_file_path_gives_the_module_path() {
    let cases = [
        (
            "library/alloc/src/raw_vec/mod.rs",
            None,
            Some("alloc::raw_vec"),
        ),
        ("library/core/src/fmt/num.rs", None, Some("core::fmt::num")),
        (
            "hashbrown-0.16.1/src/raw/mod.rs",
            None,
            Some("hashbrown::raw"),
        ),
        (
            "serde-json-1.0.1/src/lib.rs",
            Some("serde-json"),
            Some("serde_json"),
        ),
        ("libc-top-half/musl/src/string/strdup.c", None, None),
    ];
    for (file, crate_name, expected) in cases {
        assert_eq!(
            module_of_file(file, crate_name).as_deref(),
            expected,
            "{file}"
        );
    }
}

#[test]
fn a_closure_is_named_after_the_function_around_it() {
    let function = |name, file| Inlined {
        name,
        file: Some(file),
    };
    let with = "for_each<core::ops::range::Range<i32>, lines::closure::{closure_env#0}>";
    let outer = [
        function(with, "library/core/src/iter.rs"),
        function("run", "src/lib.rs"),
    ];
    let enclosing = |name| enclosing_function(name, Some("src/lib.rs"), &outer);
    for (name, expected) in [
        ("{closure#0}", Some("lines::closure")),
        ("{closure#1}", Some("run")),
        ("{closure#1}<u8, fn() -> i32>", Some("run")),
        ("{async_fn#0}", Some("run")),
        ("keep", None),
    ] {
        assert_eq!(enclosing(name).as_deref(), expected, "{name}");
    }
    let generic = "with<i32, lines::Shelf<u8, u16>::keep<i8>::{closure_env#2}<i8>, u8>";
    assert_eq!(
        enclosing_function("{closure#2}", None, &[function(generic, "")]).as_deref(),
        Some("lines::Shelf<u8, u16>::keep<i8>")
    );
    assert_eq!(enclosing_function("{closure#9}", None, &outer), None);
}

#[test]
fn line_tables_and_symbols_can_name_a_function_differently() {
    for (dwarf, symbol, expected) in [
        (
            "push<u8, Global>",
            "_ZN5alloc3vec16Vec$LT$T$C$A$GT$4push17h0123456789abcdefE",
            true,
        ),
        ("dlmalloc", "malloc", true),
        ("malloc", "dlmalloc", true),
        ("__libc_calloc", "calloc", true),
        ("main", "__main_void", true),
        ("main", "__original_main", true),
        ("{closure#0}", "lines::keep::{{closure}}", true),
        (
            "call_once<F>",
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            true,
        ),
        ("run", "run.command_export", true),
        ("strlen", "keep", false),
        ("grow", "_ZN5shape6Circle4growEi", true),
        ("shrink", "_ZN5shape6Circle4growEi", false),
    ] {
        assert_eq!(
            is_same_function(dwarf, symbol),
            expected,
            "{dwarf} {symbol}"
        );
    }
}

#[test]
fn the_last_segment_has_no_generics() {
    let cases = [
        ("<alloc::raw_vec::RawVec<T>>::grow_one", "grow_one"),
        (
            "lines::_export_run_cabi::<lines::Lines>",
            "_export_run_cabi",
        ),
        ("lines::_export_run_cabi<lines::Lines>", "_export_run_cabi"),
        ("_export_run_cabi<lines::Lines>", "_export_run_cabi"),
        (
            "map_or_else<&str, fn(&str) -> alloc::string::String>",
            "map_or_else",
        ),
        ("<lines::Cache as lines::Keep<u8>>::keep::<u8>", "keep"),
        ("lines::closure::{closure#0}", "{closure#0}"),
        ("operator->", "operator->"),
        ("malloc", "malloc"),
    ];
    for (function, expected) in cases {
        assert_eq!(last_segment(function), expected, "{function}");
    }
}

#[test]
fn a_name_that_expands_too_much_stays_mangled() {
    // A template with two copies of the previous template as its arguments, nested `levels`
    // times.
    let twice = |levels: u32| {
        let base_36 = |n: u32| char::from_digit(n, 36).unwrap().to_ascii_uppercase();
        let mut name = "_Z1fI1A1BIS0_S0_E".to_owned();
        for level in 2..levels + 2 {
            let last = base_36(level);
            name += &format!("S1_IS{last}_S{last}_E");
        }
        name + "Evv"
    };
    assert!(
        demangle(&twice(3)).contains("B<B<"),
        "{}",
        demangle(&twice(3))
    );
    assert_eq!(demangle(&twice(30)), twice(30));
}
