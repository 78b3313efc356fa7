use super::*;

fn classifier() -> Classifier {
    let options = SymbolOptions::default()
        .infrastructure_path("plugins/sdk")
        .infrastructure_crate("leak-sdk");
    Classifier::new(
        options,
        &[
            "leak-lab:plugin/host@0.1.0".to_owned(),
            "leak-lab:plugin/leak@0.1.0".to_owned(),
            "run".to_owned(),
        ],
    )
}

#[test]
fn a_function_with_a_file_is_classified_by_the_file() {
    let library = |name: &str| Origin::Library(name.to_owned());
    let cases = [
        (
            "cache::insert",
            "plugins/cache/src/lib.rs",
            Origin::Own,
            FrameKind::User,
        ),
        (
            "leak_sdk::retain",
            "plugins/sdk/src/lib.rs",
            Origin::Own,
            FrameKind::Infrastructure,
        ),
        (
            "x::y",
            "plugins/sdk-user/src/lib.rs",
            Origin::Own,
            FrameKind::User,
        ),
        (
            "serde_json::value::to_value",
            "serde_json-1.0.1/src/lib.rs",
            library("serde_json"),
            FrameKind::Registry,
        ),
        (
            "leak_sdk::retain",
            "leak-sdk-0.1.0/src/lib.rs",
            library("leak-sdk"),
            FrameKind::Infrastructure,
        ),
        (
            "alloc::vec::Vec<T>::push",
            "library/alloc/src/vec/mod.rs",
            Origin::Standard,
            FrameKind::Std,
        ),
        (
            "wit_bindgen::rt::run",
            "wit-bindgen-0.61.1/src/lib.rs",
            Origin::Generated,
            FrameKind::Bindings,
        ),
        (
            "alloc::alloc::exchange_malloc",
            "library/alloc/src/alloc.rs",
            Origin::Allocator,
            FrameKind::Allocator,
        ),
        // For allocators and generated code the name decides.
        (
            "<cache::Counting as core::alloc::global::GlobalAlloc>::alloc",
            "plugins/cache/src/lib.rs",
            Origin::Own,
            FrameKind::Allocator,
        ),
        (
            "cache::exports::leak_lab::plugin::leak::_export_on_request_cabi",
            "cache/src/lib.rs",
            Origin::Own,
            FrameKind::Bindings,
        ),
        (
            "cache::leak_lab::plugin::host::now",
            "cache/src/lib.rs",
            Origin::Own,
            FrameKind::Bindings,
        ),
        (
            "cache::_rt::string_lift",
            "cache/src/lib.rs",
            Origin::Own,
            FrameKind::Bindings,
        ),
        // An implementation of a generated trait is the user's code.
        (
            "<cache::Cache as cache::exports::leak_lab::plugin::leak::Guest>::on_request",
            "cache/src/lib.rs",
            Origin::Own,
            FrameKind::User,
        ),
        (
            "cache::run::{closure#0}",
            "cache/src/lib.rs",
            Origin::Own,
            FrameKind::User,
        ),
        (
            "cache::malloc",
            "cache/src/lib.rs",
            Origin::Own,
            FrameKind::User,
        ),
    ];
    for (function, shown, origin, expected) in cases {
        let source = SourcePath {
            shown: shown.to_owned(),
            origin,
            crate_name: None,
        };
        assert_eq!(
            classifier().kind(function, Some(&source), true),
            expected,
            "{function} in {shown}"
        );
    }
}

#[test]
fn a_function_without_a_line_is_classified_by_its_name() {
    let cases = [
        ("malloc", false, FrameKind::Allocator),
        ("dlmalloc", true, FrameKind::Allocator),
        ("__libc_calloc", true, FrameKind::Allocator),
        ("__rustc::__rust_alloc", true, FrameKind::Allocator),
        ("operator new", false, FrameKind::Allocator),
        ("_PyMem_RawMalloc", false, FrameKind::Allocator),
        ("PyObject_Malloc", false, FrameKind::Allocator),
        ("PyObject_Call", false, FrameKind::User),
        ("strdup", false, FrameKind::Std),
        ("_start", false, FrameKind::Std),
        (
            "alloc::raw_vec::RawVec<T,A>::grow_one",
            false,
            FrameKind::Std,
        ),
        (
            "<alloc::vec::Vec<cache::Entry> as core::clone::Clone>::clone",
            false,
            FrameKind::Std,
        ),
        (
            "<cache::Cache as cache::Keep>::keep",
            false,
            FrameKind::User,
        ),
        ("leak_sdk::retain", false, FrameKind::Infrastructure),
        ("cabi_realloc", false, FrameKind::Bindings),
        (
            "leak-lab:plugin/leak@0.1.0#on-request",
            false,
            FrameKind::Bindings,
        ),
        ("keep_for_ever", false, FrameKind::User),
        // If other code has lines, a function without lines belongs to a linked runtime.
        ("keep_for_ever", true, FrameKind::Std),
    ];
    for (function, has_lines, expected) in cases {
        assert_eq!(
            classifier().kind(function, None, has_lines),
            expected,
            "{function}, lines: {has_lines}"
        );
    }
}
