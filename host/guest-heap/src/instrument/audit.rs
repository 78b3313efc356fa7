//! Audits what is known before a module runs about memory that does not come through its allocator
//! entry points.
//!
//! Three findings make the attribution partial:
//!
//! - Memory may grow while no entry point runs. So another allocator exists, or another way into
//!   this one.
//! - Code outside the allocator writes the allocator's own static data. So an optimiser has inlined
//!   a part of the allocator there, such as a free list.
//! - A function that must allocate leads to no entry point: see [`bypass`](super::bypass).
//!
//! The second finding needs constant addresses. It misses an allocator that finds its data through
//! a pointer.

use std::collections::HashSet;

use super::allocator::Allocator;
use super::attribution::{Gaps, Missing};
use super::bypass::functions_without_entry_point;
use super::calls::{CallSite, Callee, Calls};
use super::constants::Accesses;
use super::reach::{Diverging, Reach, reached_from};
use super::scan::CoreModule;

/// Functions that a finding names at most.
const MAX_NAMED_FUNCTIONS: usize = 3;

/// Characters of a function's name in a finding, at most.
const MAX_NAME_LENGTH: usize = 80;

/// The findings about one module.
pub(super) struct Audit {
    /// By function index: whether the function may run while no entry point runs.
    pub(super) outside: Vec<bool>,
    /// Whether memory may grow while no entry point runs.
    pub(super) may_grow_outside: bool,
    /// Whether memory may grow in an entry point that frees.
    pub(super) frees_grow: bool,
    /// The findings as clauses whose subject is the module.
    pub(super) findings: Gaps,
}

impl Audit {
    pub(super) fn of(module: &CoreModule<'_>, calls: &[Calls], allocator: &Allocator) -> Self {
        let hooks: HashSet<u32> = allocator
            .entries
            .iter()
            .map(|(_, function)| *function)
            .collect();
        let roots = roots(module, &hooks);
        let outside = reached_from(module, calls, &roots, &hooks, |_| false);
        let growing = |function: &u32| calls_of(module, calls, *function).is_some_and(Calls::grows);
        let defined = || module.first_defined()..module.function_count();
        let may_grow_outside =
            defined().any(|function| is(&outside, function) && growing(&function));
        let mut findings = Gaps::default();
        if !allocator.entries.is_empty() {
            // At run time, a growth behind such a call shows, and so does a call of an exported
            // `sbrk`, which libraries export without need.
            let is_query = |site: &CallSite| is_query(module, calls, site);
            let is_no_sbrk = |root: &u32| !(growing(root) && has_one_parameter(module, *root));
            let roots: Vec<u32> = roots.iter().copied().filter(is_no_sbrk).collect();
            let outside = reached_from(module, calls, &roots, &hooks, is_query);
            let unseen = defined().filter(|function| is(&outside, *function) && growing(function));
            if let Some(names) = named(module, unseen) {
                let why = "may grow its memory without the entry points that are hooked, in";
                // An optimiser that has inlined `malloc` may have inlined `free`, too.
                findings.push(format!("{why} {names}"), Missing::BOTH);
            }
            let writing = functions_that_write_state(module, calls, &hooks, &outside);
            if let Some(names) = named(module, writing.into_iter()) {
                let why = "writes the data of its allocator outside of the entry points, in";
                findings.push(format!("{why} {names}"), Missing::BOTH);
            }
            let bypassing = functions_without_entry_point(module, calls, allocator);
            if let Some(names) = named(module, bypassing.into_iter()) {
                let why = "allocates without the entry points that are hooked, in";
                findings.push(format!("{why} {names}"), Missing::BOTH);
            }
        }
        Self {
            outside,
            may_grow_outside,
            frees_grow: may_grow_outside && frees_grow(module, calls, allocator),
            findings,
        }
    }
}

/// The functions that may run first: what the host or another module can call.
pub(super) fn roots(module: &CoreModule<'_>, hooks: &HashSet<u32>) -> Vec<u32> {
    let mut roots: Vec<u32> = module
        .exports
        .iter()
        .map(|(_, function)| *function)
        .collect();
    roots.extend(module.start);
    if module.has_open_table {
        roots.extend(&module.referenced);
    }
    roots.retain(|root| !hooks.contains(root));
    roots
}

/// Whether a site only asks for the end of the heap: it passes 0 to a function with one parameter
/// that grows memory, like `sbrk`.
fn is_query(module: &CoreModule<'_>, calls: &[Calls], site: &CallSite) -> bool {
    let Callee::Function(callee) = site.callee else {
        return false;
    };
    site.passes_zero
        && has_one_parameter(module, callee)
        && calls_of(module, calls, callee).is_some_and(Calls::grows)
}

fn has_one_parameter(module: &CoreModule<'_>, function: u32) -> bool {
    module
        .signature(function)
        .is_some_and(|ty| ty.params().len() == 1)
}

fn frees_grow(module: &CoreModule<'_>, calls: &[Calls], allocator: &Allocator) -> bool {
    let reach = Reach::growth(module, calls, &[], &[], Diverging::Counts);
    let mut frees = allocator.entries.iter().filter(|(entry, _)| entry.frees());
    frees.any(|(_, function)| reach.function(*function))
}

/// The functions outside the allocator that store to its state: words of static data that only the
/// allocator's own functions load *and* store. A word that they only store, such as `errno`, is no
/// state. Code outside may read a word, for statistics, and allocate nothing.
///
/// The allocator may store a word through its address, such as the head of a list. Then the word is
/// its state if code outside loads and stores it, too.
fn functions_that_write_state(
    module: &CoreModule<'_>,
    calls: &[Calls],
    hooks: &HashSet<u32>,
    outside: &[bool],
) -> Vec<u32> {
    let memory = module.memories.first().map_or(0, |memory| {
        memory
            .initial
            .saturating_mul(1 << memory.page_size_log2.unwrap_or(16))
    });
    let entries: Vec<u32> = hooks.iter().copied().collect();
    let inside = reached_from(module, calls, &entries, &HashSet::new(), |_| false);
    let is_private = |function: u32| {
        hooks.contains(&function) || is(&inside, function) && !is(outside, function)
    };
    let defined = || (module.first_defined()..).zip(calls);
    let private = || defined().filter(|(function, _)| is_private(*function));
    let words = |of: fn(&Accesses) -> &Vec<u32>| -> HashSet<u32> {
        let words = private().flat_map(|(_, calls)| of(&calls.accesses));
        let words = words.copied();
        words.filter(|word| u64::from(*word) < memory).collect()
    };
    let loaded = words(|accesses| &accesses.loads);
    let stored = words(|accesses| &accesses.stores);
    let kept = words(|accesses| &accesses.kept);
    let writes = |calls: &Calls| {
        let Accesses { loads, stores, .. } = &calls.accesses;
        let mut state = stores.iter().filter(|word| loaded.contains(word));
        state.any(|word| {
            stored.contains(word) || kept.contains(word) && loads.binary_search(word).is_ok()
        })
    };
    defined()
        .filter(|(function, calls)| !is_private(*function) && writes(calls))
        .map(|(function, _)| function)
        .collect()
}

/// The first names of some functions, or `None` if there are no functions.
fn named(module: &CoreModule<'_>, functions: impl Iterator<Item = u32>) -> Option<String> {
    let functions: Vec<u32> = functions.collect();
    if functions.is_empty() {
        return None;
    }
    let name = |function: &u32| match module.function_names.get(function) {
        Some(name) => shortened(name),
        None => format!("function {function}"),
    };
    let names: Vec<String> = functions
        .iter()
        .take(MAX_NAMED_FUNCTIONS)
        .map(name)
        .collect();
    let names = names.join(", ");
    Some(match functions.len().saturating_sub(MAX_NAMED_FUNCTIONS) {
        0 => names,
        more => format!("{names} and {more} more"),
    })
}

fn shortened(name: &str) -> String {
    let demangled = rustc_demangle::try_demangle(name.get(..256).unwrap_or(name));
    let name = demangled.map_or_else(|_| name.to_owned(), |name| format!("{name:#}"));
    name.chars().take(MAX_NAME_LENGTH).collect()
}

fn calls_of<'c>(module: &CoreModule<'_>, calls: &'c [Calls], function: u32) -> Option<&'c Calls> {
    calls.get(function.checked_sub(module.first_defined())? as usize)
}

fn is(flags: &[bool], function: u32) -> bool {
    flags.get(function as usize) == Some(&true)
}
