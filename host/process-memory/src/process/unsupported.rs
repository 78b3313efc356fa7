//! Systems without procfs: the service runs, and says that it cannot read its own weight.

use std::io;

use super::ProcessReading;

/// Cannot be made on this system.
#[derive(Debug)]
pub struct ProcessReader(std::convert::Infallible);

impl ProcessReader {
    /// # Errors
    /// Always [`io::ErrorKind::Unsupported`].
    pub fn new() -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "process memory is read from Linux's procfs, which this system does not have",
        ))
    }

    /// # Errors
    /// There is no value to call this on.
    pub fn read(&self) -> io::Result<ProcessReading> {
        match self.0 {}
    }

    /// # Errors
    /// There is no value to call this on.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        match self.0 {}
    }
}
