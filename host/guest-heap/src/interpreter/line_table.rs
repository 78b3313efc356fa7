//! CPython's location tables: from instructions to lines.
//!
//! `InternalDocs/code_objects.md` of CPython describes the format. An entry is a first byte with
//! its kind and its number of code units, then numbers whose last byte has the bit 64 clear, or two
//! plain bytes.

use super::memory::{Fault, GuestMemory};

/// Bytes of a table that are read at most. A function of 10,000 lines has some 100 KiB.
const MAX_TABLE_BYTES: u32 = 256 << 10;

/// Bits of a number at most.
const MAX_BITS: u32 = 36;

/// The line of an instruction, which is given by the number of code units before it.
///
/// An instruction without a line of its own, such as one that makes a cell, has the first line of
/// the code.
pub(super) fn line_at(
    memory: &impl GuestMemory,
    start: u32,
    bytes: u32,
    first_line: u32,
    unit: u32,
) -> Result<u32, Fault> {
    let mut table = Table {
        memory,
        known: &[],
        start,
        at: 0,
        end: bytes.min(MAX_TABLE_BYTES),
    };
    let mut line = i64::from(first_line);
    let mut units = 0;
    while let Some(first) = table.next()? {
        let kind = first >> 3 & 15;
        let mut has_line = true;
        match kind {
            0..=9 => table.skip(1),
            10..=12 => {
                line += i64::from(kind) - 10;
                table.skip(2);
            }
            13 => line += table.signed()?,
            14 => {
                line += table.signed()?;
                for _ in 0..3 {
                    table.unsigned()?;
                }
            }
            _ => has_line = false,
        }
        units += u32::from(first & 7) + 1;
        if unit < units {
            let line = u32::try_from(line).ok().filter(|line| *line > 0);
            return Ok(line.filter(|_| has_line).unwrap_or(first_line));
        }
    }
    Ok(first_line)
}

struct Table<'m, M> {
    memory: &'m M,
    /// The known bytes at `at`. If there are none, they have to be looked up.
    known: &'m [u8],
    start: u32,
    at: u32,
    end: u32,
}

impl<M: GuestMemory> Table<'_, M> {
    fn next(&mut self) -> Result<Option<u8>, Fault> {
        if self.at >= self.end {
            return Ok(None);
        }
        if self.known.is_empty() {
            let address = self.start.checked_add(self.at).ok_or(Fault::Unreadable)?;
            self.known = self.memory.bytes_from(address)?;
        }
        let byte = self.known.first().copied().ok_or(Fault::Unreadable)?;
        self.skip(1);
        Ok(Some(byte))
    }

    fn skip(&mut self, bytes: u32) {
        self.at += bytes;
        self.known = self.known.get(bytes as usize..).unwrap_or_default();
    }

    fn unsigned(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..MAX_BITS).step_by(6) {
            let byte = self.next()?.ok_or(Fault::Unreadable)?;
            value |= u64::from(byte & 63) << shift;
            if byte & 64 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Unreadable)
    }

    fn signed(&mut self) -> Result<i64, Fault> {
        let value = self.unsigned()?;
        let magnitude = (value >> 1) as i64;
        Ok(if value & 1 == 1 {
            -magnitude
        } else {
            magnitude
        })
    }
}
