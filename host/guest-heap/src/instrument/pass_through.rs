//! Finds the calls that need not set the calling context.
//!
//! A function that only direct calls can call, and that calls one allocating function at one place,
//! is a pass-through: which call site has called it decides which call follows. So its context
//! already identifies the call stack, and its callee takes it over. The functions between a
//! program's own code and its allocator are of this kind, such as `__rust_alloc`.
//!
//! Such functions never call each other in a circle, in which the context would not tell how often
//! it has been passed: at least one function of an allocating circle has another call that leads
//! out of it.

use std::collections::HashSet;

use super::calls::{CallSite, Callee, Calls};
use super::context::{ContextTracking, ContextUpdate};
use super::reach::referenced;
use super::scan::CoreModule;

impl ContextTracking<'_> {
    /// Finds the calls that need not set the context. The functions of `hooks` do not track it.
    pub(super) fn find_pass_through(&mut self, calls: &[Calls], hooks: &[u32]) {
        if !self.tracks_calls {
            return;
        }
        let this = &*self;
        let only_update = |function, calls| this.only_update(function, calls);
        self.pass_through = pass_through_calls(self.module, calls, hooks, only_update);
    }

    /// The site of a function that sets the context from the one that the function was entered
    /// with, if no other site sets it.
    fn only_update<'c>(&self, function: u32, calls: &'c Calls) -> Option<&'c CallSite> {
        let sites = calls.sites.iter();
        let mut tracked = sites.filter(|site| self.is_tracked(function, site));
        let (site, None) = (tracked.next()?, tracked.next()) else {
            return None;
        };
        let updates = self.updates(function, calls);
        let from_entry = |(updated, update): &(&CallSite, _)| {
            updated.start == site.start && *update == Some(ContextUpdate::FromEntry)
        };
        updates.iter().any(from_entry).then_some(site)
    }
}

/// Offsets in the module of the calls that leave the calling context as it is, in ascending order.
///
/// `only_update` returns the call site of a function if no other site of the function sets the
/// context, and if the context at the site is the one that the function was entered with. The
/// functions of `hooks` do not track the context.
fn pass_through_calls<'c>(
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
    let mut sites = Vec::new();
    for (function, calls) in (module.first_defined()..).zip(calls) {
        let only_direct_calls =
            referenced.get(function as usize) == Some(&false) && !others.contains(&function);
        if only_direct_calls
            && let Some(site) = only_update(function, calls)
            && let Callee::Function(callee) = site.callee
            && module.is_defined(callee)
        {
            sites.push(site.start as u32);
        }
    }
    sites.sort_unstable();
    sites
}
