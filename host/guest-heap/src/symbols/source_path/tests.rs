use super::*;

fn check(folders: &[&str], options: &SymbolOptions, path: &str, shown: &str, origin: SourceOrigin) {
    let roots = WorkspaceRoots::new(
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
fn a_workspace_file_is_shown_relative_to_the_compilers_working_directory() {
    let options = SymbolOptions::default();
    let own = ["/home/ann/tally"];
    check(
        &own,
        &options,
        "/home/ann/tally/src/lib.rs",
        "src/lib.rs",
        SourceOrigin::Workspace,
    );
    check(
        &own,
        &options,
        "/home/ann/tally/./a/../src/x.rs",
        "src/x.rs",
        SourceOrigin::Workspace,
    );
    check(
        &["C:\\Users\\ann\\tally"],
        &options,
        "C:\\Users\\ann\\tally\\src\\lib.rs",
        "src/lib.rs",
        SourceOrigin::Workspace,
    );
    // A folder whose name only has the same prefix is a different folder.
    check(
        &own,
        &options,
        "/home/ann/tally-two/src/lib.rs",
        "tally-two/src/lib.rs",
        SourceOrigin::Workspace,
    );
    // A relative path stays unchanged.
    check(
        &["."],
        &options,
        "src/lib.rs",
        "src/lib.rs",
        SourceOrigin::Workspace,
    );
}

#[test]
fn a_kept_folder_is_shown_for_every_machine() {
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
            SourceOrigin::Workspace,
        );
    }
    // The compiler may also run in the parent folder, or in a subfolder.
    check(
        &["/src"],
        &options,
        "/src/plugins/cache/src/lib.rs",
        "plugins/cache/src/lib.rs",
        SourceOrigin::Workspace,
    );
    check(
        &["/src/plugins/cache"],
        &options,
        "/src/plugins/cache/src/lib.rs",
        "plugins/cache/src/lib.rs",
        SourceOrigin::Workspace,
    );
}

#[test]
fn several_workspaces_are_distinguished_by_their_names() {
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
        SourceOrigin::Workspace,
    );
    check(
        &folders,
        &options,
        "/opt/shared/ledger/src/lib.rs",
        "ledger/src/lib.rs",
        SourceOrigin::Workspace,
    );
}

#[test]
fn the_folders_of_the_package_manager_are_removed() {
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
            SourceOrigin::Library(name.to_owned()),
        );
    }
    let generated = "/h/.cargo/registry/src/index-19/wit-bindgen-0.61.1/src/rt/mod.rs";
    check(
        &[],
        &options,
        generated,
        "wit-bindgen-0.61.1/src/rt/mod.rs",
        SourceOrigin::Generated,
    );
    check(
        &[],
        &options,
        "/t/release/build/tally-0a1b/out/wire.rs",
        "tally/out/wire.rs",
        SourceOrigin::Generated,
    );
}

#[test]
fn standard_libraries_and_allocators_are_recognised_by_their_folders() {
    let options = SymbolOptions::default();
    let cases = [
        (
            "/rustc/59807616e1/library/alloc/src/vec/mod.rs",
            "library/alloc/src/vec/mod.rs",
            SourceOrigin::Standard,
        ),
        (
            "/rustc/59807616e1/library/alloc/src/alloc.rs",
            "library/alloc/src/alloc.rs",
            SourceOrigin::Allocator,
        ),
        (
            "/h/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/fmt/mod.rs",
            "library/core/src/fmt/mod.rs",
            SourceOrigin::Standard,
        ),
        (
            "/rust/deps/hashbrown-0.16.0/src/raw.rs",
            "hashbrown-0.16.0/src/raw.rs",
            SourceOrigin::Standard,
        ),
        (
            "/rust/deps/dlmalloc-0.2.10/src/dlmalloc.rs",
            "dlmalloc-0.2.10/src/dlmalloc.rs",
            SourceOrigin::Allocator,
        ),
        (
            "/build/wasi-libc-0.0/libc-top-half/musl/src/string/strdup.c",
            "libc-top-half/musl/src/string/strdup.c",
            SourceOrigin::Standard,
        ),
        (
            "/build/wasi-libc/dlmalloc/src/malloc.c",
            "wasi-libc/dlmalloc/src/malloc.c",
            SourceOrigin::Allocator,
        ),
    ];
    for (path, shown, origin) in cases {
        check(&[], &options, path, shown, origin);
    }
}

#[test]
fn code_outside_of_all_libraries_is_a_workspace() {
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
        let roots = WorkspaceRoots::new(
            units
                .iter()
                .map(|(folder, file)| (folder.to_string(), file.to_string())),
        );
        assert_eq!(roots.has_workspace(), expected, "{units:?}");
    }
}
