//! The arithmetic of calling contexts: a call, and its inverse.

use std::hash::Hasher;

use crate::instrument::MULTIPLIER;

/// The context of a call at a site with this id, in a function that was entered with `entry`. A
/// site without an id leaves the context as it is.
pub(super) fn context_of(entry: u64, id: Option<i32>) -> u64 {
    let Some(id) = id else {
        return entry;
    };
    entry
        .wrapping_mul(MULTIPLIER)
        .wrapping_add(i64::from(id) as u64)
}

/// The inverse of [`context_of`].
pub(super) fn entry_of(context: u64, id: Option<i32>) -> u64 {
    const INVERSE: u64 = inverse(MULTIPLIER);
    let Some(id) = id else {
        return context;
    };
    context
        .wrapping_sub(i64::from(id) as u64)
        .wrapping_mul(INVERSE)
}

/// The inverse of an odd number modulo 2⁶⁴, by Newton's method: each step doubles the right bits.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut step = 0;
    while step < 5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
}

/// A hash of a function's number: Fibonacci hashing.
pub(super) fn spread(function: u32) -> u64 {
    u64::from(function).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Hashes contexts, which are hashes already, and numbers of functions.
#[derive(Default)]
pub(super) struct ContextHasher(u64);

impl Hasher for ContextHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u32(&mut self, function: u32) {
        self.0 = spread(function);
    }

    fn write_u64(&mut self, context: u64) {
        self.0 = context ^ context.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_an_inverse() {
        for (entry, id) in [(0, 1), (1, -1), (u64::MAX, i32::MIN), (1 << 40, i32::MAX)] {
            for id in [Some(id), None] {
                assert_eq!(entry_of(context_of(entry, id), id), entry);
            }
        }
    }
}
