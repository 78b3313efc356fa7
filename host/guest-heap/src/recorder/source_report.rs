//! Reports of contexts that may be those of an interpreted program.

use super::Recorder;
use super::interpreted::NoStack;

/// What the recorder says about a context that may be one of an interpreted program.
pub(super) enum SourceAnswer {
    /// It is the context of this record.
    Record(u32),
    /// The recorder has to read the guest's memory at this address first.
    Wants(u32),
    /// No interpreted code has allocated, or its lines cannot be read. Then `context` is 0: no call
    /// stack can be found by it.
    NotInterpreted {
        /// The calling context.
        context: u64,
    },
}

impl Recorder {
    /// Adds the part of the guest's memory that the recorder wants, if a report is under way.
    pub(super) fn add_window(&mut self, instance: u32, bytes: &[u8]) {
        if let Some(instance) = self.instances.get_mut(instance as usize)
            && let Some(address) = instance.wanted.take()
        {
            instance.windows.add(address, bytes);
        }
    }

    /// Finds the source lines of a context: adds them, or compares them with the known ones.
    pub(super) fn source_context(&mut self, number: u32, index: u32, context: u64) -> SourceAnswer {
        let not_interpreted = SourceAnswer::NotInterpreted { context };
        let Some(instance) = self.instances.get_mut(number as usize) else {
            return not_interpreted;
        };
        let max_bytes = instance.max_source_bytes();
        let Some(interpreter) = &instance.interpreter else {
            return not_interpreted;
        };
        let windows = &instance.windows;
        let read = instance
            .source
            .read(interpreter, windows, context, max_bytes);
        if let Err(NoStack::Missing(address)) = read {
            instance.wanted = Some(address);
            return SourceAnswer::Wants(address);
        }
        // The guest changes its memory until the next report.
        instance.windows.clear();
        let stack = match read {
            Ok(stack) => stack,
            Err(NoStack::Unreadable) => {
                self.unreadable += 1;
                return SourceAnswer::NotInterpreted { context: 0 };
            }
            Err(NoStack::NotRunning | NoStack::Missing(_)) => return not_interpreted,
        };
        match instance.compare_source(index, &stack) {
            Some(compared) => {
                self.checked.events += 1;
                if let Err(known) = compared {
                    self.checked.mismatches += 1;
                    self.checked
                        .first_mismatch
                        .get_or_insert([known, [].into()]);
                }
                SourceAnswer::Record(index)
            }
            None => SourceAnswer::Record(instance.add_source(index, &stack)),
        }
    }
}
