//! Reads the file beside a component that declares its allocator: `NAME.heap.toml` for `NAME.wasm`.

use std::io::{ErrorKind, Read};
use std::path::Path;

use guest_heap::Options;
use sha2::{Digest, Sha256};

use crate::error::PluginError;

/// The extension of the file.
pub(super) const EXTENSION: &str = "heap.toml";

/// The largest file of declarations, in bytes.
const MAX_BYTES: u64 = 65_536;

/// What a component's file of declarations says.
pub(super) struct Declarations {
    pub(super) options: Options,
    /// SHA-256 of the file; `None` without a file.
    digest: Option<[u8; 32]>,
}

impl Declarations {
    /// Reads the file beside the component at `path`.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] when the file cannot be read or is wrong.
    pub(super) fn beside(path: &Path) -> Result<Self, PluginError> {
        let none = Self {
            options: Options::default(),
            digest: None,
        };
        // An upload that is in no file has a name, but nothing beside it.
        if !path.is_file() {
            return Ok(none);
        }
        let file = path.with_extension(EXTENSION);
        let refused = |why: String| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            PluginError::Refused(format!("{name}: {why}"))
        };
        let opened = match std::fs::File::open(&file) {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(none),
            Err(error) => return Err(refused(error.to_string())),
        };
        let mut text = String::new();
        let read = opened.take(MAX_BYTES + 1).read_to_string(&mut text);
        read.map_err(|error| refused(error.to_string()))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(refused(format!("it has more than {MAX_BYTES} bytes")));
        }
        let options = Options::default().declarations(&text);
        Ok(Self {
            options: options.map_err(|error| refused(error.to_string()))?,
            digest: Some(Sha256::digest(text.as_bytes()).into()),
        })
    }

    /// What distinguishes the instrumented component in the cache; empty without a file.
    pub(super) fn key(&self) -> String {
        let hex = |digest: &[u8; 32]| {
            let digest = digest.iter().take(8);
            digest.map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let digest = self.digest.as_ref().map(hex);
        digest.map_or_else(String::new, |digest| format!("-{digest}"))
    }
}
