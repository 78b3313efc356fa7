//! Reads the file next to a component that tells the heap profiler what it cannot see itself, such
//! as the allocator: `NAME.heap.toml` for `NAME.wasm`.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use guest_heap::Options;
use sha2::{Digest, Sha256};

use crate::error::PluginError;
use crate::regular_file;

/// The extension of the file.
pub(super) const EXTENSION: &str = "heap.toml";

/// The largest file of declarations, in bytes.
const MAX_BYTES: u64 = 65_536;

/// What a component's file of declarations says.
#[derive(Clone, Default)]
pub(super) struct Declarations(Option<Arc<str>>);

impl Declarations {
    /// Reads the file next to the component at `path`.
    ///
    /// # Errors
    ///
    /// [`PluginError::WrongDeclarations`] when the file cannot be read or is wrong.
    pub(super) fn next_to(path: &Path) -> Result<Self, PluginError> {
        // An upload that is in no file has a name, but nothing next to it.
        if !path.is_file() {
            return Ok(Self::default());
        }
        let file = path.with_extension(EXTENSION);
        let refused = |why: String| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            PluginError::WrongDeclarations(format!("{name}: {why}"))
        };
        let bytes = match regular_file::read(&file, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(refused(error.to_string())),
        };
        let text = String::from_utf8(bytes).map_err(|error| refused(error.to_string()))?;
        let checked = Options::default().declarations(&text);
        checked.map_err(|error| refused(error.to_string()))?;
        Ok(Self(Some(text.into())))
    }

    /// The component with these declarations, for the heap profiler.
    pub(super) fn embed(&self, component: Arc<[u8]>) -> Arc<[u8]> {
        match &self.0 {
            Some(toml) => guest_heap::embed_declarations(&component, toml).into(),
            None => component,
        }
    }

    /// What distinguishes the instrumented component in the cache; empty without a file.
    pub(super) fn key(&self) -> String {
        let Some(toml) = &self.0 else {
            return String::new();
        };
        let digest = Sha256::digest(toml.as_bytes());
        let digest = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
        format!("-{}", digest.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_to(toml: Option<&str>) -> Result<Declarations, PluginError> {
        let folder = tempfile::tempdir().unwrap();
        let component = folder.path().join("pool.wasm");
        std::fs::write(&component, "").unwrap();
        if let Some(toml) = toml {
            std::fs::write(folder.path().join("pool.heap.toml"), toml).unwrap();
        }
        Declarations::next_to(&component)
    }

    #[test]
    fn the_key_changes_with_the_file() {
        let free = |function: &str| {
            format!("[[entry-point]]\nfunction = \"{function}\"\nkind = \"free\"\npointer = 0\n")
        };
        let keys = [None, Some(free("a")), Some(free("b"))]
            .map(|toml| next_to(toml.as_deref()).unwrap().key());
        assert_eq!(keys[0], "");
        assert_ne!(keys[1], "");
        assert_ne!(keys[1], keys[2]);
    }

    #[test]
    fn a_wrong_file_is_refused_by_its_name() {
        for (toml, expected) in [
            ("x = 1".to_owned(), "pool.heap.toml: x is not a key"),
            (
                " ".repeat(70_000),
                "pool.heap.toml: it has 70000 bytes; the limit is 65536",
            ),
        ] {
            let error = next_to(Some(&toml)).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
