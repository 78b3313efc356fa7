//! Compiled components on disk, so that a second start instruments and compiles nothing.
//!
//! An entry's name contains the component's digest and everything that machine code depends on: the
//! engine's version, its settings and the processor. An entry that is damaged, or that another
//! version wrote, is removed and compiled again. A cache folder that cannot be written only costs a
//! compilation at each start.
//!
//! - `entry` is the format of an entry.
//! - `space` bounds the folder.
//!
//! Code never runs from the entry itself. The host copies it to a file without a name, checks the
//! copy and maps that. So nothing that happens to the folder reaches a plugin that is loaded, and
//! no plugin runs code that was not checked.

mod entry;
mod space;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use wasmtime::Engine;
use wasmtime::component::Component;

use self::space::UsedFiles;
use crate::load::compiler::code_file::{self, CodeFile};
use crate::load::staged_file::{self, StagedFile};
use crate::regular_file;

pub use self::space::CacheLimits;
pub(crate) use self::space::UsedFile;

/// The folder of compiled components. Without a folder it keeps nothing. Clones share it.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: Option<Arc<CacheFolder>>,
    environment: u64,
}

#[derive(Debug)]
struct CacheFolder {
    path: PathBuf,
    limits: CacheLimits,
    used: UsedFiles,
    /// Held while a file is added, so that the folder never exceeds its limits.
    adding: Mutex<()>,
}

/// A component from the cache.
pub(crate) struct CacheEntry {
    pub(crate) component: Component,
    /// The profiler's data about it, serialized.
    pub(crate) side: Vec<u8>,
    /// Keeps the entry in the cache.
    pub(crate) used: UsedFile,
}

impl Cache {
    /// A cache in `folder`, which is created if it does not exist. With `None`, or when the folder
    /// cannot be created, the cache keeps nothing. Removes what killed hosts have left half, and
    /// what exceeds the limits.
    pub fn open(folder: Option<PathBuf>, limits: CacheLimits, engine: &Engine) -> Self {
        let folder = folder.filter(|folder| match fs::create_dir_all(folder) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    folder = %folder.display(), %error,
                    "no cache of compiled plugins: each start compiles them"
                );
                false
            }
        });
        if let Some(folder) = &folder {
            staged_file::remove_abandoned(folder, |name| {
                name == code_file::NAME || space::is_of_cache(name)
            });
            space::prune(folder, limits);
        }
        let mut hasher = DefaultHasher::new();
        guest_heap::FINGERPRINT.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Cache {
            folder: folder.map(|path| {
                Arc::new(CacheFolder {
                    path,
                    limits,
                    used: UsedFiles::default(),
                    adding: Mutex::default(),
                })
            }),
            environment: hasher.finish(),
        }
    }

    /// A cache for the same engine that keeps nothing.
    pub(crate) fn without_folder(&self) -> Self {
        Cache {
            folder: None,
            ..*self
        }
    }

    /// The compiled component, if the cache has it undamaged.
    pub(crate) fn get(&self, engine: &Engine, key: &str) -> Option<CacheEntry> {
        let folder = self.folder.as_deref()?;
        let path = self.entry_path(folder, key);
        // Before the entry is read, so that nothing removes it meanwhile.
        let used = folder.used.add(path);
        let (code, side) = folder.read(&used)?;
        match code.map(engine) {
            Ok(component) => Some(CacheEntry {
                component,
                side,
                used,
            }),
            Err(error) => {
                folder.drop_damaged(used.path(), &format!("{error:#}"));
                None
            }
        }
    }

    /// Returns the resident pages of a component's code to the system. The system reads a page from
    /// the file again when the code runs again.
    pub(crate) fn release_pages(component: &Component) {
        let image = component.image_range();
        let page = rustix::param::page_size();
        let start = (image.start as usize).next_multiple_of(page);
        let end = image.end as usize / page * page;
        let Some(length) = end.checked_sub(start).filter(|l| *l > 0) else {
            return;
        };
        let start = image.start.wrapping_add(start - image.start as usize);
        // SAFETY: the range is within the image, which the component keeps mapped. It is a private
        // mapping of a file, and nothing has written to it: wasmtime refuses images with
        // relocations and makes them read-only. The system therefore reads each dropped page from
        // the file with the same content as the first time. Nobody else can reach the file: it has
        // no name.
        #[allow(unsafe_code, reason = "there is no safe way to drop resident pages")]
        let released = unsafe {
            rustix::mm::madvise(
                start.cast_mut().cast(),
                length,
                rustix::mm::Advice::LinuxDontNeed,
            )
        };
        if let Err(error) = released {
            tracing::debug!(%error, "the pages of compiled code stay resident");
        }
    }

    /// Writes machine code and its side data, and keeps them in the cache as long as the result
    /// exists. A failure is logged and costs a compilation at the next start.
    pub(crate) fn put(
        &self,
        key: &str,
        code: &mut (impl Read + Seek),
        side: &[u8],
    ) -> Option<UsedFile> {
        let folder = self.folder.as_deref()?;
        let path = self.entry_path(folder, key);
        let used = folder.used.add(path.clone());
        let written = code.seek(SeekFrom::End(0)).and_then(|code_bytes| {
            let bytes = entry::size(code_bytes, side.len() as u64);
            let name = path.file_name().unwrap_or_default();
            folder.add(&path, bytes, |file| entry::write(file, name, code, side))
        });
        if let Err(error) = written {
            tracing::warn!(entry = %path.display(), %error, "cannot keep a compiled plugin");
        }
        Some(used)
    }

    /// The component before compilation, from its digest. Its symbols are read later, when its file
    /// may have another component already. `is_same` says whether these bytes have the digest.
    pub(crate) fn original(
        &self,
        digest: &str,
        size: u64,
        is_same: impl FnOnce(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        let folder = self.folder.as_deref()?;
        let path = folder.original_path(digest);
        match regular_file::read(&path, size) {
            Ok(bytes) if is_same(&bytes) => Some(bytes),
            Ok(_) => {
                folder.drop_damaged(&path, "its checksum is wrong");
                None
            }
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!(entry = %path.display(), %error, "unreadable cache entry");
                }
                None
            }
        }
    }

    /// Writes the component before compilation, and keeps it in the cache as long as the result
    /// exists. A failure is logged.
    pub(crate) fn put_original(&self, digest: &str, bytes: &[u8]) -> Option<UsedFile> {
        let folder = self.folder.as_deref()?;
        let path = folder.original_path(digest);
        let used = folder.used.add(path.clone());
        let length = bytes.len() as u64;
        let found = regular_file::open(&path).ok();
        if let Some((file, _)) = found.filter(|(_, metadata)| metadata.len() == length) {
            touch(&file);
            return Some(used);
        }
        if let Err(error) = folder.add(&path, length, |file| file.write_all(bytes)) {
            tracing::warn!(
                entry = %path.display(), %error,
                "cannot keep a component for its symbols"
            );
        }
        Some(used)
    }

    fn entry_path(&self, folder: &CacheFolder, key: &str) -> PathBuf {
        let name = format!("{key}-{:016x}.cwasm", self.environment);
        folder.path.join(name)
    }
}

impl CacheFolder {
    fn original_path(&self, digest: &str) -> PathBuf {
        self.path.join(format!("{digest}.wasm"))
    }

    /// The code of an entry, in a file of its own, and its side data. A damaged entry is removed.
    fn read(&self, used: &UsedFile) -> Option<(CodeFile, Vec<u8>)> {
        let path = used.path();
        let read = |mut code: fs::File| {
            let (mut file, metadata) = regular_file::open(path)?;
            let name = path.file_name().unwrap_or_default();
            let side = entry::read(&mut file, name, metadata.len(), &mut code)?;
            touch(&file);
            Ok((CodeFile::new(code), side))
        };
        let read = code_file::on_disk_of(&self.path)
            .and_then(read)
            .or_else(|error: io::Error| match error.kind() {
                ErrorKind::NotFound | ErrorKind::InvalidInput | ErrorKind::InvalidData => {
                    Err(error)
                }
                // For example when the disk is full.
                _ => code_file::in_memory().and_then(read),
            });
        match read {
            Ok(read) => return Some(read),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                self.drop_damaged(path, &error.to_string());
            }
            Err(error) => {
                tracing::warn!(
                    entry = %path.display(), %error,
                    "unreadable cache entry: compiling again"
                );
            }
        }
        None
    }

    /// Removes an entry that cannot be used.
    fn drop_damaged(&self, path: &Path, why: &str) {
        tracing::warn!(entry = %path.display(), why, "damaged cache entry: compiling again");
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(entry = %path.display(), %error, "cannot remove a damaged cache entry");
        }
    }

    /// Adds a file of `bytes` bytes, or replaces it. It is not written through to the disk: after a
    /// crash of the machine its checksum is wrong.
    fn add(
        &self,
        path: &Path,
        bytes: u64,
        write: impl FnOnce(&mut fs::File) -> io::Result<()>,
    ) -> io::Result<()> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        if !space::make_room(&self.path, self.limits, &self.used, path, bytes) {
            return Err(io::Error::new(
                ErrorKind::QuotaExceeded,
                format!(
                    "no room for {bytes} bytes: the cache has at most {} bytes in {} files, and \
                     plugins that are loaded use the rest",
                    self.limits.bytes, self.limits.files
                ),
            ));
        }
        let mut staged = StagedFile::create(path.to_owned())?;
        write(staged.file())?;
        staged.commit()
    }
}

/// Records that the cache has used a file. A folder that cannot be written removes nothing, so the
/// time does not matter there.
fn touch(file: &fs::File) {
    let _ = file.set_modified(SystemTime::now());
}

#[cfg(test)]
mod tests;
