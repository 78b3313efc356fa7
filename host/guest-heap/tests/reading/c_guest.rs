//! Symbols of a guest in C. The tests are skipped without clang and wasi-libc.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use guest_heap::reading::Context;
use guest_heap::symbols::{Detail, FrameKind, SymbolOptions, Symbols};
use wasmtime::{Caller, Engine, Linker, Module, Store, WasmBacktrace};

use crate::lines_guest::sources;

/// The cases of `lines.c`, by their number.
pub(crate) const CASES: [&str; 5] = ["plain", "inlined", "macro", "through_libc", "callback"];

/// The files and flags of the guest that reports each allocation to the host.
pub(crate) const PROBED: [&str; 3] = [
    "lines.c",
    "probe.c",
    "-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc",
];

/// Compiles a guest. `None` when the compiler or the C library is missing.
pub(crate) fn build(folder: &Path, parts: &[&str], debug: &[&str]) -> Option<Vec<u8>> {
    build_in(&sources(), folder, parts, debug)
}

/// Compiles a guest with this working directory.
pub(crate) fn build_in(
    working: &Path,
    folder: &Path,
    parts: &[&str],
    debug: &[&str],
) -> Option<Vec<u8>> {
    let guest = folder.join("lines.wasm");
    let output = Command::new("clang")
        .args([
            "--target=wasm32-wasi",
            "--sysroot=/usr",
            "-O2",
            "-mexec-model=reactor",
        ])
        .args(debug)
        .args(parts)
        .arg("-o")
        .arg(&guest)
        .current_dir(working)
        .output();
    match output {
        Ok(output) if output.status.success() => Some(fs::read(&guest).unwrap()),
        Ok(output) => {
            println!("skipped: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            println!("skipped: clang: {error}");
            None
        }
    }
}

/// The stack of the first allocation of each case.
fn stacks(guest: &[u8]) -> Vec<Arc<[u32]>> {
    let engine = Engine::default();
    let module = Module::new(&engine, guest).unwrap();
    let mut linker: Linker<Vec<Arc<[u32]>>> = Linker::new(&engine);
    linker
        .func_wrap(
            "probe",
            "allocated",
            |mut caller: Caller<'_, Vec<Arc<[u32]>>>, _bytes: u32| {
                let stack = WasmBacktrace::force_capture(&caller);
                let offsets = stack
                    .frames()
                    .iter()
                    .filter_map(|frame| frame.module_offset());
                let offsets = offsets
                    .map(|offset| u32::try_from(offset).unwrap())
                    .collect();
                caller.data_mut().push(offsets);
            },
        )
        .unwrap();
    linker.define_unknown_imports_as_traps(&module).unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<i32, ()>(&mut store, "run")
        .unwrap();
    (0..5)
        .map(|case| {
            store.data_mut().clear();
            run.call(&mut store, case).unwrap();
            Arc::clone(&store.data()[0])
        })
        .collect()
}

fn options() -> SymbolOptions {
    SymbolOptions::default()
        .infrastructure_crate("probe")
        // The folder in front of the file depends on where the compiler ran.
        .skip_function("path:*probe.c")
        .unwrap()
}

#[test]
fn leaks_in_c_are_attributed_to_their_line() {
    let folder = tempfile::tempdir().unwrap();
    for debug in [
        &["-gline-tables-only"][..],
        &["-g", "-gdwarf-4"],
        &["-g", "-gdwarf-5"],
    ] {
        let Some(guest) = build(folder.path(), &PROBED, debug) else {
            return;
        };
        check_lines(&guest, &sources());
    }
}

/// Checks that every case of a guest has its line.
pub(crate) fn check_lines(guest: &[u8], working: &Path) {
    let symbols = Symbols::new(guest, options()).unwrap();
    assert_eq!(symbols.detail(), Detail::Lines);
    let source = fs::read_to_string(sources().join("lines.c")).unwrap();
    for (stack, name) in stacks(guest).into_iter().zip(CASES) {
        let mark = format!("/* leak: {name} */");
        let line = source.lines().position(|line| line.contains(&mark));
        let context = Context::Stack(stack);
        let site = symbols.site(&context);
        // The working directory may be above the file's folder.
        let end = format!("lines.c:{}", line.unwrap() + 1);
        assert!(
            site.location.ends_with(&end),
            "{name} in {}: {}, not {end}: {:#?}",
            working.display(),
            site.location,
            symbols.frames(&context)
        );
    }
}

#[test]
fn leaks_in_c_without_debug_information_are_attributed_to_their_function() {
    let folder = tempfile::tempdir().unwrap();
    let Some(guest) = build(folder.path(), &PROBED, &["-g0", "-fno-inline"]) else {
        return;
    };
    let symbols = Symbols::new(&guest, options()).unwrap();
    assert_eq!(symbols.detail(), Detail::Functions);
    let contexts: Vec<Context> = stacks(&guest).into_iter().map(Context::Stack).collect();
    let frames = symbols.frames(&contexts[3]);
    let kind = |function: &str| {
        frames
            .iter()
            .find(|frame| &*frame.function == function)
            .map(|frame| frame.kind)
    };
    assert_eq!(kind("strdup"), Some(FrameKind::Std), "{frames:#?}");
    let sites: Vec<String> = contexts
        .iter()
        .map(|context| symbols.site(context).location.to_string())
        .collect();
    assert_eq!(
        sites[1..],
        ["run", "macro", "through_libc", "callback"],
        "{sites:?}"
    );
}
