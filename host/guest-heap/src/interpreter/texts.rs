//! CPython's texts.

use super::cpython::Offsets;
use super::memory::{Fault, GuestMemory};

/// Characters that are read of a text at most.
const MAX_CHARACTERS: u32 = 512;

/// Bits of the state: the bytes of a character, and whether the characters follow the header.
const KIND: u32 = 2;
const COMPACT: u32 = 5;
const ASCII: u32 = 6;

/// Bytes between the header and the characters of a text that is not ASCII: the length and the
/// address of its UTF-8 form.
const UTF8_BYTES: u32 = 8;

/// Reads the first characters of a text.
pub(super) fn read(
    memory: &impl GuestMemory,
    offsets: &Offsets,
    object: u32,
) -> Result<String, Fault> {
    let state = memory.word(object, offsets.text_state)?;
    let length = memory.word(object, offsets.text_length)?;
    let kind = state >> KIND & 7;
    if state >> COMPACT & 1 == 0 || !matches!(kind, 1 | 2 | 4) {
        return Err(Fault::Unreadable);
    }
    let ascii = state >> ASCII & 1 == 1;
    let start = offsets.text_header + if ascii { 0 } else { UTF8_BYTES };
    let mut text = String::new();
    for position in 0..length.min(MAX_CHARACTERS) {
        let mut point = 0;
        for byte in 0..kind {
            let byte_at = memory.byte(object, start + position * kind + byte)?;
            point |= u32::from(byte_at) << (8 * byte);
        }
        text.push(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    Ok(text)
}
