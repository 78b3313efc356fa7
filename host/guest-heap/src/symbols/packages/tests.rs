//! Paths are checked together with how they are shown, because both come from the same units.

use super::super::source_path::shorten;
use super::*;

/// A crate that Cargo compiles in a workspace's folder.
fn member(workspace: &str, file: &str, crate_name: &str) -> CompilationUnit {
    CompilationUnit::new(workspace, &format!("{file}/@/{crate_name}.0a1b-cgu.0"))
}

/// A crate that Cargo compiles in its own folder.
fn dependency(folder: &str, crate_name: &str) -> CompilationUnit {
    member(folder, &format!("{folder}/src/lib.rs"), crate_name)
}

fn entry(unit: CompilationUnit) -> CompilationUnit {
    CompilationUnit {
        is_entry: true,
        ..unit
    }
}

fn library(name: &str) -> Origin {
    Origin::Library(name.to_owned())
}

fn check(units: &[CompilationUnit], path: &str, shown: &str, origin: Origin) {
    check_with(units, &[], path, shown, origin);
}

fn check_with(
    units: &[CompilationUnit],
    kept_folders: &[String],
    path: &str,
    shown: &str,
    origin: Origin,
) {
    let found = shorten(path, &Packages::new(units), kept_folders);
    assert_eq!((&*found.shown, found.origin), (shown, origin), "{path}");
}

/// Folders whose names say something else than what is in them.
const HOSTILE: &[&str] = &[
    "/home/ann/src",
    "/home/ann/vendor",
    "/home/ann/vendor/serde",
    "/home/ann/.cargo/registry/src/mirror-0123456789abcdef",
    "/home/ann/.cargo/registry/src/mirror-0123456789abcdef/serde-1.0.1",
    "/home/ann/.cargo/git/checkouts/serde-0123456789abcdef/9a8b7c6",
    "/home/ann/go/src",
    "/home/ann/go/pkg/mod/example.com/x@v1.2.3",
    "/home/ann/node_modules/tally",
    "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-tally-1.0.0",
    "/usr/share/cargo/registry/tally-1.0.0",
    "/rustc",
    "/rustc/tally",
    "/home/ann/library/alloc",
    "/usr/lib/rustlib/src/rust/library/std",
    "/home/ann/wasi-libc",
    "/home/ann/musl/src",
    "/home/ann/libc-top-half/musl/src/string",
    "/home/ann/dlmalloc",
    "/home/ann/target/release/build/tally-0123456789abcdef/out",
    "/home/ann/third_party/c++/v1",
    "C:/Users/ann/vendor",
];

#[test]
fn a_workspace_is_own_code_whatever_the_folder_is_called() {
    for folder in HOSTILE {
        let units = [
            entry(member(folder, "src/lib.rs", "tally")),
            member(folder, "inner/src/lib.rs", "inner"),
            member(folder, "vendor/ours/src/lib.rs", "ours"),
            dependency("/home/ann/.cargo/registry/src/index-19/itoa-1.0.9", "itoa"),
        ];
        for file in [
            "src/lib.rs",
            "src/vendor/registry/src/x/a.rs",
            "src/dlmalloc/mod.rs",
            "inner/src/a.rs",
            "only-generics/src/lib.rs",
            "vendor/ours/src/lib.rs",
        ] {
            check(&units, &format!("{folder}/{file}"), file, Origin::Own);
        }
        check(
            &units,
            &format!("{folder}/vendor/smallvec/src/lib.rs"),
            "smallvec/src/lib.rs",
            library("smallvec"),
        );
        check(
            &units,
            "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/alloc/src/vec/mod.rs",
            "library/alloc/src/vec/mod.rs",
            Origin::Standard,
        );
        for registry in [
            "/home/ann/.cargo/registry/src/mirror-0123456789abcdef",
            "/usr/share/cargo/registry",
            "/build/cargo-vendor-dir",
            "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-vendor",
        ] {
            check(
                &units,
                &format!("{registry}/smallvec-1.16.6/src/lib.rs"),
                "smallvec-1.16.6/src/lib.rs",
                library("smallvec"),
            );
        }
    }
}

#[test]
fn a_program_in_c_is_own_code_whatever_the_folder_is_called() {
    for folder in HOSTILE {
        let runtime = [
            CompilationUnit::new("./build", "./libc-bottom-half/crt/crt1-reactor.c"),
            CompilationUnit::new(".", "./libc-top-half/musl/src/string/strdup.c"),
        ];
        // The compiler runs in the program's folder, in a folder for builds, or elsewhere.
        let build = format!("{folder}/build");
        for (working, prefix) in [
            (*folder, String::new()),
            (build.as_str(), format!("{folder}/")),
            ("/", format!("{folder}/")),
        ] {
            let mut units = runtime.to_vec();
            units.push(entry(CompilationUnit::new(
                working,
                &format!("{prefix}lines.c"),
            )));
            units.push(CompilationUnit::new(working, &format!("{prefix}more.c")));
            for file in ["lines.c", "more.c", "more.h"] {
                check(&units, &format!("{folder}/{file}"), file, Origin::Own);
            }
            check(
                &units,
                "./libc-top-half/musl/src/string/strdup.c",
                "libc-top-half/musl/src/string/strdup.c",
                Origin::Standard,
            );
        }
    }
}

#[test]
fn remapped_prefixes_change_nothing() {
    // What `--remap-path-prefix` or `-ffile-prefix-map` can put in place of a workspace's folder.
    for folder in ["", ".", "/", "/app", "/rustc", "vendor", "/go/src"] {
        let units = [
            entry(member(folder, "src/lib.rs", "tally")),
            dependency("itoa-1.0.9", "itoa"),
        ];
        let file = format!("{}/src/lib.rs", folder.trim_end_matches('/'));
        let source = shorten(
            file.trim_start_matches(if folder.is_empty() { "/" } else { "" }),
            &Packages::new(&units),
            &[],
        );
        assert_eq!(source.origin, Origin::Own, "{folder}");
        check(
            &units,
            "itoa-1.0.9/src/lib.rs",
            "itoa-1.0.9/src/lib.rs",
            library("itoa"),
        );
    }
}

#[test]
fn a_copy_inside_a_workspace_is_a_library() {
    let units = [
        entry(member("/w", "app/src/lib.rs", "app")),
        dependency("/w/copied/itoa", "itoa"),
        dependency("/elsewhere/shared", "shared"),
        member(
            "/bazel",
            "external/crates__serde-1.0.203/src/lib.rs",
            "serde",
        ),
    ];
    check(
        &units,
        "/w/copied/itoa/src/lib.rs",
        "itoa/src/lib.rs",
        library("itoa"),
    );
    check(
        &units,
        "/bazel/external/crates__serde-1.0.203/src/de.rs",
        "crates__serde-1.0.203/src/de.rs",
        library("serde"),
    );
    // It has no unit, because all of its code is generic.
    check(
        &units,
        "/w/copied/smallvec/src/lib.rs",
        "smallvec/src/lib.rs",
        library("smallvec"),
    );
    // A path dependency outside of the workspace is own code.
    check(
        &units,
        "/elsewhere/shared/src/lib.rs",
        "shared/src/lib.rs",
        Origin::Own,
    );
}

#[test]
fn the_export_of_a_library_does_not_make_it_own_code() {
    let units = [
        entry(dependency("/r/registry/src/i/some-sdk-1.0.0", "some_sdk")),
        entry(member("/w", "src/lib.rs", "app")),
    ];
    check(
        &units,
        "/r/registry/src/i/some-sdk-1.0.0/src/run.rs",
        "some-sdk-1.0.0/src/run.rs",
        library("some-sdk"),
    );
    // Without other code, the program itself was fetched.
    check(
        &units[..1],
        "/r/registry/src/i/some-sdk-1.0.0/src/run.rs",
        "src/run.rs",
        Origin::Own,
    );
}

#[test]
fn own_files_are_shown_relative_to_the_compilers_working_directory() {
    let units = |folder: &str| [entry(member(folder, "src/lib.rs", "tally"))];
    let own = units("/home/ann/tally");
    for (path, shown) in [
        ("/home/ann/tally/src/lib.rs", "src/lib.rs"),
        ("/home/ann/tally/./a/../src/x.rs", "src/x.rs"),
        // A folder whose name only has the same prefix is a different folder.
        ("/home/ann/tally-two/src/lib.rs", "tally-two/src/lib.rs"),
    ] {
        check(&own, path, shown, Origin::Own);
    }
    check(
        &units("C:\\Users\\ann\\tally"),
        "C:\\Users\\ann\\tally\\src\\lib.rs",
        "src/lib.rs",
        Origin::Own,
    );
    // A relative path stays unchanged.
    check(&units("."), "src/lib.rs", "src/lib.rs", Origin::Own);
}

#[test]
fn a_kept_folder_is_shown_for_every_machine() {
    let kept = ["plugins".to_owned()];
    for (folder, file) in [
        ("/home/ann/leak-lab/plugins", "cache/src/lib.rs"),
        ("/src/plugins", "cache/src/lib.rs"),
        ("D:\\code\\plugins", "cache/src/lib.rs"),
        // The compiler may also run in the parent folder, or in a subfolder.
        ("/src", "plugins/cache/src/lib.rs"),
        ("/src/plugins/cache", "src/lib.rs"),
    ] {
        let units = [entry(member(folder, file, "cache"))];
        check_with(
            &units,
            &kept,
            &format!("{folder}/{file}"),
            "plugins/cache/src/lib.rs",
            Origin::Own,
        );
    }
}

#[test]
fn several_workspaces_are_distinguished_by_their_names() {
    let units = [
        entry(CompilationUnit::new("/home/ann/tally", "src/main.c")),
        CompilationUnit::new("/opt/shared/ledger", "src/lib.c"),
        CompilationUnit::new("/home/ann/tally/inner", "src/lib.c"),
    ];
    check(
        &units,
        "/home/ann/tally/inner/src/lib.c",
        "tally/inner/src/lib.c",
        Origin::Own,
    );
    check(
        &units,
        "/opt/shared/ledger/src/lib.c",
        "ledger/src/lib.c",
        Origin::Own,
    );
}

#[test]
fn the_folders_of_package_managers_are_recognised() {
    let own = [entry(member("/home/ann/tally", "src/lib.rs", "tally"))];
    let cases = [
        (
            "/home/ann/.cargo/registry/src/i-19/base64-ct-2.0.0-rc.1/src/a.rs",
            "base64-ct-2.0.0-rc.1/src/a.rs",
            library("base64-ct"),
        ),
        (
            "/h/.cargo/git/checkouts/serde-4f1e0123456789ab/9a8b7c6/serde/src/de.rs",
            "serde/serde/src/de.rs",
            library("serde"),
        ),
        (
            "/go/pkg/mod/github.com/x/y@v1.2.3/z.go",
            "github.com/x/y@v1.2.3/z.go",
            library("github.com/x/y"),
        ),
        (
            "/h/.cargo/registry/src/i-19/wit-bindgen-0.61.1/src/rt/mod.rs",
            "wit-bindgen-0.61.1/src/rt/mod.rs",
            Origin::Generated,
        ),
        (
            "/home/ann/tally/target/release/build/tally-0a1b2c3d4e5f6071/out/wire.rs",
            "tally/out/wire.rs",
            Origin::Generated,
        ),
        (
            "/h/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/fmt/mod.rs",
            "library/core/src/fmt/mod.rs",
            Origin::Standard,
        ),
        (
            "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/alloc/src/alloc.rs",
            "library/alloc/src/alloc.rs",
            Origin::Allocator,
        ),
        (
            "/rust/deps/hashbrown-0.16.0/src/raw.rs",
            "hashbrown-0.16.0/src/raw.rs",
            Origin::Standard,
        ),
        (
            "/rust/deps/dlmalloc-0.2.10/src/dlmalloc.rs",
            "dlmalloc-0.2.10/src/dlmalloc.rs",
            Origin::Allocator,
        ),
        (
            "wasisdk://v30.0/src/wasi-libc/libc-top-half/musl/src/string/strdup.c",
            "libc-top-half/musl/src/string/strdup.c",
            Origin::Standard,
        ),
        (
            "/build/wasi-libc/dlmalloc/src/malloc.c",
            "wasi-libc/dlmalloc/src/malloc.c",
            Origin::Allocator,
        ),
        (
            "/opt/zig/lib/libc/wasi/libc-bottom-half/sources/sbrk.c",
            "libc-bottom-half/sources/sbrk.c",
            Origin::Standard,
        ),
    ];
    for units in [&own[..], &[]] {
        for (path, shown, origin) in cases.clone() {
            check(units, path, shown, origin);
        }
    }
}

#[test]
fn code_outside_of_all_libraries_is_own_code() {
    let standard = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860";
    let cases = [
        (vec![member("/home/ann/tally", "src/lib.rs", "tally")], true),
        (vec![CompilationUnit::new("plugins", "cache.c")], true),
        (
            vec![member(standard, "library/std/src/lib.rs", "std")],
            false,
        ),
        (
            vec![
                CompilationUnit::new(".", "./libc-top-half/musl/src/string/strdup.c"),
                CompilationUnit::new(".", "dlmalloc/src/dlmalloc.c"),
            ],
            false,
        ),
        (
            vec![dependency(
                "/h/.cargo/registry/src/index-19/itoa-1.0.0",
                "itoa",
            )],
            false,
        ),
        (vec![], false),
    ];
    for (units, expected) in cases {
        assert_eq!(Packages::new(&units).has_own(), expected, "{units:?}");
    }
}
