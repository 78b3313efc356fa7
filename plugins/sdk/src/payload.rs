//! The buffers that patterns retain.

use crate::HeapSize;

/// A buffer on the heap, filled with unique content.
///
/// Every byte is written, because the operating system keeps untouched pages out of resident
/// memory. The content differs between buffers, because the system can merge equal pages.
///
/// ```
/// use leak_plugin_sdk::{HeapSize, Payload};
///
/// let payload = Payload::new(1024, 1);
/// assert_eq!(payload.heap_bytes(), 1024);
/// assert_ne!(payload, Payload::new(1024, 2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(Box<[u8]>);

impl Payload {
    /// Allocates a buffer of `len` bytes. Equal seeds give equal content, different seeds different
    /// content.
    pub fn new(len: usize, seed: u64) -> Self {
        let mut bytes = vec![0; len].into_boxed_slice();
        let mut word = splitmix64(seed);
        let mut words = bytes.chunks_exact_mut(size_of::<u64>());
        for chunk in &mut words {
            word = word.wrapping_add(STRIDE);
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let tail = word.wrapping_add(STRIDE).to_le_bytes();
        for (byte, value) in words.into_remainder().iter_mut().zip(tail) {
            *byte = value;
        }
        Self(bytes)
    }

    /// The content of the buffer.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl HeapSize for Payload {
    fn heap_bytes(&self) -> usize {
        self.0.len()
    }
}

/// 2^64 divided by the golden ratio, rounded to an odd number: its multiples do not repeat within
/// 2^64 steps.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads consecutive seeds over the whole range, so that the sequences of two buffers do not
/// overlap. One step of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
fn splitmix64(seed: u64) -> u64 {
    let z = seed.wrapping_add(STRIDE);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn has_the_requested_length_and_no_unwritten_bytes() {
        for len in [0, 1, 7, 8, 9, 1024, 5113] {
            let payload = Payload::new(len, 3);
            assert_eq!(payload.as_bytes().len(), len);
            // A zero byte is as rare as any other value. A long run of zeros would be unwritten
            // memory.
            let longest = payload
                .as_bytes()
                .split(|byte| *byte != 0)
                .map(<[u8]>::len)
                .max()
                .unwrap_or(0);
            assert!(longest < 4, "{longest} zero bytes in a row in {len}");
        }
    }

    #[test]
    fn consecutive_buffers_share_no_word() {
        let mut seen = HashSet::new();
        for seed in 1..=200 {
            for word in Payload::new(4096, seed).as_bytes().chunks_exact(8) {
                assert!(seen.insert(<[u8; 8]>::try_from(word).unwrap()));
            }
        }
    }

    #[test]
    fn equal_seeds_give_equal_bytes() {
        assert_eq!(Payload::new(100, 9), Payload::new(100, 9));
        assert_ne!(Payload::new(100, 9), Payload::new(100, 10));
    }
}
