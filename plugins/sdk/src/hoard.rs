//! The simplest leak: buffers that nothing ever frees.

use crate::{Container, HeapSize, Payload, Retention};

/// Buffers that nothing removes, with their size. Use it in a plugin whose topic is not how memory
/// is retained but, for example, an error or a slow call.
///
/// ```
/// use leak_plugin_sdk::{Hoard, Payload};
///
/// let mut hoard = Hoard::default();
/// hoard.keep(Payload::new(1000, 1));
/// assert_eq!(hoard.retained().objects, 1);
/// assert!(hoard.retained().bytes >= 1000);
/// ```
#[derive(Debug, Default)]
pub struct Hoard {
    kept: Vec<Payload>,
    payload_bytes: usize,
}

impl Hoard {
    /// Keeps a buffer until the hoard is dropped.
    pub fn keep(&mut self, payload: Payload) {
        self.payload_bytes += payload.heap_bytes();
        self.kept.push(payload);
    }

    /// The number of buffers, and the bytes that they and their list own. Takes constant time.
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
