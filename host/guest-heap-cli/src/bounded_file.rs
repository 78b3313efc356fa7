//! Reads files up to a size, because a path can name a device that never ends.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Reads a file or a pipe.
///
/// # Errors
/// When it cannot be read, or has more than `max_bytes`.
pub(crate) fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let name = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(name)?;
    let mut bytes = Vec::new();
    let limit = max_bytes.saturating_add(1);
    file.take(limit)
        .read_to_end(&mut bytes)
        .with_context(name)?;
    let is_small = bytes.len() as u64 <= max_bytes;
    ensure!(
        is_small,
        "{} is larger than {max_bytes} bytes",
        path.display()
    );
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        let error = format!("{:#}", read(&path, 4).unwrap_err());
        assert!(error.ends_with("is larger than 4 bytes"), "{error}");
        let error = format!("{:#}", read(folder.path(), 4).unwrap_err());
        assert!(error.starts_with("cannot read "), "{error}");
    }
}
