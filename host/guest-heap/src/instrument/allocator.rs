//! Selects the functions of a module that the runtime's hooks replace.
//!
//! The entry points have well-known names, which come from the name section or, in a module that is
//! linked to others, from the exports. The entry points of C also cover Rust's standard library on
//! WASI, whose allocator calls `malloc`. A Rust program with an allocator of its own may have only
//! the entry points of Rust.

use std::collections::HashSet;

use super::attribution::Missing;
use super::calls::{CallSite, Callee, Calls};
use super::declared::DeclaredEntries;
use super::entry_point::EntryPoint::{self, Calloc, Malloc, Realloc, Shaped};
use super::entry_point::{Family, Role};
use super::reach::{Diverging, Reach};
use super::scan::CoreModule;
use super::structure;

/// The entry points of a module, with their function indices.
#[derive(Clone, Debug, Default)]
pub(super) struct Allocator {
    pub(super) entries: Vec<(EntryPoint, u32)>,
    pub(super) caveat: Option<Caveat>,
    /// Whether the entry points were found by their structure.
    is_guess: bool,
}

/// Why the heap is attributed only partially, as a clause whose subject is the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caveat {
    pub(super) why: &'static str,
    pub(super) missing: Missing,
}

impl Caveat {
    const fn new(why: &'static str, missing: Missing) -> Self {
        Self { why, missing }
    }
}

impl Allocator {
    /// Finds the entry points of a module. The error is the reason why none can be used.
    pub(super) fn find(
        module: &CoreModule<'_>,
        declared: &DeclaredEntries,
    ) -> Result<Self, &'static str> {
        let mut entries = declared.of(module);
        let declared = !entries.is_empty();
        add(module, &mut entries, &module.entry_points);
        let kinds: HashSet<EntryPoint> = entries.iter().map(|(entry, _)| *entry).collect();
        let without_entry: Vec<_> = module
            .implementations
            .iter()
            .copied()
            .filter(|(entry, _)| !kinds.contains(entry))
            .collect();
        add(module, &mut entries, &without_entry);
        entries.sort_unstable();
        let allocator = Self {
            entries,
            ..Self::default()
        };
        let allocates = [
            Family::AssemblyScript,
            Family::Cxx,
            Family::Zig,
            Family::TinyGo,
        ]
        .into_iter()
        .any(|family| allocator.allocates(family));
        if declared || allocates || allocator.has_c() || allocator.has_rust() {
            Ok(allocator)
        } else if module.has_go_runtime {
            Err("its heap is Go's: the functions of Go's allocator have no parameters to read")
        } else if module.has_names {
            Err("none of its functions is named malloc or __rust_alloc")
        } else {
            Err("function names are stripped")
        }
    }

    /// Finds the entry points of a C allocator in a module without names, by their structure: see
    /// [`structure`].
    pub(super) fn by_structure(module: &CoreModule<'_>) -> Option<Self> {
        // In a module with names, the compiler has inlined the allocator.
        let calls = Calls::read_all(module).ok().filter(|_| !module.has_names)?;
        let mut entries = structure::entry_points(module, &calls);
        entries.sort_unstable();
        (!entries.is_empty()).then_some(Self {
            entries,
            caveat: None,
            is_guess: true,
        })
    }

    fn has(&self, entry: EntryPoint) -> bool {
        self.entries.iter().any(|(known, _)| *known == entry)
    }

    fn allocates(&self, family: Family) -> bool {
        let mut of_family = self.entries.iter().map(|(entry, _)| entry);
        of_family.any(|entry| entry.family() == family && entry.allocates())
    }

    fn frees(&self, family: Family) -> bool {
        let mut of_family = self.entries.iter().map(|(entry, _)| entry);
        of_family.any(|entry| entry.family() == family && entry.frees())
    }

    /// `free` is not required: a program that never frees does not link it.
    fn has_c(&self) -> bool {
        [Malloc, Calloc, Realloc]
            .iter()
            .any(|entry| self.has(*entry))
    }

    fn has_rust(&self) -> bool {
        self.allocates(Family::Rust)
    }

    /// In a module with the entry points of several languages, keeps those that see every block.
    ///
    /// Rust's default allocator calls `malloc`. An allocator of the program's own may call it, too.
    /// Then the entry points of C are the reliable ones, because the compiler often inlines the
    /// calls of Rust's. An allocator of the program's own that does not call `malloc` has a heap
    /// of its own, so both heaps are counted.
    pub(super) fn select(&mut self, module: &CoreModule<'_>, calls: &[Calls]) {
        // Its entry points end in another module, whatever other allocators it contains.
        if self.entries.is_empty() && module.imports_allocator {
            return;
        }
        if self.is_guess {
            self.caveat = Some(Caveat::new(
                "has no function with the name of an entry point: the profiler has chosen entry \
                 points by their structure, which can be wrong",
                Missing::BOTH,
            ));
            return;
        }
        let named = module.debug_names;
        let has_rust = self.has_rust();
        let custom = named.rust_allocator || has_rust && !module.has_default_rust_allocator;
        let rust_frees = self.frees(Family::Rust);
        let through_c = has_rust && self.has_c() && (!custom || self.calls_c(module, calls));
        if through_c {
            self.entries.retain(|(entry, _)| !entry.is_rust());
        }
        self.add_implementations(module, calls);
        let has_new = module.entry_points.iter().any(|(entry, _)| is_new(*entry));
        if self.has_c() && !self.has_own_new(module, calls) {
            self.entries
                .retain(|(entry, _)| entry.family() != Family::Cxx);
        }
        // Without a function that frees, the compiler has inlined the parts of the allocator. Then
        // only debug information tells whose they were. `malloc` sees all blocks of the default
        // allocator.
        self.caveat = if through_c && (named.rust_allocator || custom && rust_frees) {
            // It may have other memory, too, such as an array for small blocks.
            Some(Caveat::new(
                "has a global allocator of its own: the profiler counts the blocks that this \
                 allocator takes from malloc, not the blocks that it returns",
                Missing::BOTH,
            ))
        } else if custom && !has_rust || named.cxx_new && !has_new {
            Some(Caveat::new(
                "has an allocator of its own that is no function of it, because the compiler has \
                 inlined it into its callers: the profiler misses its blocks",
                Missing::BOTH,
            ))
        } else if self.is_bypassed(module, calls) {
            Some(Caveat::new(
                "has an allocator whose parts the compiler has inlined into their callers: the \
                 profiler misses what these do",
                Missing::BOTH,
            ))
        } else {
            // `malloc` sees all blocks of an allocator that calls it.
            self.incomplete(custom && !through_c)
        };
    }

    /// Adds the implementations of entry points that other functions call directly. The blocks of
    /// these calls do not come through the entry point.
    fn add_implementations(&mut self, module: &CoreModule<'_>, calls: &[Calls]) {
        let hooked: HashSet<u32> = self.functions(|_| true).collect();
        let is_part =
            |function: u32| hooked.contains(&function) || module.is_part_of_allocator(function);
        let callers = (module.first_defined()..).zip(calls);
        let sites = callers
            .filter(|(caller, _)| !is_part(*caller))
            .flat_map(|(_, calls)| &calls.sites);
        let called: HashSet<u32> = sites.filter_map(CallSite::function).collect();
        let called: Vec<_> = module
            .implementations
            .iter()
            .copied()
            .filter(|(_, function)| called.contains(function))
            .collect();
        add(module, &mut self.entries, &called);
    }

    /// Whether Rust's entry points call C's, directly or through functions that they call directly.
    fn calls_c(&self, module: &CoreModule<'_>, calls: &[Calls]) -> bool {
        let c: HashSet<u32> = self
            .functions(|entry| entry.family() == Family::C)
            .collect();
        let rust = self.functions(EntryPoint::is_rust);
        let called = called_directly(module, calls, rust, &HashSet::new());
        called.iter().any(|function| c.contains(function))
    }

    /// Why the set of entry points is not complete, by its own account.
    fn incomplete(&self, custom_rust: bool) -> Option<Caveat> {
        if self.allocates(Family::TinyGo) {
            return Some(Caveat::new(
                "has a garbage collector that frees blocks without a call: the profiler counts \
                 what was allocated",
                Missing::FREES,
            ));
        }
        if custom_rust && !self.has_rust_methods() {
            return Some(Caveat::new(
                "has a global allocator of its own with inlined methods: the profiler misses the \
                 calls that do not go through __rust_alloc and __rust_dealloc",
                Missing::BOTH,
            ));
        }
        let without_free = [
            (Family::Rust, custom_rust),
            (Family::Cxx, true),
            (Family::Zig, true),
            (Family::Declared, true),
        ]
        .into_iter()
        .any(|(family, check)| check && self.allocates(family) && !self.frees(family));
        if without_free {
            return Some(Caveat::new(
                "has an allocator without a function that frees: a freed block counts until its \
                 memory is handed out again",
                Missing::FREES,
            ));
        }
        // With one parameter left, it may be the alignment: the compiler removes a size that is
        // the same at all calls.
        let ambiguous = self.entries.iter().any(|(entry, _)| {
            matches!(entry, Shaped(shape) if shape.family == Family::Rust
                && matches!(shape.role, Role::Allocates { .. })
                && shape.label.starts_with("GlobalAlloc"))
                && self.has_one_parameter(*entry)
        });
        ambiguous.then_some(Caveat::new(
            "has an allocator with one parameter left, which may be the \
             alignment",
            Missing::BOTH,
        ))
    }

    /// Whether functions below `__rust_alloc` and `__rust_dealloc` are left. Without them, the
    /// compiler has inlined the allocator there, and perhaps into other callers, too.
    fn has_rust_methods(&self) -> bool {
        let mut methods = self.entries.iter().map(|(entry, _)| entry);
        let is_method = |entry: &&EntryPoint| entry.is_rust() && !entry.name().starts_with("rust_");
        let allocates = methods.clone().filter(is_method).any(|it| it.allocates());
        allocates && methods.any(|it| is_method(&it) && it.frees())
    }

    fn has_one_parameter(&self, entry: EntryPoint) -> bool {
        matches!(entry, Shaped(shape) if shape.role == Role::Allocates {
            size: super::entry_point::Size::At(0),
        })
    }

    /// Whether a function that is neither an entry point nor a part of an allocator calls such a
    /// part.
    fn is_bypassed(&self, module: &CoreModule<'_>, calls: &[Calls]) -> bool {
        let hooked: HashSet<u32> = self.functions(|_| true).collect();
        let is_part = |function: u32| {
            module.allocator_internals.contains(&function) && !hooked.contains(&function)
        };
        let callers = (module.first_defined()..).zip(calls);
        let outside = callers.filter(|(caller, _)| {
            !hooked.contains(caller) && !module.is_part_of_allocator(*caller)
        });
        let mut sites = outside.flat_map(|(_, calls)| &calls.sites);
        sites.any(|site| matches!(site.callee, Callee::Function(callee) if is_part(callee)))
    }

    /// Whether the program defines an `operator new` of its own. That of the C++ library only calls
    /// `malloc`, which then sees all blocks. One of the program does not call `malloc`, or has
    /// static data.
    fn has_own_new(&self, module: &CoreModule<'_>, calls: &[Calls]) -> bool {
        let c: Vec<u32> = self
            .functions(|entry| entry.family() == Family::C)
            .collect();
        let reach = Reach::compute(module, calls, &c, &c, false, Diverging::Ignored);
        let c: HashSet<u32> = c.into_iter().collect();
        let stores = |function: u32| {
            let parts = called_directly(module, calls, [function], &c);
            let of_parts = (module.first_defined()..).zip(calls);
            let mut of_parts = of_parts.filter(|(part, _)| parts.contains(part));
            of_parts.any(|(_, calls)| !calls.accesses.stores.is_empty())
        };
        self.functions(is_new)
            .any(|function| !reach.function(function) || stores(function))
    }

    fn functions(&self, which: impl Fn(EntryPoint) -> bool) -> impl Iterator<Item = u32> {
        let chosen = self.entries.iter().filter(move |(entry, _)| which(*entry));
        chosen.map(|(_, function)| *function)
    }
}

/// These functions and those that they call directly, but not what functions of `barriers` call,
/// and not these. A call through a table says nothing: it could reach any function of its type.
fn called_directly(
    module: &CoreModule<'_>,
    calls: &[Calls],
    functions: impl IntoIterator<Item = u32>,
    barriers: &HashSet<u32>,
) -> HashSet<u32> {
    let mut open: Vec<u32> = functions.into_iter().collect();
    let mut seen = HashSet::new();
    while let Some(function) = open.pop() {
        if barriers.contains(&function) || !seen.insert(function) {
            continue;
        }
        let defined = function.checked_sub(module.first_defined());
        let calls = defined.and_then(|defined| calls.get(defined as usize));
        let sites = calls.into_iter().flat_map(|calls| &calls.sites);
        let sites = sites.filter(|site| !site.diverges);
        open.extend(sites.filter_map(CallSite::function));
    }
    seen
}

fn is_new(entry: EntryPoint) -> bool {
    entry.family() == Family::Cxx && entry.allocates()
}

/// Adds functions whose signature fits. The runtime has one hook for each kind, so a second
/// function of a kind is added by its shape.
fn add(
    module: &CoreModule<'_>,
    entries: &mut Vec<(EntryPoint, u32)>,
    functions: &[(EntryPoint, u32)],
) {
    let mut functions = functions.to_vec();
    functions.sort_unstable();
    for (entry, function) in functions {
        let fits = module.is_defined(function)
            && module.signature(function).is_some_and(|ty| entry.fits(ty));
        if !fits || entries.iter().any(|(_, known)| *known == function) {
            continue;
        }
        let taken = entries.iter().any(|(known, _)| *known == entry);
        let shape = || entry.shape().map(Shaped);
        if let Some(entry) = if taken { shape() } else { Some(entry) } {
            entries.push((entry, function));
        }
    }
}
