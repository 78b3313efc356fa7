//! Moves hooks to the functions that the code really calls.
//!
//! An optimiser replaces a call of an entry point that only forwards its arguments by a call of the
//! function that it forwards to. The hook of the entry point would miss these calls, so that other
//! function gets the hook. No name is necessary for that.

use std::collections::HashSet;

use super::allocator::Allocator;
use super::audit::roots;
use super::calls::Calls;
use super::forwarding::forwards_to;
use super::reach::reached_from;
use super::scan::CoreModule;

/// Hooks the implementation of each entry point that only forwards to it, if the implementation may
/// be called without the entry point.
pub(super) fn repair(module: &CoreModule<'_>, calls: &[Calls], allocator: &mut Allocator) {
    let mut hooks: HashSet<u32> = allocator
        .entries
        .iter()
        .map(|(_, function)| *function)
        .collect();
    let outside = reached_from(module, calls, &roots(module, &hooks), &hooks, |_| false);
    for (_, function) in &mut allocator.entries {
        let implementation = forwards_to(module, calls, *function).filter(|implementation| {
            outside.get(*implementation as usize) == Some(&true)
                && module.signature(*implementation) == module.signature(*function)
        });
        if let Some(implementation) = implementation
            && hooks.insert(implementation)
        {
            *function = implementation;
        }
    }
}
