//! Machine code in a file without a name, which exists as long as it is open or mapped.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsRawFd;

use rustix::fs::{MemfdFlags, memfd_create};
use wasmtime::Engine;
use wasmtime::component::Component;

/// The serialized form of one compiled component, in memory that only this file owns.
#[derive(Debug)]
pub(crate) struct CodeFile(File);

impl CodeFile {
    /// `file` must contain what the engine serialized, and nothing else.
    pub(super) fn new(file: File) -> Self {
        CodeFile(file)
    }

    /// The file, to be read from its start.
    pub(crate) fn reader(&mut self) -> io::Result<&mut File> {
        self.0.rewind()?;
        Ok(&mut self.0)
    }

    /// Maps the code.
    ///
    /// # Errors
    ///
    /// When an engine of another version or with other settings compiled it.
    pub(crate) fn map(&self, engine: &Engine) -> wasmtime::Result<Component> {
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        // SAFETY: the file has no name and no other process has it open: the child that wrote it
        // has ended. Its content is what `Engine::precompile_component` returned there, in the same
        // program. The engine checks its own version and settings.
        #[allow(unsafe_code, reason = "machine code from the compiling process")]
        unsafe {
            Component::deserialize_file(engine, path)
        }
    }
}

/// An empty file without a name.
pub(super) fn without_name() -> io::Result<File> {
    Ok(File::from(memfd_create("plugin", MemfdFlags::CLOEXEC)?))
}
