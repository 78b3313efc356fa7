//! The names of allocator entry points, as toolchains write them.
//!
//! A name alone does not say where the parameters are: an optimiser removes the ones that it does
//! not need. So the shapes here depend on the signature that is left.

mod rust;

use wasmparser::FuncType;

use super::entry_point::EntryPoint::{self, Shaped};
use super::entry_point::{Family, Pointer, Role, Shape, Size};
use rust::{mentions_rust_allocator, rust_entry, rust_method, rust_symbol};

/// What the name of a function says about an allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::instrument) enum Named {
    /// An entry point.
    Entry(EntryPoint),
    /// The function that an entry point only calls, such as `dlmalloc`: an optimiser replaces calls
    /// of the entry point by calls of this function, and then removes the entry point.
    Implementation(EntryPoint),
    /// A part of an allocator that only its own functions call. If other functions call it, the
    /// compiler has inlined entry points there.
    Internal,
    /// A part of an allocator that others may call, too.
    Shared,
}

/// Prefixes of names of C's entry points. Functions with such a name may have callers that do not
/// come through the entry point of the plain name.
const C_IMPLEMENTATIONS: [&str; 5] = ["dl", "emscripten_builtin_", "emmalloc_", "mi_", "__libc_"];

/// Functions of C allocators that only their entry points call.
const C_INTERNALS: [&str; 9] = [
    "prepend_alloc",
    "dispose_chunk",
    "tmalloc_small",
    "tmalloc_large",
    "try_realloc_chunk",
    "internal_memalign",
    "attempt_allocate",
    "claim_more_memory",
    "mi_page_free_list_extend",
];

const C: [EntryPoint; 7] = [
    EntryPoint::Malloc,
    EntryPoint::Calloc,
    EntryPoint::Realloc,
    EntryPoint::Free,
    EntryPoint::PosixMemalign,
    EntryPoint::AlignedAlloc,
    EntryPoint::Memalign,
];

/// Functions that both the allocator and others may call.
const SHARED: [&str; 8] = [
    "new",
    "fmt",
    "initialize",
    "drop_in_place",
    "default",
    "drop",
    "lock",
    "unlock",
];

/// Reads the name of a function with this signature.
pub(super) fn read(symbol: &str, ty: Option<&FuncType>) -> Option<Named> {
    let symbol = without_clone_suffix(symbol);
    let (params, results) = ty.map_or((0, 0), |ty| (ty.params().len(), ty.results().len()));
    if let Some(item) = rust_symbol(symbol) {
        return rust_entry(item, params as u32).map(Named::Entry);
    }
    if symbol.starts_with('_') && mentions_rust_allocator(symbol) {
        return rust_method(symbol, params as u32);
    }
    if let Some(item) = symbol.strip_prefix("~lib/") {
        return assembly_script(item, params as u32);
    }
    if let Some(item) = symbol.strip_prefix("heap.") {
        return zig(item, params, results);
    }
    if let Some(entry) = c_entry(symbol.strip_prefix("c.malloc.").unwrap_or(symbol)) {
        return Some(Named::Entry(entry));
    }
    let implementation = C_IMPLEMENTATIONS
        .iter()
        .find_map(|prefix| c_entry(symbol.strip_prefix(prefix)?));
    if let Some(entry) = implementation {
        return Some(Named::Implementation(entry));
    }
    if C_INTERNALS.contains(&symbol) {
        return Some(Named::Internal);
    }
    if symbol == "runtime.alloc" && params == 2 {
        let role = Role::Allocates { size: Size::At(0) };
        return Some(Named::Entry(shaped(Family::TinyGo, role, "runtime.alloc")));
    }
    cxx(symbol).map(Named::Entry)
}

/// The entry point of C with this name.
pub(super) fn c_entry(name: &str) -> Option<EntryPoint> {
    C.into_iter().find(|entry| entry.name() == name)
}

/// The entry point that a module imports or exports under this name: exports have no suffixes and
/// no prefixes of a toolchain.
pub(super) fn exported(name: &str) -> Option<EntryPoint> {
    c_entry(name).or_else(|| rust_entry(rust_symbol(name)?, 0).filter(|entry| entry.is_rust()))
}

/// Whether the symbol belongs to Rust's default allocator, which calls C's `malloc` where there is
/// one.
pub(super) fn is_default_rust_allocator(symbol: &str) -> bool {
    rust_symbol(symbol) == Some("__rdl_alloc") || symbol == "__rdl_alloc"
}

/// The name without what LLVM appends to copies: `free.1`, `free.llvm.123`.
fn without_clone_suffix(symbol: &str) -> &str {
    let Some((name, suffix)) = symbol.rsplit_once('.') else {
        return symbol;
    };
    let digits = !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return symbol;
    }
    name.strip_suffix(".llvm").unwrap_or(name)
}

fn shaped(family: Family, role: Role, label: &'static str) -> EntryPoint {
    Shaped(Shape {
        family,
        role,
        bias: 0,
        label,
    })
}

fn internal(method: &str) -> Option<Named> {
    Some(if SHARED.contains(&method) {
        Named::Shared
    } else {
        Named::Internal
    })
}

/// The lowest layer of AssemblyScript's runtime, below its collector: blocks with a header of four
/// bytes, in front of the pointer that `__alloc` returns.
fn assembly_script(path: &str, params: u32) -> Option<Named> {
    // The program's own access to the blocks, into which the optimiser inlines the functions below.
    let item = path
        .strip_prefix("memory/heap.")
        .map(|function| ("memory", function));
    let (module, function) = item.or_else(|| path.strip_prefix("rt/")?.split_once('/'))?;
    if !matches!(module, "tlsf" | "stub" | "memory") {
        return None;
    }
    let last = params.checked_sub(1);
    // The root, if the optimiser has left it, comes before the block.
    let pointer = |after: u32| Some(Pointer::At(params.checked_sub(after)?));
    let allocates = || {
        Some(Role::Allocates {
            size: Size::At(last?),
        })
    };
    let reallocates = || {
        Some(Role::Reallocates {
            pointer: pointer(2)?,
            size: last?,
        })
    };
    let frees = || {
        Some(Role::Frees {
            pointer: pointer(1)?,
        })
    };
    let (role, bias, label) = match function {
        "__alloc" | "alloc" => (allocates(), 0, "__alloc"),
        "__realloc" | "realloc" => (reallocates(), 0, "__realloc"),
        "__free" | "free" => (frees(), 0, "__free"),
        "allocateBlock" => (allocates(), BLOCK_HEADER, "allocateBlock"),
        "reallocateBlock" => (reallocates(), BLOCK_HEADER, "reallocateBlock"),
        "freeBlock" => (frees(), BLOCK_HEADER, "freeBlock"),
        _ if module == "memory" => return None,
        _ => return internal(function),
    };
    Some(Named::Entry(Shaped(Shape {
        family: Family::AssemblyScript,
        role: role?,
        bias,
        label,
    })))
}

/// Bytes of the header of a block of AssemblyScript's runtime.
const BLOCK_HEADER: u32 = 4;

/// The functions in the tables of Zig's allocators. Allocators that take their memory from another
/// allocator and give it back as a whole, such as arenas, do not count.
fn zig(item: &str, params: usize, results: usize) -> Option<Named> {
    let (path, function) = item.rsplit_once('.')?;
    let name = path.rsplit('.').next()?;
    let name = name.split('(').next()?;
    let known = [
        "WasmAllocator",
        "BrkAllocator",
        "SbrkAllocator",
        "PageAllocator",
        "SmpAllocator",
        "SafeAllocator",
        "DebugAllocator",
        "wasm_allocator",
        "general_purpose_allocator",
        "GeneralPurposeAllocator",
    ];
    let in_known = known
        .iter()
        .any(|known| name == *known || path.contains(&format!("{known}(")));
    if !in_known {
        return None;
    }
    let at = Pointer::At(1);
    let (role, label) = match (function, params, results) {
        ("alloc", 4, 1) => (Role::Allocates { size: Size::At(1) }, "Allocator.alloc"),
        ("resize", 6, 1) => (
            Role::Resizes {
                pointer: at,
                size: 4,
            },
            "Allocator.resize",
        ),
        ("remap", 6, 1) => (
            Role::Reallocates {
                pointer: at,
                size: 4,
            },
            "Allocator.remap",
        ),
        ("free", 5, 0) => (Role::Frees { pointer: at }, "Allocator.free"),
        _ => return Some(Named::Internal),
    };
    Some(Named::Entry(shaped(Family::Zig, role, label)))
}

/// C++'s `operator new` and `operator delete`, for 32-bit sizes of both names. Linkers write
/// demangled names.
fn cxx(symbol: &str) -> Option<EntryPoint> {
    let plain = symbol.strip_prefix("operator ");
    let allocates = |parameters: &str| {
        ["(unsigned int", "(unsigned long"]
            .iter()
            .filter_map(|first| parameters.strip_prefix(first))
            .any(|rest| rest.starts_with([',', ')']))
    };
    let is_new = match (plain, symbol.split_at_checked(4)) {
        (Some(name), _) => {
            let (function, parameters) = name.split_at(name.find('(')?);
            match function {
                "new" | "new[]" if allocates(parameters) => true,
                "delete" | "delete[]" if parameters.starts_with("(void*") => false,
                _ => return None,
            }
        }
        (None, Some(("_Znw" | "_Zna", rest))) if rest.starts_with(['j', 'm']) => true,
        (None, Some(("_Zdl" | "_Zda", rest))) if rest.starts_with("Pv") => false,
        _ => return None,
    };
    let (role, label) = if is_new {
        (Role::Allocates { size: Size::At(0) }, "operator new")
    } else {
        let pointer = Pointer::At(0);
        (Role::Frees { pointer }, "operator delete")
    };
    Some(shaped(Family::Cxx, role, label))
}
