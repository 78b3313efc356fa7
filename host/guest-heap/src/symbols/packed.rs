//! Debug sections at rest.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// A section, compressed: it lies idle nearly all the time, and shrinks to a third.
#[derive(Debug)]
pub(super) struct Packed {
    deflated: Box<[u8]>,
    len: usize,
}

impl Packed {
    pub(super) fn new(section: &[u8]) -> Self {
        let mut encoder =
            DeflateEncoder::new(Vec::with_capacity(section.len() / 2), Compression::fast());
        // Writing to memory cannot fail; were it to, a shorter section would be unpacked and cost its lines.
        let _ = encoder.write_all(section);
        Self {
            deflated: encoder.finish().unwrap_or_default().into_boxed_slice(),
            len: section.len(),
        }
    }

    pub(super) fn unpack(&self) -> Arc<[u8]> {
        let mut section = Vec::with_capacity(self.len);
        let _ = DeflateDecoder::new(&*self.deflated).read_to_end(&mut section);
        Arc::from(section)
    }

    /// The length of the section itself.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.deflated.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_comes_back_as_it_was() {
        let section: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        let packed = Packed::new(&section);
        assert_eq!(*packed.unpack(), *section);
        assert!(packed.memory_bytes() * 2 < packed.len());
        assert!(Packed::new(&[]).unpack().is_empty());
    }
}
