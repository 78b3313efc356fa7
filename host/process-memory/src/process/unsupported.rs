//! Systems without procfs. The host runs there, but reports that it cannot read its own memory.

use std::io;

use super::ProcessReading;

/// Has no values on this system.
#[derive(Debug)]
pub struct ProcessReader(std::convert::Infallible);

impl ProcessReader {
    /// # Errors
    ///
    /// Always [`io::ErrorKind::Unsupported`].
    pub fn new() -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "process memory is read from Linux's procfs, which this system does not have",
        ))
    }

    /// # Errors
    ///
    /// Never: there is no value to call this on.
    pub fn read(&self) -> io::Result<ProcessReading> {
        match self.0 {}
    }

    /// # Errors
    ///
    /// Never: there is no value to call this on.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        match self.0 {}
    }
}
