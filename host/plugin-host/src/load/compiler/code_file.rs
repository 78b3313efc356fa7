//! Machine code in a file without a name, which exists as long as it is open or mapped.
//!
//! Compiled code runs from a mapped file. If somebody shortens that file, the next access ends the
//! process with SIGBUS, and if somebody writes to it, other code runs. A file without a name can be
//! reached by this process only.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, memfd_create, openat};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::load::staged_file::StagedFile;

/// The name in the folder that a copy of code would have if it got one.
pub(crate) const NAME: &str = "code";

/// The serialized form of one compiled component, in a file that only this process can reach.
#[derive(Debug)]
pub(crate) struct CodeFile(File);

impl CodeFile {
    /// `file` has no name and contains what the engine serialized, and nothing else.
    pub(crate) fn new(file: File) -> Self {
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
        // SAFETY: the file has no name, and no other process has it open. Its content is what
        // `Engine::precompile_component` returned: in a child of the same program, or earlier, and
        // then its checksum says so and the name of its entry says that an engine of the same
        // version and settings wrote it. The engine checks its own version and settings. A process
        // that can write a valid entry to the user's folder can replace this program too.
        #[allow(unsafe_code, reason = "machine code from a file")]
        unsafe {
            Component::deserialize_file(engine, path)
        }
    }
}

/// An empty file without a name, in memory.
pub(crate) fn in_memory() -> io::Result<File> {
    Ok(File::from(memfd_create("plugin", MemfdFlags::CLOEXEC)?))
}

/// An empty file without a name, on the disk of this folder: the system can drop its pages and read
/// them again. In memory where the folder cannot be written.
pub(crate) fn on_disk_of(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(file) = openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR) {
        return Ok(File::from(file));
    }
    // Some file systems cannot create a file without a name.
    StagedFile::create(folder.join(NAME))
        .and_then(StagedFile::into_file_without_name)
        .or_else(|_| in_memory())
}
