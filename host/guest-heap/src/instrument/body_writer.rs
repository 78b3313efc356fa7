//! Writes a function body with inserted code.

use wasm_encoder::Encode;

use super::calls::Calls;
use super::error::Refusal;
use super::offset_map::OffsetMap;
use super::scan::CoreModule;

const I64: u8 = 0x7E;
const I32: u8 = 0x7F;

/// Copies a function body and inserts code.
pub(super) struct BodyWriter<'m> {
    pub(super) module: &'m CoreModule<'m>,
    pub(super) bytes: Vec<u8>,
    pub(super) offsets: OffsetMap,
    /// Offset in the module up to which the bytes have been copied.
    pub(super) copied: usize,
}

impl BodyWriter<'_> {
    pub(super) fn copy_to(&mut self, end: usize) -> Result<(), Refusal> {
        self.bytes
            .extend_from_slice(self.module.slice(self.copied..end)?);
        self.copied = end;
        Ok(())
    }

    /// Copies the declarations of locals and appends an i64, and an i32 if `state`. They get the
    /// last indices.
    pub(super) fn add_locals(&mut self, calls: &Calls, state: bool) -> Result<(), Refusal> {
        let declarations = self.module.slice(self.copied..calls.code)?;
        let mut reader = wasmparser::BinaryReader::new(declarations, 0);
        let groups = reader.read_var_u32()?;
        (groups + 1 + u32::from(state)).encode(&mut self.bytes);
        self.copied += reader.current_position();
        self.copy_to(calls.code)?;
        self.bytes.extend([1, I64]);
        if state {
            self.bytes.extend([1, I32]);
        }
        Ok(())
    }
}
