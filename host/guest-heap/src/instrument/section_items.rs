//! Items that are appended to a section of a core module.

use wasm_encoder::Encode;

use super::error::Refusal;

/// Encoded items of a section, without its header.
#[derive(Clone, Debug, Default)]
pub(super) struct SectionItems {
    pub(super) count: u32,
    pub(super) bytes: Vec<u8>,
}

impl SectionItems {
    /// The items of a section. An encoded section begins with its size and the number of its items.
    pub(super) fn of(count: u32, section: &impl Encode) -> Result<Self, Refusal> {
        let mut bytes = Vec::new();
        section.encode(&mut bytes);
        let mut reader = wasmparser::BinaryReader::new(&bytes, 0);
        reader.read_var_u32()?;
        reader.read_var_u32()?;
        let start = reader.current_position();
        bytes.drain(..start);
        Ok(Self { count, bytes })
    }
}
