//! The functions of an allocator's interface, and what each does with its parameters.

use wasmparser::{FuncType, ValType};

/// A function of an allocator's interface.
///
/// The runtime has a hook for each kind but [`Shaped`](Self::Shaped), for which `hook_body` writes
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum EntryPoint {
    Malloc,
    Calloc,
    Realloc,
    Free,
    PosixMemalign,
    AlignedAlloc,
    Memalign,
    RustAlloc,
    RustAllocZeroed,
    RustRealloc,
    RustDealloc,
    /// No function of an allocator: with it, CPython takes objects from its free lists.
    PyNewReference,
    Shaped(Shape),
}

use EntryPoint::{
    AlignedAlloc, Calloc, Free, Malloc, Memalign, PosixMemalign, PyNewReference, Realloc,
    RustAlloc, RustAllocZeroed, RustDealloc, RustRealloc, Shaped,
};

/// The allocator that an entry point belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Family {
    C,
    Cxx,
    Rust,
    AssemblyScript,
    Zig,
    TinyGo,
    /// CPython, which has free lists of its own.
    Python,
    /// The user has declared the entry point.
    Declared,
}

/// A function with a signature of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Shape {
    pub(super) family: Family,
    pub(super) role: Role,
    /// Bytes from the pointer that the function takes or returns to the block's address.
    pub(super) bias: u32,
    /// The name for reports.
    pub(super) label: &'static str,
}

/// What a function does. Numbers are positions of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Role {
    /// Returns a block of this size, or null.
    Allocates { size: Size },
    /// Frees a block.
    Frees { pointer: Pointer },
    /// Moves or resizes a block and returns the new one, or null.
    Reallocates { pointer: Pointer, size: u32 },
    /// Resizes a block in place: always, or if the function returns a number other than zero.
    Resizes { pointer: Pointer, size: u32 },
}

/// Where the size of a new block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Size {
    At(u32),
    Product(u32, u32),
}

/// Where the pointer to a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Pointer {
    At(u32),
    /// One of the first two parameters: the one that is the address of a live block. An optimiser
    /// has removed parameters, so the signature does not say which one it is.
    FirstOrSecond,
}

impl Pointer {
    /// The positions to try, in order.
    pub(super) fn positions(self) -> (u32, Option<u32>) {
        match self {
            Self::At(at) => (at, None),
            Self::FirstOrSecond => (0, Some(1)),
        }
    }
}

impl EntryPoint {
    /// The name in reports. The runtime's hook of a kind with a fixed signature has the same name
    /// behind `hook_`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Malloc => "malloc",
            Calloc => "calloc",
            Realloc => "realloc",
            Free => "free",
            PosixMemalign => "posix_memalign",
            AlignedAlloc => "aligned_alloc",
            Memalign => "memalign",
            RustAlloc => "rust_alloc",
            RustAllocZeroed => "rust_alloc_zeroed",
            RustRealloc => "rust_realloc",
            RustDealloc => "rust_dealloc",
            PyNewReference => "_Py_NewReference",
            Shaped(shape) => shape.label,
        }
    }

    /// Whether the runtime has a hook of this name.
    pub(super) fn has_runtime_hook(self) -> bool {
        !matches!(self, Shaped(_))
    }

    pub(super) fn family(self) -> Family {
        match self {
            RustAlloc | RustAllocZeroed | RustRealloc | RustDealloc => Family::Rust,
            PyNewReference => Family::Python,
            Shaped(shape) => shape.family,
            _ => Family::C,
        }
    }

    pub(super) fn frees(self) -> bool {
        match self {
            Free | RustDealloc => true,
            Shaped(shape) => matches!(shape.role, Role::Frees { .. }),
            _ => false,
        }
    }

    /// Whether the function can return a block that did not exist before.
    pub(super) fn allocates(self) -> bool {
        match self {
            Shaped(shape) => {
                matches!(
                    shape.role,
                    Role::Allocates { .. } | Role::Reallocates { .. }
                )
            }
            PyNewReference => false,
            other => !other.frees(),
        }
    }

    pub(super) fn is_rust(self) -> bool {
        self.family() == Family::Rust
    }

    /// Whether a function with this signature can be this entry point.
    pub(super) fn fits(self, ty: &FuncType) -> bool {
        let mut all = ty.params().iter().chain(ty.results());
        if !all.all(|ty| *ty == ValType::I32) {
            return false;
        }
        let (params, results) = (ty.params().len(), ty.results().len());
        match self {
            Malloc => (params, results) == (1, 1),
            Calloc | Realloc | AlignedAlloc | Memalign | RustAlloc | RustAllocZeroed => {
                (params, results) == (2, 1)
            }
            Free | PyNewReference => (params, results) == (1, 0),
            PosixMemalign => (params, results) == (3, 1),
            RustRealloc => (params, results) == (4, 1),
            RustDealloc => (params, results) == (3, 0),
            Shaped(shape) => shape.role.fits(params as u32, results),
        }
    }

    /// The same function as a shape, for a second function of a kind: the runtime has one hook for
    /// each kind. `None` for a kind that no shape describes.
    pub(super) fn shape(self) -> Option<Shape> {
        let role = match self {
            Malloc | RustAlloc | RustAllocZeroed => Role::Allocates { size: Size::At(0) },
            Calloc => Role::Allocates {
                size: Size::Product(0, 1),
            },
            AlignedAlloc | Memalign => Role::Allocates { size: Size::At(1) },
            Realloc => Role::Reallocates {
                pointer: Pointer::At(0),
                size: 1,
            },
            RustRealloc => Role::Reallocates {
                pointer: Pointer::At(0),
                size: 3,
            },
            Free | RustDealloc => Role::Frees {
                pointer: Pointer::At(0),
            },
            PosixMemalign | PyNewReference => return None,
            Shaped(shape) => return Some(shape),
        };
        Some(Shape {
            family: self.family(),
            role,
            bias: 0,
            label: self.name(),
        })
    }
}

impl Role {
    fn fits(self, params: u32, results: usize) -> bool {
        let pointer_fits = |pointer: Pointer| {
            let (first, second) = pointer.positions();
            first.max(second.unwrap_or(0)) < params
        };
        match self {
            Self::Allocates {
                size: Size::At(size),
            } => size < params && results == 1,
            Self::Allocates {
                size: Size::Product(count, size),
            } => count.max(size) < params && results == 1,
            // A free that says whether it succeeded still frees.
            Self::Frees { pointer } => pointer_fits(pointer) && results <= 1,
            Self::Reallocates { pointer, size } => {
                pointer_fits(pointer) && size < params && results == 1
            }
            Self::Resizes { pointer, size } => {
                pointer_fits(pointer) && size < params && results <= 1
            }
        }
    }
}
