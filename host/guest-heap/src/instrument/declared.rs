//! Allocator entry points that the user has declared.

use std::fmt;

use wasmparser::{FuncType, ValType};

use super::entry_point::EntryPoint::{self, Shaped};
use super::entry_point::{Family, Pointer, Role, Shape, Size};
use super::error::InstrumentError;
use super::scan::CoreModule;

/// What a declared function of an allocator does.
///
/// Numbers are positions of parameters and start at 0. All parameters and results of a declared
/// function must be 32-bit integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// Returns the address of a new block, or 0. `malloc` is `Allocate { size: 0 }`.
    Allocate {
        /// The block's size in bytes.
        size: u32,
    },
    /// Returns the address of a new block, or 0. `calloc` is `AllocateArray { count: 0, size: 1 }`.
    AllocateArray {
        /// The number of elements.
        count: u32,
        /// The size of an element in bytes.
        size: u32,
    },
    /// Moves or resizes a block and returns its address, or 0. If it returns 0 for a size of 0, it
    /// has freed the block. `realloc` is `Reallocate { pointer: 0, size: 1 }`.
    Reallocate {
        /// The address of the block, or 0 for a new one.
        pointer: u32,
        /// The new size in bytes.
        size: u32,
    },
    /// Frees a block. `free` is `Free { pointer: 0 }`.
    Free {
        /// The address of the block. 0 frees nothing.
        pointer: u32,
    },
}

impl EntryKind {
    fn shape(self) -> Shape {
        let (role, label) = match self {
            Self::Allocate { size } => (
                Role::Allocates {
                    size: Size::At(size),
                },
                "allocate (declared)",
            ),
            Self::AllocateArray { count, size } => (
                Role::Allocates {
                    size: Size::Product(count, size),
                },
                "allocate-array (declared)",
            ),
            Self::Reallocate { pointer, size } => (
                Role::Reallocates {
                    pointer: Pointer::At(pointer),
                    size,
                },
                "reallocate (declared)",
            ),
            Self::Free { pointer } => (
                Role::Frees {
                    pointer: Pointer::At(pointer),
                },
                "free (declared)",
            ),
        };
        Shape {
            family: Family::Declared,
            role,
            bias: 0,
            label,
        }
    }
}

/// The declared entry points, by the names of their functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::instrument) struct DeclaredEntries(pub(super) Vec<(String, EntryKind)>);

impl DeclaredEntries {
    /// Whether a function of this name is declared.
    pub(super) fn declares(&self, function: &str) -> bool {
        self.0.iter().any(|(name, _)| name == function)
    }

    /// The declared entry points of a module.
    pub(super) fn of(&self, module: &CoreModule<'_>) -> Vec<(EntryPoint, u32)> {
        let mut entries: Vec<(EntryPoint, u32)> = Vec::new();
        for (name, kind) in &self.0 {
            for function in functions(module, name) {
                let entry = Shaped(kind.shape());
                let fits = module.signature(function).is_some_and(|ty| entry.fits(ty));
                if fits && !entries.iter().any(|(_, known)| *known == function) {
                    entries.push((entry, function));
                }
            }
        }
        entries
    }

    /// Checks that each declared function exists in one of the modules and has parameters that fit.
    ///
    /// # Errors
    ///
    /// Names the first function that does not.
    pub(super) fn check(&self, modules: &[CoreModule<'_>]) -> Result<(), InstrumentError> {
        for (name, kind) in &self.0 {
            let mut unfit = None;
            let mut found = false;
            for module in modules {
                for function in functions(module, name) {
                    let ty = module.signature(function);
                    if ty.is_some_and(|ty| Shaped(kind.shape()).fits(ty)) {
                        found = true;
                    } else {
                        unfit = ty.map(|ty| Signature(ty).to_string());
                    }
                }
            }
            match (found, unfit) {
                (true, _) => {}
                (false, Some(signature)) => {
                    return Err(InstrumentError::UnfitEntryPoint {
                        function: name.clone(),
                        signature,
                    });
                }
                (false, None) => return Err(InstrumentError::UnknownEntryPoint(name.clone())),
            }
        }
        Ok(())
    }
}

/// The defined functions of a module with this name: in the name section, as it is or demangled, or
/// among the exports.
fn functions(module: &CoreModule<'_>, name: &str) -> Vec<u32> {
    let named = module.names.iter().chain(&module.exports);
    let is_it = |symbol: &str| {
        symbol == name
            || rustc_demangle::try_demangle(symbol)
                .is_ok_and(|demangled| format!("{demangled:#}") == name)
    };
    let mut functions: Vec<u32> = named
        .filter(|(symbol, function)| module.is_defined(*function) && is_it(symbol))
        .map(|(_, function)| *function)
        .collect();
    functions.sort_unstable();
    functions.dedup();
    functions
}

/// A signature as the text format writes it.
struct Signature<'a>(&'a FuncType);

impl fmt::Display for Signature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |types: &[ValType]| {
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            types.join(", ")
        };
        let Self(ty) = self;
        write!(f, "({}) -> ({})", list(ty.params()), list(ty.results()))
    }
}
