//! Finds functions that must allocate and lead to no entry point: the compiler has inlined an
//! allocator there.

use std::collections::HashSet;

use super::allocator::Allocator;
use super::calls::{CallSite, Calls};
use super::reach::{Diverging, Reach};
use super::scan::CoreModule;

/// The function by which the host allocates, in both of its conventional names.
const REALLOCS: [&str; 2] = ["cabi_realloc", "canonical_abi_realloc"];

/// The functions that allocate by what they are for, and from which no entry point is reached:
///
/// - the export by which the host allocates;
/// - the function by which the vectors of Rust's library grow;
/// - functions that report to Rust's library that an allocation has failed.
pub(super) fn functions_without_entry_point(
    module: &CoreModule<'_>,
    calls: &[Calls],
    allocator: &Allocator,
) -> Vec<u32> {
    let entries = || allocator.entries.iter();
    let allocating: Vec<u32> = entries()
        .filter(|(entry, _)| entry.allocates())
        .map(|(_, function)| *function)
        .collect();
    if allocating.is_empty() {
        return Vec::new();
    }
    let reach = Reach::compute(module, calls, &allocating, &[], false, Diverging::Ignored);
    let mut found: Vec<u32> = module
        .exports
        .iter()
        .filter(|(name, _)| REALLOCS.contains(name))
        .map(|(_, function)| *function)
        .collect();
    let (mut growing, mut handlers) = (Vec::new(), HashSet::new());
    for (name, function) in &module.names {
        if name.contains("finish_grow") && name.contains("5alloc7raw_vec") {
            growing.push(*function);
        } else if name.contains("18handle_alloc_error") {
            handlers.insert(*function);
        }
    }
    found.extend(growing);
    if !handlers.is_empty() {
        found.extend(reporting(module, calls, &reach, &handlers));
    }
    found.retain(|function| module.is_defined(*function) && !reach.function(*function));
    found.sort_unstable();
    found.dedup();
    found
}

/// The functions that call one of the handlers of failed allocations, less those that only report:
/// they change no static data, and either they do not return or all their callers allocate.
fn reporting(
    module: &CoreModule<'_>,
    calls: &[Calls],
    reach: &Reach,
    handlers: &HashSet<u32>,
) -> Vec<u32> {
    let defined = || (module.first_defined()..).zip(calls);
    // The functions that return to a caller that does not allocate.
    let returning: HashSet<u32> = defined()
        .filter(|(caller, _)| !reach.function(*caller))
        .flat_map(|(_, calls)| &calls.sites)
        .filter(|site| !site.diverges)
        .filter_map(CallSite::function)
        .collect();
    defined()
        .filter(|(function, calls)| {
            let only_reports = calls.accesses.stores.is_empty() && !returning.contains(function);
            let mut callees = calls.sites.iter().filter_map(CallSite::function);
            !handlers.contains(function)
                && !reach.function(*function)
                && callees.any(|callee| handlers.contains(&callee))
                && !only_reports
        })
        .map(|(function, _)| function)
        .collect()
}
