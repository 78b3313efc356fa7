//! Where a component came from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where a component came from and what its preparation took.
#[derive(Debug, Clone)]
pub struct ComponentSource {
    /// The file it was read from; for a component that is in no file, the name of its upload.
    pub path: PathBuf,
    /// The bytes of a component that is in no file.
    pub in_memory: Option<Arc<[u8]>>,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Identifies the declarations of its allocator; empty without any.
    pub declarations: String,
    /// Its size in bytes.
    pub size: u64,
    /// Time to compile it, or to read it from the cache.
    pub compile_time: Duration,
    /// Whether it came from the cache.
    pub cached: bool,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// Size of its machine code in bytes.
    pub code_bytes: u64,
}

impl ComponentSource {
    /// Whether `other` is the same component from the same place.
    pub(crate) fn is_same(&self, other: &ComponentSource) -> bool {
        self.digest == other.digest
            && self.declarations == other.declarations
            && self.path == other.path
            && self.in_memory.is_some() == other.in_memory.is_some()
    }
}
