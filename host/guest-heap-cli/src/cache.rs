//! Compiled components on disk.
//!
//! An entry is a file: the SHA-256 of everything behind it, the length of the side data in four
//! bytes, the side data, and the machine code. Its name is a digest of the component, of the
//! profiler's version and of the compiler's settings, so a file is never changed. It is written
//! under another name and renamed when it is complete.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use guest_heap::{FINGERPRINT, Instrumented, InstrumentedMeta};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

const DIGEST_BYTES: usize = 32;

/// Entries that the folder keeps; the oldest ones are removed first.
const MAX_ENTRIES: usize = 64;

/// A folder with compiled components.
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in `folder`, or else in the user's cache folder. `None` if there is no such
    /// folder.
    pub(crate) fn at(folder: Option<PathBuf>) -> Option<Self> {
        let folder = folder.or_else(|| {
            let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
            let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
            Some(cache.join("guest-heap"))
        })?;
        Some(Self { folder })
    }

    /// The compiled form of a component, if the cache has it.
    pub(crate) fn read(
        &self,
        engine: &Engine,
        original: &[u8],
    ) -> Option<(Component, Arc<InstrumentedMeta>)> {
        let bytes = fs::read(self.path(engine, original)).ok()?;
        let (digest, body) = bytes.split_first_chunk::<DIGEST_BYTES>()?;
        if Sha256::digest(body).as_slice() != digest {
            return None;
        }
        let (length, body) = body.split_first_chunk::<4>()?;
        let (meta, code) = body.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let meta = InstrumentedMeta::from_bytes(meta).ok()?;
        // SAFETY: `write` has made the file from this component and these settings: its name and
        // its digest say so. The user who runs this program owns the folder.
        #[allow(unsafe_code, reason = "machine code cannot be checked")]
        let component = unsafe { Component::deserialize(engine, code) }.ok()?;
        Some((component, Arc::new(meta)))
    }

    /// Keeps the compiled form of a component.
    ///
    /// # Errors
    /// When the folder or the file cannot be written. The profiler works without it.
    pub(crate) fn write(
        &self,
        engine: &Engine,
        original: &[u8],
        instrumented: &Instrumented,
        component: &Component,
    ) -> Result<()> {
        let meta = instrumented.meta.to_bytes();
        let mut body = u32::try_from(meta.len())?.to_le_bytes().to_vec();
        body.extend_from_slice(&meta);
        body.extend_from_slice(&component.serialize().map_err(crate::engine::engine_error)?);
        let path = self.path(engine, original);
        create_private_folder(&self.folder)?;
        let temporary = path.with_extension(std::process::id().to_string());
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&Sha256::digest(&body))?;
        file.write_all(&body)?;
        drop(file);
        fs::rename(&temporary, &path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        self.remove_oldest();
        Ok(())
    }

    fn path(&self, engine: &Engine, original: &[u8]) -> PathBuf {
        let mut compatibility = std::hash::DefaultHasher::new();
        engine
            .precompile_compatibility_hash()
            .hash(&mut compatibility);
        let mut digest = Sha256::new();
        digest.update(original);
        digest.update(FINGERPRINT);
        digest.update(compatibility.finish().to_le_bytes());
        let name: String = digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.folder.join(name).with_extension("compiled")
    }

    fn remove_oldest(&self) {
        let Ok(files) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut entries: Vec<_> = files
            .flatten()
            .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
            .collect();
        entries.sort();
        let surplus = entries.len().saturating_sub(MAX_ENTRIES);
        for (_, path) in entries.into_iter().take(surplus) {
            // Another process may have removed it already.
            fs::remove_file(path).ok();
        }
    }
}

/// Creates a folder that only this user can write: machine code is read from it.
fn create_private_folder(folder: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &str = "(component)";

    fn compiled(engine: &Engine) -> (Vec<u8>, Instrumented, Component) {
        let original = wat::parse_str(COMPONENT).unwrap();
        let instrumented =
            guest_heap::instrument(&original, &guest_heap::Options::default()).unwrap();
        let component = Component::new(engine, &instrumented.component).unwrap();
        (original, instrumented, component)
    }

    #[test]
    fn a_written_entry_is_read_and_a_damaged_one_is_not() {
        let engine = crate::engine::engine().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(Some(folder.path().join("cache"))).unwrap();
        let (original, instrumented, component) = compiled(&engine);
        assert!(cache.read(&engine, &original).is_none());
        cache
            .write(&engine, &original, &instrumented, &component)
            .unwrap();
        let (_, meta) = cache.read(&engine, &original).unwrap();
        assert_eq!(meta, instrumented.meta);

        let path = cache.path(&engine, &original);
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[..20], &[]] {
            fs::write(&path, damaged).unwrap();
            assert!(cache.read(&engine, &original).is_none());
        }
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        fs::write(&path, changed).unwrap();
        assert!(cache.read(&engine, &original).is_none());
    }

    #[test]
    fn the_folder_keeps_a_bounded_number_of_entries() {
        let engine = crate::engine::engine().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(Some(folder.path().to_owned())).unwrap();
        for number in 0..MAX_ENTRIES + 5 {
            fs::write(folder.path().join(number.to_string()), "old").unwrap();
        }
        let (original, instrumented, component) = compiled(&engine);
        cache
            .write(&engine, &original, &instrumented, &component)
            .unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), MAX_ENTRIES);
        assert!(cache.read(&engine, &original).is_some());
    }
}
