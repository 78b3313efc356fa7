use super::*;

fn check(folders: &[&str], options: &SymbolOptions, path: &str, shown: &str, origin: Origin) {
    let roots = Roots::new(
        folders
            .iter()
            .map(|folder| (folder.to_string(), "src/lib.rs".to_owned())),
    );
    assert_eq!(
        shorten(path, &roots, options),
        SourcePath {
            shown: shown.to_owned(),
            origin
        },
        "{path}"
    );
}

#[test]
fn a_workspace_file_is_shown_relative_to_the_folder_that_the_compiler_ran_in() {
    let options = SymbolOptions::default();
    let own = ["/home/ann/tally"];
    check(
        &own,
        &options,
        "/home/ann/tally/src/lib.rs",
        "src/lib.rs",
        Origin::Workspace,
    );
    check(
        &own,
        &options,
        "/home/ann/tally/./a/../src/x.rs",
        "src/x.rs",
        Origin::Workspace,
    );
    check(
        &["C:\\Users\\ann\\tally"],
        &options,
        "C:\\Users\\ann\\tally\\src\\lib.rs",
        "src/lib.rs",
        Origin::Workspace,
    );
    // A folder whose name only begins alike is another folder.
    check(
        &own,
        &options,
        "/home/ann/tally-two/src/lib.rs",
        "tally-two/src/lib.rs",
        Origin::Workspace,
    );
    // What is relative already stays.
    check(
        &["."],
        &options,
        "src/lib.rs",
        "src/lib.rs",
        Origin::Workspace,
    );
}

#[test]
fn a_kept_folder_stays_whatever_machine_compiled_it() {
    let options = SymbolOptions::default().keep_folder("plugins");
    for folder in [
        "/home/ann/leak-lab/plugins",
        "/src/plugins",
        "D:\\code\\plugins",
    ] {
        let path = format!("{folder}/cache/src/lib.rs");
        check(
            &[folder],
            &options,
            &path,
            "plugins/cache/src/lib.rs",
            Origin::Workspace,
        );
    }
    // The compiler may also have run one folder further up, or further down.
    check(
        &["/src"],
        &options,
        "/src/plugins/cache/src/lib.rs",
        "plugins/cache/src/lib.rs",
        Origin::Workspace,
    );
    check(
        &["/src/plugins/cache"],
        &options,
        "/src/plugins/cache/src/lib.rs",
        "plugins/cache/src/lib.rs",
        Origin::Workspace,
    );
}

#[test]
fn several_workspaces_keep_their_names_apart() {
    let options = SymbolOptions::default();
    let folders = [
        "/home/ann/tally",
        "/opt/shared/ledger",
        "/home/ann/tally/inner",
    ];
    check(
        &folders,
        &options,
        "/home/ann/tally/inner/src/lib.rs",
        "tally/inner/src/lib.rs",
        Origin::Workspace,
    );
    check(
        &folders,
        &options,
        "/opt/shared/ledger/src/lib.rs",
        "ledger/src/lib.rs",
        Origin::Workspace,
    );
}

#[test]
fn libraries_lose_the_package_managers_folders() {
    let options = SymbolOptions::default();
    let cases = [
        (
            "/home/ann/.cargo/registry/src/index-1949cf8c6b5b557f/smallvec-1.16.6/src/lib.rs",
            "smallvec-1.16.6/src/lib.rs",
            "smallvec",
        ),
        (
            "/home/ann/.cargo/registry/src/index-1949cf8c6b5b557f/base64-ct-2.0.0-rc.1/src/a.rs",
            "base64-ct-2.0.0-rc.1/src/a.rs",
            "base64-ct",
        ),
        (
            "/h/.cargo/git/checkouts/serde-4f1e/9a8b7c6/serde/src/de.rs",
            "serde/serde/src/de.rs",
            "serde",
        ),
        (
            "/go/pkg/mod/github.com/x/y@v1.2.3/z.go",
            "github.com/x/y@v1.2.3/z.go",
            "github.com/x/y",
        ),
        (
            "/home/ann/tally/vendor/itoa/src/lib.rs",
            "itoa/src/lib.rs",
            "itoa",
        ),
    ];
    for (path, shown, name) in cases {
        check(
            &["/home/ann/tally"],
            &options,
            path,
            shown,
            Origin::Library(name.to_owned()),
        );
    }
    let generated = "/h/.cargo/registry/src/index-19/wit-bindgen-0.61.1/src/rt/mod.rs";
    check(
        &[],
        &options,
        generated,
        "wit-bindgen-0.61.1/src/rt/mod.rs",
        Origin::Generated,
    );
    check(
        &[],
        &options,
        "/t/release/build/tally-0a1b/out/wire.rs",
        "tally/out/wire.rs",
        Origin::Generated,
    );
}

#[test]
fn standard_libraries_and_allocators_are_known_by_their_folders() {
    let options = SymbolOptions::default();
    let cases = [
        (
            "/rustc/59807616e1/library/alloc/src/vec/mod.rs",
            "library/alloc/src/vec/mod.rs",
            Origin::Standard,
        ),
        (
            "/rustc/59807616e1/library/alloc/src/alloc.rs",
            "library/alloc/src/alloc.rs",
            Origin::Allocator,
        ),
        (
            "/h/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/fmt/mod.rs",
            "library/core/src/fmt/mod.rs",
            Origin::Standard,
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
            "/build/wasi-libc-0.0/libc-top-half/musl/src/string/strdup.c",
            "libc-top-half/musl/src/string/strdup.c",
            Origin::Standard,
        ),
        (
            "/build/wasi-libc/dlmalloc/src/malloc.c",
            "wasi-libc/dlmalloc/src/malloc.c",
            Origin::Allocator,
        ),
    ];
    for (path, shown, origin) in cases {
        check(&[], &options, path, shown, origin);
    }
}

#[test]
fn a_workspace_is_what_is_in_no_library() {
    let cases = [
        (
            &[("/home/ann/tally", "src/lib.rs/@/tally.0a1b-cgu.0")][..],
            true,
        ),
        (&[("plugins", "cache/src/lib.rs")], true),
        (
            &[(
                "/rustc/59807616e1",
                "library/std/src/lib.rs/@/std.0a1b-cgu.0",
            )],
            false,
        ),
        (
            &[
                (".", "./libc-top-half/musl/src/string/strdup.c"),
                (".", "dlmalloc/src/dlmalloc.c"),
            ],
            false,
        ),
        (
            &[("/h/.cargo/registry/src/index-19/itoa-1.0.0", "src/lib.rs")],
            false,
        ),
        (&[], false),
    ];
    for (units, expected) in cases {
        let roots = Roots::new(
            units
                .iter()
                .map(|(folder, file)| (folder.to_string(), file.to_string())),
        );
        assert_eq!(roots.has_workspace(), expected, "{units:?}");
    }
}
