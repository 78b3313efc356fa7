//! The functions by which the outside world calls own code.

use super::function_name::demangle;

/// Exports of language runtimes. Others are those of the component's world.
const RUNTIME_EXPORTS: &[&str] = &[
    "_initialize",
    "_start",
    "aligned_alloc",
    "calloc",
    "free",
    "malloc",
    "memalign",
    "posix_memalign",
    "realloc",
];
/// Names that compilers of C give to `main`. The last two can also be wrappers of libc.
const C_MAIN: &[&str] = &["main", "__main_argc_argv", "__original_main", "__main_void"];

/// Whether an exported function belongs to the world of the component, not to a runtime.
pub(super) fn is_own_export(name: &str) -> bool {
    !RUNTIME_EXPORTS.contains(&name)
        && !name.starts_with("cabi_")
        && !name.starts_with("__wasm_call_")
        && !name.starts_with("wasi:cli/run@")
}

/// Whether a function is the `main` of a program, which only the runtime calls. `symbol` may be
/// mangled.
pub(super) fn is_main(symbol: &str) -> bool {
    if C_MAIN.contains(&symbol) || symbol == "main.main" {
        return true;
    }
    if !symbol.contains("main") {
        return false;
    }
    let name = demangle(symbol);
    name.strip_suffix("::main")
        .is_some_and(|name| !name.is_empty() && !name.contains([':', '<', ' ']))
}
