//! Debug sections in compressed form.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// A compressed section. Lookups hardly ever need it, and compression shrinks it to a third.
#[derive(Debug)]
pub(super) struct CompressedSection {
    deflated: Box<[u8]>,
    /// Bytes of the section before compression.
    len: usize,
}

impl CompressedSection {
    pub(super) fn compress(section: &[u8]) -> Self {
        let mut encoder =
            DeflateEncoder::new(Vec::with_capacity(section.len() / 2), Compression::fast());
        // Writing to memory cannot fail. If it did, the section would be cut and lose lines.
        let _ = encoder.write_all(section);
        Self {
            deflated: encoder.finish().unwrap_or_default().into_boxed_slice(),
            len: section.len(),
        }
    }

    pub(super) fn decompress(&self) -> Arc<[u8]> {
        let mut section = Vec::with_capacity(self.len);
        let _ = DeflateDecoder::new(&*self.deflated).read_to_end(&mut section);
        Arc::from(section)
    }

    /// Bytes of the section before compression.
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
    fn decompression_returns_the_original_section() {
        let section: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        let compressed = CompressedSection::compress(&section);
        assert_eq!(*compressed.decompress(), *section);
        assert!(compressed.memory_bytes() * 2 < compressed.len());
        assert!(CompressedSection::compress(&[]).decompress().is_empty());
    }
}
