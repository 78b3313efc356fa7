//! Finds the calls that need not set the calling context.
//!
//! A function that only direct calls can call, and that calls one allocating function at one place,
//! is a pass-through: which call site has called it decides which call follows. So its context
//! already identifies the call stack, and its callee takes it over. The functions between a
//! program's own code and its allocator are of this kind, such as `__rust_alloc`.

use std::collections::{HashMap, HashSet};

use super::calls::{CallSite, Callee, Calls};
use super::reach::referenced;
use super::scan::CoreModule;

/// Offsets in the module of the calls that leave the calling context as it is, in ascending order.
///
/// `only_update` returns the call site of a function if no other site of the function sets the
/// context, and if the context at the site is the one that the function was entered with. The
/// functions of `hooks` do not track the context.
pub(super) fn pass_through_calls<'c>(
    module: &CoreModule<'_>,
    calls: &'c [Calls],
    hooks: &[u32],
    only_update: impl Fn(u32, &'c Calls) -> Option<&'c CallSite>,
) -> Vec<u32> {
    let referenced = referenced(module, calls, module.function_count() as usize);
    let exported = module.exports.iter().map(|(_, function)| *function);
    let others: HashSet<u32> = exported
        .chain(module.start)
        .chain(hooks.iter().copied())
        .collect();
    let mut passes = HashMap::new();
    for (function, calls) in (module.first_defined()..).zip(calls) {
        let only_direct_calls =
            referenced.get(function as usize) == Some(&false) && !others.contains(&function);
        if only_direct_calls
            && let Some(site) = only_update(function, calls)
            && let Callee::Function(callee) = site.callee
            && module.is_defined(callee)
        {
            passes.insert(function, (callee, site.start as u32));
        }
    }
    break_circles(&mut passes);
    let mut sites: Vec<u32> = passes.into_values().map(|(_, site)| site).collect();
    sites.sort_unstable();
    sites
}

/// Removes one function of each circle of functions that call each other: in a circle without any
/// update, the context would not tell how often it has been passed.
fn break_circles(passes: &mut HashMap<u32, (u32, u32)>) {
    let mut functions: Vec<u32> = passes.keys().copied().collect();
    functions.sort_unstable();
    let mut done = HashSet::new();
    for first in functions {
        let mut path = HashSet::new();
        let mut function = first;
        while !done.contains(&function)
            && let Some((callee, _)) = passes.get(&function).copied()
        {
            path.insert(function);
            if path.contains(&callee) {
                passes.remove(&function);
                break;
            }
            function = callee;
        }
        done.extend(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_circle_loses_one_function() {
        // 1 → 2 → 3 → 1, 4 → 2, 5 → 5, 6 → 7.
        let calls = [(1, 2), (2, 3), (3, 1), (4, 2), (5, 5), (6, 7)];
        let mut passes: HashMap<u32, (u32, u32)> = calls
            .into_iter()
            .map(|(caller, callee)| (caller, (callee, caller * 10)))
            .collect();
        break_circles(&mut passes);
        let mut left: Vec<u32> = passes.keys().copied().collect();
        left.sort_unstable();
        assert_eq!(left, [1, 2, 4, 6]);
    }
}
