//! The names of the functions by which Rust code allocates, in both manglings.

use super::{Named, internal, shaped};
use crate::instrument::entry_point::{EntryPoint, Family, Pointer, Role, Size};

/// The plain name of a function by which Rust code allocates, such as `__rust_alloc`. Accepts
/// mangled names, and names that a linker has demangled.
pub(super) fn rust_symbol(symbol: &str) -> Option<&str> {
    let symbol = symbol.strip_prefix("__rustc::").unwrap_or(symbol);
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
/// and (pointer, size, align, new size). An optimiser may remove all but the pointer and the last
/// size.
pub(super) fn rust_entry(item: &str, params: u32) -> Option<EntryPoint> {
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

pub(super) fn mentions_rust_allocator(symbol: &str) -> bool {
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
pub(super) fn rust_method(symbol: &str, params: u32) -> Option<Named> {
    let name = format!("{:#}", rustc_demangle::try_demangle(symbol).ok()?);
    let (path, method) = name.rsplit_once("::")?;
    let is_trait = path.contains("GlobalAlloc");
    // Without `self`, the pointer is the first parameter, and in a short signature it may be.
    let pointer = |full: u32| match params {
        1 => Pointer::At(0),
        all if all == full => Pointer::At(1),
        _ => Pointer::FirstOrSecond,
    };
    let last = params.saturating_sub(1);
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
