//! The names of allocator entry points, as toolchains write them.
//!
//! A name alone does not say where the parameters are: an optimiser removes the ones that it does
//! not need. So the shapes here depend on the signature that is left.

use wasmparser::FuncType;

use super::entry_point::EntryPoint::{self, Shaped};
use super::entry_point::{Family, Pointer, Role, Shape, Size};

/// What the name of a function says about an allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// An entry point.
    Entry(EntryPoint),
    /// The function that an entry point only calls, such as `dlmalloc`: an optimiser replaces calls
    /// of the entry point by calls of this function, and then removes the entry point.
    Implementation(EntryPoint),
    /// A part of an allocator that only its own functions call. If other functions call it, the
    /// compiler has inlined entry points there.
    Internal,
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
    if let Some(item) = symbol.strip_prefix("~lib/rt/") {
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

/// The plain name of a function by which Rust code allocates, such as `__rust_alloc`. Accepts
/// mangled names.
fn rust_symbol(symbol: &str) -> Option<&str> {
    if let Some((_, item)) = symbol.split_once("_7___rustc") {
        // v0 mangling: the item's length, an underscore because the item begins with one, the item.
        return item
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .strip_prefix('_');
    }
    if let Some(item) = symbol.strip_prefix("_ZN7__rustc") {
        let item = item.trim_start_matches(|c: char| c.is_ascii_digit());
        return item.find("17h").and_then(|end| item.get(..end));
    }
    let plain = ["__rust_", "__rg_", "__rdl_"];
    let plain = plain.iter().any(|prefix| symbol.starts_with(prefix));
    plain.then_some(symbol)
}

/// The functions behind `alloc::alloc`: their parameters are (size, align), (pointer, size, align)
/// and (pointer, size, align, new size), of which an optimiser may remove all but the pointer and
/// the last size.
fn rust_entry(item: &str, params: u32) -> Option<EntryPoint> {
    let name = ["__rust_", "__rg_", "__rdl_"]
        .iter()
        .find_map(|prefix| item.strip_prefix(prefix))?;
    let plain = item.starts_with("__rust_");
    let first = Pointer::At(0);
    let last = params.saturating_sub(1);
    let (entry, full, role, label) = match name {
        "alloc" => (
            EntryPoint::RustAlloc,
            2,
            Role::Allocates { size: Size::At(0) },
            "rust_alloc",
        ),
        "alloc_zeroed" => (
            EntryPoint::RustAllocZeroed,
            2,
            Role::Allocates { size: Size::At(0) },
            "rust_alloc_zeroed",
        ),
        "dealloc" => (
            EntryPoint::RustDealloc,
            3,
            Role::Frees { pointer: first },
            "rust_dealloc",
        ),
        "realloc" => (
            EntryPoint::RustRealloc,
            4,
            Role::Reallocates {
                pointer: first,
                size: last,
            },
            "rust_realloc",
        ),
        _ => return None,
    };
    if plain && (params == full || params == 0) {
        return Some(entry);
    }
    Some(shaped(Family::Rust, role, label))
}

fn mentions_rust_allocator(symbol: &str) -> bool {
    [
        "GlobalAlloc",
        "4talc",
        "4rlsf",
        "8dlmalloc",
        "9wee_alloc",
        "9lol_alloc",
    ]
    .iter()
    .any(|part| symbol.contains(part))
}

/// The methods of Rust's allocators. They take `self`, then the pointer, then the alignment and the
/// size of the layout, then the new size.
fn rust_method(symbol: &str, params: u32) -> Option<Named> {
    let name = format!("{:#}", rustc_demangle::try_demangle(symbol).ok()?);
    let (path, method) = name.rsplit_once("::")?;
    let is_trait = path.contains("GlobalAlloc");
    // Without `self`, the pointer is the first parameter, and in a short signature it may be.
    let pointer = |full: u32| match params {
        1 => Pointer::At(0),
        all if all == full => Pointer::At(1),
        _ => Pointer::FirstOrSecond,
    };
    let last = params.checked_sub(1)?;
    let allocates = Role::Allocates {
        size: Size::At(last),
    };
    let reallocates = |full| Role::Reallocates {
        pointer: pointer(full),
        size: last,
    };
    let frees = |full| Role::Frees {
        pointer: pointer(full),
    };
    let crate_name = path.trim_start_matches('<');
    let starts = |name: &str| crate_name.starts_with(name);
    let (role, label) = if is_trait {
        match method {
            "alloc" => (allocates, "GlobalAlloc::alloc"),
            "alloc_zeroed" => (allocates, "GlobalAlloc::alloc_zeroed"),
            "realloc" => (reallocates(5), "GlobalAlloc::realloc"),
            "dealloc" => (frees(4), "GlobalAlloc::dealloc"),
            _ => return None,
        }
    } else if starts("talc::talc::Talc") && !path.contains("::tag") {
        match method {
            "malloc" => (allocates, "Talc::malloc"),
            "free" => (frees(4), "Talc::free"),
            "grow_in_place" => (reallocates(5), "Talc::grow_in_place"),
            "shrink" | "realloc_in_place" => (
                Role::Resizes {
                    pointer: pointer(5),
                    size: last,
                },
                "Talc::shrink",
            ),
            _ => return internal(method),
        }
    } else if starts("dlmalloc::dlmalloc::Dlmalloc") {
        match method {
            "malloc" => (allocates, "Dlmalloc::malloc"),
            "memalign" => (allocates, "Dlmalloc::memalign"),
            "realloc" => (reallocates(3), "Dlmalloc::realloc"),
            "free" => (frees(2), "Dlmalloc::free"),
            _ => return internal(method),
        }
    } else if starts("rlsf::") && (path.contains("FlexTlsf") || path.contains("Tlsf")) {
        match method {
            "allocate" => (allocates, "Tlsf::allocate"),
            "reallocate" => (reallocates(4), "Tlsf::reallocate"),
            "deallocate" => (frees(3), "Tlsf::deallocate"),
            _ => return internal(method),
        }
    } else if [
        "talc::",
        "rlsf::",
        "dlmalloc::",
        "wee_alloc::",
        "lol_alloc::",
    ]
    .into_iter()
    .any(starts)
    {
        return internal(method);
    } else {
        return None;
    };
    Some(Named::Entry(shaped(Family::Rust, role, label)))
}

fn internal(method: &str) -> Option<Named> {
    (!SHARED.contains(&method)).then_some(Named::Internal)
}

/// The lowest layer of AssemblyScript's runtime, below its collector: blocks with a header of four
/// bytes, in front of the pointer that `__alloc` returns.
fn assembly_script(item: &str, params: u32) -> Option<Named> {
    let (module, function) = item.split_once('/')?;
    if !matches!(module, "tlsf" | "stub") {
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
        "__alloc" => (allocates(), 0, "__alloc"),
        "__realloc" => (reallocates(), 0, "__realloc"),
        "__free" => (frees(), 0, "__free"),
        "allocateBlock" => (allocates(), BLOCK_HEADER, "allocateBlock"),
        "reallocateBlock" => (reallocates(), BLOCK_HEADER, "reallocateBlock"),
        "freeBlock" => (frees(), BLOCK_HEADER, "freeBlock"),
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

/// C++'s `operator new` and `operator delete`, for 32-bit sizes of both names.
fn cxx(symbol: &str) -> Option<EntryPoint> {
    let (role, label) = match symbol.split_at_checked(4)? {
        ("_Znw" | "_Zna", rest) if rest.starts_with(['j', 'm']) => {
            (Role::Allocates { size: Size::At(0) }, "operator new")
        }
        ("_Zdl" | "_Zda", rest) if rest.starts_with("Pv") => (
            Role::Frees {
                pointer: Pointer::At(0),
            },
            "operator delete",
        ),
        _ => return None,
    };
    Some(shaped(Family::Cxx, role, label))
}
