//! The guest's memory, as far as the host has read it.

use std::collections::HashMap;

/// Bytes that the host reads at once, a power of two. The runtime has the same constant.
pub(crate) const WINDOW_BYTES: u32 = 1024;

/// Windows that one report of a context reads at most.
const MAX_WINDOWS: usize = 1024;

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
    /// The byte at an address.
    fn at(&self, address: u32) -> Result<u8, Fault>;

    /// Whether the memory has these bytes, as far as it is known.
    fn contains(&self, address: u32, bytes: u32) -> bool;

    /// The byte at an offset from an address.
    fn byte(&self, address: u32, offset: u32) -> Result<u8, Fault> {
        self.at(address.checked_add(offset).ok_or(Fault::Unreadable)?)
    }

    /// The 32-bit word at an offset from an address.
    fn word(&self, address: u32, offset: u32) -> Result<u32, Fault> {
        let mut bytes = [0; 4];
        for (byte, position) in bytes.iter_mut().zip(0..) {
            let offset = offset.checked_add(position).ok_or(Fault::Unreadable)?;
            *byte = self.byte(address, offset)?;
        }
        Ok(u32::from_le_bytes(bytes))
    }
}

/// The windows that have been read.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    windows: HashMap<u32, Vec<u8>>,
    /// The end of the memory, once a window has reached it.
    end: Option<u32>,
}

impl Windows {
    /// Adds the window at an address. It is shorter than [`WINDOW_BYTES`] at the memory's end.
    pub(crate) fn add(&mut self, address: u32, bytes: &[u8]) {
        let number = address / WINDOW_BYTES;
        if (bytes.len() as u32) < WINDOW_BYTES {
            let end = address.saturating_add(bytes.len() as u32);
            self.end = Some(self.end.map_or(end, |known| known.min(end)));
        }
        self.windows.insert(number, bytes.to_vec());
    }
}

impl GuestMemory for Windows {
    fn at(&self, address: u32) -> Result<u8, Fault> {
        let number = address / WINDOW_BYTES;
        match self.windows.get(&number) {
            Some(window) => {
                let byte = window.get((address % WINDOW_BYTES) as usize);
                byte.copied().ok_or(Fault::Unreadable)
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
