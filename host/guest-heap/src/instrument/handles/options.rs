//! The options of functions of the canonical ABI.

use wasmparser::{CanonicalFunction, CanonicalOption};

use super::layout::TooComplex;

/// The memory of the component that a function uses.
pub(super) fn memory(function: &CanonicalFunction) -> Option<u32> {
    match function {
        CanonicalFunction::Lower { options, .. }
        | CanonicalFunction::TaskReturn { options, .. } => memory_option(options),
        CanonicalFunction::WaitableSetWait { memory }
        | CanonicalFunction::WaitableSetPoll { memory } => Some(*memory),
        _ => None,
    }
}

pub(super) fn memory_option(options: &[CanonicalOption]) -> Option<u32> {
    options.iter().find_map(|option| match option {
        CanonicalOption::Memory(memory) => Some(*memory),
        _ => None,
    })
}

/// Refuses options that change how values are passed.
pub(super) fn plain(options: &[CanonicalOption]) -> Result<(), TooComplex> {
    let changes = |option: &CanonicalOption| {
        matches!(option, CanonicalOption::Gc | CanonicalOption::CoreType(_))
    };
    if options.iter().any(changes) {
        return Err(TooComplex);
    }
    Ok(())
}
