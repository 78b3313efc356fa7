//! The guest's memory, as far as the host has read it.

use std::ops::Range;

/// Bytes that the host reads at once, a power of two. The runtime has the same constant.
pub(crate) const WINDOW_BYTES: u32 = 1024;

/// Windows that one report of a context reads at most.
const MAX_WINDOWS: usize = 1024;

/// Room that stays after a report, in bytes: most reports read less.
const KEPT_BYTES: usize = 32 << 10;

/// Why a read gives no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The window at this address has not been read yet.
    Missing(u32),
    /// The guest's memory does not hold what it should, or the limit of windows is reached.
    Unreadable,
}

/// Checked reads of the guest's memory.
pub(crate) trait GuestMemory {
    /// The known bytes from an address on: one or more.
    fn bytes_from(&self, address: u32) -> Result<&[u8], Fault>;

    /// Whether the memory has these bytes, as far as it is known.
    fn contains(&self, address: u32, bytes: u32) -> bool;

    /// The byte at an offset from an address.
    fn byte(&self, address: u32, offset: u32) -> Result<u8, Fault> {
        let address = address.checked_add(offset).ok_or(Fault::Unreadable)?;
        let byte = self.bytes_from(address)?.first();
        byte.copied().ok_or(Fault::Unreadable)
    }

    /// The 32-bit word at an offset from an address.
    fn word(&self, address: u32, offset: u32) -> Result<u32, Fault> {
        let address = address.checked_add(offset).ok_or(Fault::Unreadable)?;
        if let Some(bytes) = self.bytes_from(address)?.first_chunk() {
            return Ok(u32::from_le_bytes(*bytes));
        }
        let mut bytes = [0; 4];
        for (byte, position) in bytes.iter_mut().zip(0..) {
            *byte = self.byte(address, position)?;
        }
        Ok(u32::from_le_bytes(bytes))
    }
}

/// The windows that have been read.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    /// In ascending order of their numbers.
    windows: Vec<Window>,
    /// The bytes of all windows.
    bytes: Vec<u8>,
    /// The end of the memory, once a window has reached it.
    end: Option<u32>,
}

/// A part of the guest's memory.
#[derive(Debug)]
struct Window {
    /// Its address, divided by [`WINDOW_BYTES`].
    number: u32,
    /// Where its bytes are.
    range: Range<usize>,
}

impl Windows {
    /// Adds the window at an address. It is shorter than [`WINDOW_BYTES`] at the memory's end.
    pub(crate) fn add(&mut self, address: u32, bytes: &[u8]) {
        let number = address / WINDOW_BYTES;
        if (bytes.len() as u32) < WINDOW_BYTES {
            let end = address.saturating_add(bytes.len() as u32);
            self.end = Some(self.end.map_or(end, |known| known.min(end)));
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let range = start..self.bytes.len();
        let window = Window { number, range };
        match self.position(number) {
            Ok(known) => {
                if let Some(known) = self.windows.get_mut(known) {
                    *known = window;
                }
            }
            Err(at) => self.windows.insert(at, window),
        }
    }

    /// Forgets all windows, and keeps their room for the next ones.
    pub(crate) fn clear(&mut self) {
        self.windows.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.end = None;
    }

    fn position(&self, number: u32) -> Result<usize, usize> {
        self.windows
            .binary_search_by_key(&number, |window| window.number)
    }
}

impl GuestMemory for Windows {
    fn bytes_from(&self, address: u32) -> Result<&[u8], Fault> {
        let number = address / WINDOW_BYTES;
        let window = self.position(number).ok();
        match window.and_then(|at| self.windows.get(at)) {
            Some(window) => {
                let bytes = self.bytes.get(window.range.clone());
                let rest = bytes.and_then(|bytes| bytes.get((address % WINDOW_BYTES) as usize..));
                rest.filter(|rest| !rest.is_empty())
                    .ok_or(Fault::Unreadable)
            }
            None if self.windows.len() >= MAX_WINDOWS => Err(Fault::Unreadable),
            None => Err(Fault::Missing(number * WINDOW_BYTES)),
        }
    }

    fn contains(&self, address: u32, bytes: u32) -> bool {
        let end = address.checked_add(bytes);
        end.is_some_and(|end| self.end.is_none_or(|known| end <= known))
    }
}
