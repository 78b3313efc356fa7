//! Folds the call stacks of an instance whose context table is full.

use std::collections::HashMap;
use std::sync::Arc;

/// How many records may hold call stacks of at most so many frames. A call stack takes the first
/// kind that has a record left.
const KINDS: [(usize, usize); 4] = [(64, 1024), (16, 512), (6, 256), (1, 256)];

/// The folded call stacks of one instance, innermost frame first.
///
/// Recursion is the usual reason for many call stacks. So a folded call stack has each function
/// only once: at its innermost call. Outer frames are cut only when too many call stacks are left.
#[derive(Default)]
pub(super) struct Folds {
    stacks: Vec<Arc<[u32]>>,
    by_stack: HashMap<Arc<[u32]>, usize>,
    /// Records in use, by kind.
    used: [usize; KINDS.len()],
}

impl Folds {
    /// The number of the folded call stack for a call stack of these call sites and their
    /// functions, innermost first. `None` if there is neither one nor room for one.
    pub(super) fn fold(&mut self, frames: &[(u32, u32)]) -> Option<usize> {
        let mut stack = without_recursion(frames);
        if stack.is_empty() {
            return None;
        }
        for ((frames, records), used) in KINDS.into_iter().zip(&mut self.used) {
            stack.truncate(frames);
            if let Some(number) = self.by_stack.get(&*stack) {
                return Some(*number);
            }
            if *used < records {
                *used += 1;
                let stack: Arc<[u32]> = stack.into();
                let number = self.stacks.len();
                self.stacks.push(Arc::clone(&stack));
                self.by_stack.insert(stack, number);
                return Some(number);
            }
        }
        None
    }

    /// Number of folded call stacks.
    pub(super) fn len(&self) -> usize {
        self.stacks.len()
    }

    /// The folded call stack with this number.
    pub(super) fn stack(&self, number: usize) -> Option<&Arc<[u32]>> {
        self.stacks.get(number)
    }

    /// Whether the folded call stack with this number stands for a call stack.
    pub(super) fn includes(&self, number: usize, frames: &[(u32, u32)]) -> bool {
        self.stack(number)
            .is_some_and(|stack| without_recursion(frames).starts_with(stack))
    }

    /// Bytes of memory that the folded call stacks take.
    pub(super) fn memory_bytes(&self) -> usize {
        let stacks = self.stacks.iter().map(|stack| size_of_val(&**stack));
        stacks.sum::<usize>() + self.len() * (3 * size_of::<Arc<[u32]>>() + 4 * size_of::<usize>())
    }
}

/// The call sites of a call stack, with only the innermost call of each function.
fn without_recursion(frames: &[(u32, u32)]) -> Vec<u32> {
    let is_innermost = |(at, (_, function)): &(usize, &(u32, u32))| {
        let mut inner = frames.iter().take(*at);
        inner.all(|(_, other)| other != function)
    };
    let innermost = frames.iter().enumerate().filter(is_innermost);
    innermost.map(|(_, (site, _))| *site).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_calls_of_a_function_are_omitted() {
        let frames = [(1, 10), (2, 20), (3, 10), (4, 20), (5, 20), (6, 30)];
        assert_eq!(without_recursion(&frames), [1, 2, 6]);
    }

    #[test]
    fn call_stacks_become_shorter_as_the_records_run_out() {
        let mut folds = Folds::default();
        // No function repeats, so all of these call stacks differ.
        let frames = |i: u32| -> Vec<(u32, u32)> {
            let frame = |at: u32| (at << 16 | i >> at, at);
            (0..20).map(frame).collect()
        };
        let lengths: Vec<usize> = (0..100_000)
            .map(|i| {
                let number = folds.fold(&frames(i));
                let stack = number.and_then(|number| folds.stack(number));
                stack.map_or(0, |stack| stack.len())
            })
            .collect();
        assert_eq!(lengths.first(), Some(&20));
        assert!(lengths.is_sorted_by(|a, b| a >= b));
        assert_eq!(lengths.last(), Some(&0));
        assert_eq!(folds.len(), 2048);
        // The known ones are found again.
        assert_eq!(folds.fold(&frames(7)), Some(7));
        assert!(folds.includes(7, &frames(7)) && !folds.includes(7, &frames(8)));
    }
}
