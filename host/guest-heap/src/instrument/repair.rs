//! Moves hooks to the functions that the code really calls.
//!
//! An optimiser replaces a call of an entry point that only forwards its arguments by a call of the
//! function that it forwards to. The hook of the entry point would miss these calls, so that other
//! function gets the hook. No name is necessary for that.

use std::collections::HashSet;

use wasm_encoder::InstructionSink;

use super::allocator::Allocator;
use super::audit::roots;
use super::calls::{Callee, Calls};
use super::reach::reached_from;
use super::scan::{CoreModule, usize_range};

const END: u8 = 0x0B;

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

/// The function that an entry point forwards to: its body only calls that function with its own
/// arguments.
pub(super) fn forwards_to(module: &CoreModule<'_>, calls: &[Calls], function: u32) -> Option<u32> {
    let defined = function.checked_sub(module.first_defined())? as usize;
    let [site] = calls.get(defined)?.sites.as_slice() else {
        return None;
    };
    let Callee::Function(callee) = site.callee else {
        return None;
    };
    let params = module.signature(function)?.params().len() as u32;
    let mut expected = Vec::new();
    let mut code = InstructionSink::new(&mut expected);
    for param in 0..params {
        code.local_get(param);
    }
    let body = usize_range(module.bodies.get(defined)?.range());
    let before = module.bytes.get(calls.get(defined)?.code..site.start)?;
    let after = module.bytes.get(site.end..body.end)?;
    (before == expected && after == [END] && module.is_defined(callee)).then_some(callee)
}
