//! The names of the folders in which a guest is compiled do not change what is attributed.

use std::fs;
use std::path::Path;
use std::process::Command;

use guest_heap::reading::Context;
use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::symbols::Symbols;

use crate::c_guest;
use crate::lines_guest::{build, options, reading_of, record, sources};
use crate::source_lines::marked_lines;

/// Checks that every case of the guest has its line when the guest is compiled in this folder.
fn check(folder: &Path, target: &Path, arguments: &[&str], rust_flags: &str) {
    let component = fs::read(build(folder, target, arguments, rust_flags)).unwrap();
    let recorded = record(&component);
    let symbols = std::sync::Arc::new(Symbols::new(&component, options()).unwrap());
    let marked = marked_lines();
    for (name, allocations) in &recorded.cases {
        let (reading, contexts) = reading_of(allocations);
        let snapshot = Snapshot::new(
            &reading,
            |index| contexts.get(index as usize).cloned(),
            symbols.clone(),
        );
        let top = &snapshot.top(GroupBy::Line, 1)[0];
        let stack = Context::Stack(allocations[0].stack.clone());
        assert_eq!(
            &*top.location,
            marked[name],
            "{name} in {}: {:#?}",
            folder.display(),
            symbols.frames(&stack)
        );
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() != "target" {
                copy(&entry.path(), &target);
            }
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[test]
fn a_crate_has_the_same_lines_in_any_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("folders");
    for folder in [
        ".cargo/registry/src/mirror-0123456789abcdef/serde-1.0.1",
        "go/src/vendor/lib/rustlib/src/rust/library/alloc",
    ] {
        let folder = scratch.path().join(folder);
        copy(&sources(), &folder);
        check(&folder, &target, &[], "");
    }
    // A prefix map that makes the workspace look like a fetched package, and removes the folders
    // of those that really are.
    let folder = scratch.path().join("remapped");
    copy(&sources(), &folder);
    let cargo_home = std::env::var("CARGO_HOME").unwrap_or_else(|_| {
        let home = std::env::var("HOME").unwrap_or_default();
        format!("{home}/.cargo")
    });
    let flags = format!(
        "--remap-path-prefix={}=/usr/share/cargo/registry/lines-0.1.0 \
         --remap-path-prefix={cargo_home}/registry/src=",
        folder.display()
    );
    check(&folder, &target, &[], &flags);
}

#[test]
fn copied_libraries_are_libraries() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("src/registry");
    copy(&sources(), &folder);
    let vendored = Command::new(env!("CARGO"))
        .args(["vendor", "--locked", "--offline", "--quiet", "copied"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(
        vendored.status.success(),
        "{}",
        String::from_utf8_lossy(&vendored.stderr)
    );
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("copied");
    let arguments = [
        "--offline",
        "--config",
        "source.crates-io.replace-with='copied'",
        "--config",
        "source.copied.directory='copied'",
    ];
    check(&folder, &target, &arguments, "");
}

#[test]
fn a_program_in_c_has_the_same_lines_in_any_folder() {
    let scratch = tempfile::tempdir().unwrap();
    for folder in [
        "wasi-libc/dlmalloc",
        "go/src/musl/src/c++/v1",
        "vendor/libcxx",
    ] {
        let folder = scratch.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        for file in ["lines.c", "probe.c"] {
            fs::copy(sources().join(file), folder.join(file)).unwrap();
        }
        let parent = folder.parent().unwrap();
        let name = folder.file_name().unwrap().to_str().unwrap();
        let from_above = [format!("{name}/lines.c"), format!("{name}/probe.c")];
        let map = format!("-ffile-prefix-map={}=.", folder.display());
        for (working, files, flags) in [
            (folder.as_path(), ["lines.c", "probe.c"], ["-g", "-O2"]),
            (
                folder.as_path(),
                ["lines.c", "probe.c"],
                ["-g", map.as_str()],
            ),
            (parent, [&*from_above[0], &*from_above[1]], ["-g", "-O2"]),
        ] {
            let parts = [files[0], files[1], c_guest::PROBED[2]];
            let Some(guest) = c_guest::build_in(working, scratch.path(), &parts, &flags) else {
                return;
            };
            c_guest::check_lines(&guest, working);
        }
    }
}
