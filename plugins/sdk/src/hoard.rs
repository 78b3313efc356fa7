//! The plainest leak there is.

use crate::{Container, HeapSize, Payload, Retention};

/// Buffers that nothing removes: for a plugin that is about something else than how it retains.
#[derive(Debug, Default)]
pub struct Hoard {
    kept: Vec<Payload>,
    payload_bytes: usize,
}

impl Hoard {
    /// Keeps one more buffer.
    pub fn keep(&mut self, payload: Payload) {
        self.payload_bytes += payload.heap_bytes();
        self.kept.push(payload);
    }

    /// What it holds.
    pub fn retained(&self) -> Retention {
        Retention::of(
            self.kept.len(),
            self.payload_bytes + self.kept.block_bytes(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_what_the_allocator_handed_out() {
        let mut hoard = Hoard::default();
        let allocated = allocation_counter::measure(|| {
            for seed in 0..100 {
                hoard.keep(Payload::new(1000, seed));
            }
        });
        assert_eq!(hoard.retained().objects, 100);
        assert_eq!(hoard.retained().bytes as i64, allocated.bytes_current);
    }
}
