//! Symbols name the right line for every kind of leak.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use guest_heap::reading::Context;
use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::symbols::{Detail, FrameKind, LineTables, SymbolOptions, Symbols};

use crate::lines_guest::{Allocation, options, reading_of, recorded, sources, symbols};

/// The lines with a `leak: name` comment in the guest's sources: `name -> file:line`.
pub(crate) fn marked_lines() -> HashMap<String, String> {
    let mut marked = HashMap::new();
    for file in [
        "src/lib.rs",
        "middle-crate/src/lib.rs",
        "inner-crate/src/lib.rs",
    ] {
        let text = fs::read_to_string(sources().join(Path::new(file))).unwrap();
        for (line, number) in text.lines().zip(1..) {
            if let Some((code, name)) = line
                .split_once("// leak: ")
                .filter(|(code, _)| !code.contains("//"))
            {
                assert!(
                    !code.trim().is_empty(),
                    "the mark of {name} is not on a line of code"
                );
                assert_eq!(
                    marked.insert(name.to_owned(), format!("{file}:{number}")),
                    None,
                    "{name}"
                );
            }
        }
    }
    marked
}

#[test]
fn every_kind_of_leak_is_attributed_to_its_line() {
    let marked = marked_lines();
    let recorded = recorded();
    assert_eq!(
        recorded.cases.len(),
        marked.len(),
        "every mark needs a case"
    );
    for (name, allocations) in &recorded.cases {
        assert!(!allocations.is_empty(), "{name} does not allocate");
        let (reading, contexts) = reading_of(allocations);
        let snapshot = Snapshot::new(
            &reading,
            |index| contexts.get(index as usize).cloned(),
            symbols(),
        );
        let top = &snapshot.top(GroupBy::Line, 1)[0];
        assert_eq!(&*top.location, marked[name], "{name}: {top:#?}");
    }
}

#[test]
fn every_frame_of_a_stack_has_the_right_kind() {
    let stack = recorded().case("registry_crate")[0].stack.clone();
    let frames = symbols().frames(&Context::Stack(stack));
    let find = |function: &str| {
        let found = frames
            .iter()
            .find(|frame| frame.function.contains(function));
        found.unwrap_or_else(|| panic!("no {function} in {frames:#?}"))
    };
    let cases = [
        ("__rust_alloc", FrameKind::Allocator, "probe/src/lib.rs"),
        (
            "alloc::alloc::alloc",
            FrameKind::Allocator,
            "library/alloc/src/alloc.rs",
        ),
        ("smallvec::push", FrameKind::Registry, "smallvec-1."),
        ("lines::registry_crate", FrameKind::User, "src/lib.rs"),
        (
            "probe::armed",
            FrameKind::Infrastructure,
            "probe/src/lib.rs",
        ),
        ("_export_run_cabi", FrameKind::Bindings, "src/lib.rs"),
        ("export_run", FrameKind::Bindings, "src/lib.rs"),
    ];
    for (function, kind, file) in cases {
        let frame = find(function);
        assert_eq!(frame.kind, kind, "{frame:?}");
        assert!(
            frame
                .file
                .as_deref()
                .is_some_and(|shown| shown.starts_with(file)),
            "{frame:?}"
        );
    }
}

#[test]
fn inlined_functions_are_frames_of_their_own() {
    let stack = recorded().case("inlined_function")[0].stack.clone();
    let frames = symbols().frames(&Context::Stack(stack));
    let own: Vec<&str> = frames
        .iter()
        .filter(|frame| frame.kind == FrameKind::User)
        .map(|frame| &*frame.function)
        .collect();
    assert_eq!(
        own,
        ["innermost", "middle", "lines::inlined_function", "run"]
    );
}

#[test]
fn the_options_select_infrastructure_and_folders() {
    let stack = Context::Stack(recorded().case("plain_vector")[0].stack.clone());
    let plain = Symbols::new(&recorded().component, SymbolOptions::default()).unwrap();
    assert!(
        plain.site(&stack).location.starts_with("src/lib.rs:"),
        "a global allocator that counts is skipped without an option"
    );
    let kept = Symbols::new(
        &recorded().component,
        SymbolOptions::default()
            .infrastructure_path("lines/probe")
            .keep_folder("lines"),
    )
    .unwrap();
    assert!(
        kept.site(&stack).location.starts_with("lines/src/lib.rs:"),
        "{:?}",
        kept.site(&stack)
    );
}

#[test]
fn patterns_select_own_code_and_functions_to_skip() {
    let site = |case: &str, options: SymbolOptions| {
        let stack = Context::Stack(recorded().case(case)[0].stack.clone());
        let symbols = Symbols::new(&recorded().component, options).unwrap();
        symbols.site(&stack).location.to_string()
    };
    let marked = marked_lines();
    // The function that allocates is a helper: its caller is shown.
    let call = |text: &str| {
        let source = fs::read_to_string(sources().join("src/lib.rs")).unwrap();
        let line = source.lines().position(|line| line.contains(text)).unwrap() + 1;
        format!("src/lib.rs:{line}")
    };
    let deep = "two_crates_deep";
    assert_eq!(site(deep, options()), marked[deep]);
    for (pattern, shown) in [
        ("inner_crate::store", "middle-crate/src/lib.rs:"),
        ("crate:inner-crate", "middle-crate/src/lib.rs:"),
        ("path:inner-crate", "middle-crate/src/lib.rs:"),
        ("*_crate::*", &call("middle_crate::put(")),
    ] {
        let skipped = options().skip_function(pattern).unwrap();
        let found = site(deep, skipped);
        assert!(found.starts_with(shown), "{pattern}: {found}, not {shown}");
    }
    // An inlined function of own code, and a library that the user maintains.
    let skipped = options().skip_function("innermost").unwrap();
    assert_eq!(
        site("inlined_function", skipped),
        call("innermost(bytes * 2)")
    );
    for pattern in ["smallvec", "crate:small*", "smallvec-*/src"] {
        let own = options().own_code(pattern).unwrap();
        let found = site("registry_crate", own);
        assert!(found.starts_with("smallvec-"), "{pattern}: {found}");
    }
    assert!(options().own_code("*").is_err());
    assert!(options().skip_function("/home/ann/x.rs").is_err());
}

#[test]
fn an_inlined_closure_is_named_after_its_function() {
    let stack = recorded().case("closure")[0].stack.clone();
    let frames = symbols().frames(&Context::Stack(stack));
    let own: Vec<&str> = frames
        .iter()
        .filter(|frame| frame.kind == FrameKind::User)
        .map(|frame| &*frame.function)
        .collect();
    assert!(
        own.iter().all(|function| !function.starts_with('{')),
        "{own:?}"
    );
    assert!(
        own.iter()
            .any(|function| function.contains("closure::{closure")),
        "{own:?}"
    );
}

#[test]
fn line_tables_of_other_code_are_not_used() {
    let module = largest_module(&recorded().component);
    let lines = |bytes: &[u8]| {
        let symbols = Symbols::new(bytes, options()).unwrap();
        let bodies = bodies(bytes);
        let found = bodies
            .iter()
            .flat_map(|body| symbols.resolve(body.end as u32 - 1).to_vec())
            .filter(|frame| frame.line.is_some());
        (symbols.line_tables(), found.count(), bodies.len())
    };
    let (tables, with_line, functions) = lines(module);
    assert_eq!(tables, LineTables::Present);
    assert!(with_line > functions / 2, "{with_line} of {functions}");
    assert_eq!(tables.advice(), None);

    // What an optimiser does that does not know line tables.
    let (tables, with_line, same) = lines(&with_a_nop_in_each_body(module));
    assert_eq!(tables, LineTables::Outdated);
    assert_eq!((with_line, same), (0, functions));
    assert!(tables.advice().unwrap().contains("wasm-opt"));
}

fn largest_module(component: &[u8]) -> &[u8] {
    let payloads = wasmparser::Parser::new(0).parse_all(component);
    let modules = payloads.filter_map(|payload| match payload.unwrap() {
        wasmparser::Payload::ModuleSection {
            unchecked_range, ..
        } => Some(&component[unchecked_range.start as usize..unchecked_range.end as usize]),
        _ => None,
    });
    modules.max_by_key(|module| module.len()).unwrap()
}

fn bodies(module: &[u8]) -> Vec<std::ops::Range<usize>> {
    let payloads = wasmparser::Parser::new(0).parse_all(module);
    payloads
        .filter_map(|payload| match payload.unwrap() {
            wasmparser::Payload::CodeSectionEntry(body) => {
                Some(body.range().start as usize..body.range().end as usize)
            }
            _ => None,
        })
        .collect()
}

fn with_a_nop_in_each_body(module: &[u8]) -> Vec<u8> {
    let mut changed = wasm_encoder::Module::new();
    let mut code = wasm_encoder::CodeSection::new();
    let mut left = bodies(module).len();
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        let payload = payload.unwrap();
        if let wasmparser::Payload::CodeSectionEntry(body) = &payload {
            let start = body.get_operators_reader().unwrap().original_position() as usize;
            let range = body.range().start as usize..body.range().end as usize;
            let nop = [0x01];
            code.raw(&[&module[range.start..start], &nop, &module[start..range.end]].concat());
            left -= 1;
            if left == 0 {
                changed.section(&code);
            }
        } else if let Some((id, range)) = payload.as_section().filter(|(id, _)| *id != 10) {
            let data = &module[range.start as usize..range.end as usize];
            changed.section(&wasm_encoder::RawSection { id, data });
        }
    }
    changed.finish()
}

#[test]
fn without_line_tables_a_site_is_a_function_and_without_names_an_offset() {
    let component = &recorded().component;
    let stack = Context::Stack(recorded().case("two_crates_deep")[0].stack.clone());
    let without = |dropped: fn(&str) -> bool| {
        Symbols::new(&rename_sections(component, dropped), options()).unwrap()
    };

    let full = symbols();
    assert_eq!(full.detail(), Detail::Lines);

    let named = without(|name| name.starts_with(".debug"));
    assert_eq!(named.detail(), Detail::Functions);
    let site = named.site(&stack);
    assert_eq!(
        (&*site.location, &site.file, site.line),
        ("inner_crate::store", &None, None)
    );

    let stripped = without(|name| name.starts_with(".debug") || name == "name");
    assert_eq!(stripped.detail(), Detail::Offsets);
    assert!(
        stripped.site(&stack).location.starts_with("wasm offset 0x"),
        "{:?}",
        stripped.site(&stack)
    );
}

#[test]
fn invalid_bytes_are_an_error_and_unknown_offsets_are_not() {
    assert!(Symbols::new(b"not wasm", SymbolOptions::default()).is_err());
    for offset in [0, 1, u32::MAX] {
        let frames = symbols().resolve(offset);
        assert_eq!(frames.len(), 1);
        assert!(frames[0].function.starts_with("wasm offset "));
    }
    let nothing = Context::Stack(std::sync::Arc::from([]));
    assert_eq!(&*symbols().site(&nothing).location, "(no stack)");
}

#[test]
fn damaged_line_tables_lose_only_lines() {
    let mut component = recorded().component.clone();
    let all: Vec<Allocation> = recorded().all();
    // Overwrites every 37th byte of the debug sections.
    for payload in wasmparser::Parser::new(0).parse_all(&recorded().component) {
        if let wasmparser::Payload::CustomSection(section) = payload.unwrap()
            && section.name().starts_with(".debug_")
        {
            let from = section.data_offset() as usize;
            component[from..from + section.data().len()]
                .iter_mut()
                .step_by(37)
                .for_each(|byte| *byte ^= 0xa5);
        }
    }
    let symbols = Symbols::new(&component, options()).unwrap();
    for allocation in all {
        assert!(
            !symbols
                .site(&Context::Stack(allocation.stack))
                .location
                .is_empty()
        );
    }
}

/// Renames custom sections to meaningless names of the same length, so that offsets do not change.
fn rename_sections(component: &[u8], dropped: fn(&str) -> bool) -> Vec<u8> {
    let mut renamed = component.to_vec();
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        if let wasmparser::Payload::CustomSection(section) = payload.unwrap()
            && dropped(section.name())
        {
            let end = section.data_offset() as usize;
            renamed[end - section.name().len()..end].fill(b'x');
        }
    }
    renamed
}
