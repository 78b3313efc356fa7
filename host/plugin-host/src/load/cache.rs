//! Compiled components on disk, so that a second start instruments and compiles nothing.
//!
//! An entry's name contains the component's digest and everything that machine code depends on: the
//! engine's version, its settings and the processor. An entry that is damaged, or that another
//! version wrote, is rebuilt. A cache folder that cannot be written only costs a compilation at
//! each start.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

/// The most bytes that the folder keeps after a start. The oldest files are removed first.
const MAX_FOLDER_BYTES: u64 = 1 << 30;

/// The folder of compiled components. Without a folder it keeps nothing.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: Option<PathBuf>,
    environment: u64,
}

impl Cache {
    /// A cache in `folder`, which is created if it does not exist. With `None`, or when the folder
    /// cannot be created, the cache keeps nothing.
    pub fn open(folder: Option<PathBuf>, engine: &Engine) -> Self {
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
            prune(folder, MAX_FOLDER_BYTES);
        }
        let mut hasher = DefaultHasher::new();
        guest_heap::FINGERPRINT.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Cache {
            folder,
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

    /// The compiled component and its side data, if both exist and are undamaged.
    pub(crate) fn get(&self, engine: &Engine, key: &str) -> Option<(Component, Vec<u8>)> {
        let paths = self.paths(key)?;
        let side = fs::read(&paths.side).ok()?;
        let sums = [
            checksum(&mut fs::File::open(&paths.code).ok()?).ok()?,
            checksum_line(crc32fast::hash(&side), side.len() as u64),
        ];
        if fs::read_to_string(&paths.sums).ok()? != sums.concat() {
            tracing::warn!(entry = %paths.code.display(), "damaged cache entry: compiling again");
            return None;
        }
        // SAFETY: the file has the bytes that `put` got from `Component::serialize`: its checksum
        // says so, and its name says that an engine of the same version and settings wrote it. The
        // folder is the user's own; a process that can write there can replace this program too.
        #[allow(
            unsafe_code,
            reason = "machine code from a file is the purpose of the cache"
        )]
        let component = unsafe { Component::deserialize_file(engine, &paths.code) };
        match component {
            Ok(component) => Some((component, side)),
            Err(error) => {
                tracing::warn!(
                    entry = %paths.code.display(), %error,
                    "unusable cache entry: compiling again"
                );
                None
            }
        }
    }

    /// Returns the resident pages of a component's code to the system. The component must come from
    /// [`Cache::get`]: the system reads a page from the file again when the code runs again.
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
        // the file with the same content as the first time. The file itself does not change:
        // entries are replaced by renaming.
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

    /// Writes machine code and its side data. A failure is logged and costs a compilation at the
    /// next start.
    pub(crate) fn put(&self, key: &str, code: &mut (impl Read + Seek), side: &[u8]) {
        let Some(paths) = self.paths(key) else { return };
        let written = checksum(code).and_then(|code_sum| {
            code.rewind()?;
            replace(&paths.code, code)?;
            replace(&paths.side, &mut &*side)?;
            let sums = [
                code_sum,
                checksum_line(crc32fast::hash(side), side.len() as u64),
            ];
            replace(&paths.sums, &mut sums.concat().as_bytes())
        });
        if let Err(error) = written {
            tracing::warn!(entry = %paths.code.display(), %error, "cannot keep a compiled plugin");
        }
    }

    /// The component before compilation. Its symbols are read later, when its file may have another
    /// component already.
    pub(crate) fn original(&self, digest: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.as_ref()?.join(format!("{digest}.wasm"))).ok()
    }

    /// Writes the component before compilation.
    pub(crate) fn put_original(&self, digest: &str, bytes: &[u8]) {
        let Some(folder) = &self.folder else { return };
        let path = folder.join(format!("{digest}.wasm"));
        if path.exists() {
            return;
        }
        if let Err(error) = replace(&path, &mut &*bytes) {
            tracing::warn!(
                entry = %path.display(), %error,
                "cannot keep a component for its symbols"
            );
        }
    }

    fn paths(&self, key: &str) -> Option<Paths> {
        let folder = self.folder.as_ref()?;
        let of = |extension| folder.join(format!("{key}-{:016x}.{extension}", self.environment));
        Some(Paths {
            code: of("cwasm"),
            side: of("side"),
            sums: of("sums"),
        })
    }
}

/// The files of one entry.
struct Paths {
    code: PathBuf,
    side: PathBuf,
    sums: PathBuf,
}

fn checksum_line(crc: u32, length: u64) -> String {
    format!("crc32 {crc:08x} length {length}\n")
}

fn checksum(file: &mut impl Read) -> io::Result<String> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        let n = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..n).filter(|b| !b.is_empty()) else {
            break;
        };
        hasher.update(bytes);
        length += n as u64;
    }
    Ok(checksum_line(hasher.finalize(), length))
}

/// Writes a temporary file and renames it. A reader never sees half a file, even when several
/// writers replace the same file at the same time.
fn replace(path: &Path, content: &mut impl Read) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp-{:016x}", rand::random::<u64>()));
    let written = fs::File::create(&temporary)
        .and_then(|mut file| io::copy(content, &mut file))
        .and_then(|_| fs::rename(&temporary, path));
    if written.is_err() {
        // A failure to remove the incomplete file changes nothing: no reader looks at its name.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Removes the oldest files until the folder has at most `max_bytes`.
fn prune(folder: &Path, max_bytes: u64) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut files: Vec<_> = entries
        .filter_map(|e| {
            let e = e.ok()?;
            let meta = e.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((meta.modified().ok()?, meta.len(), e.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in files {
        if total <= max_bytes {
            break;
        }
        if fs::remove_file(&path).is_ok() {
            total -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine code of an empty component.
    fn empty(engine: &Engine) -> io::Cursor<Vec<u8>> {
        let component = b"\0asm\x0d\0\x01\0";
        io::Cursor::new(engine.precompile_component(component).unwrap())
    }

    #[test]
    fn a_damaged_entry_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::engine::start().unwrap();
        let cache = Cache::open(Some(folder.path().into()), &engine);
        let empty = empty(&engine);
        assert!(cache.get(&engine, "d").is_none());
        cache.put("d", &mut empty.clone(), b"side data");
        assert!(cache.get(&engine, "d").is_some());

        let code = cache.paths("d").unwrap().code;
        let mut bytes = fs::read(&code).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&code, bytes).unwrap();
        assert!(cache.get(&engine, "d").is_none());
        cache.put("d", &mut empty.clone(), b"side data");
        assert!(cache.get(&engine, "d").is_some());
    }

    #[test]
    fn an_entry_is_never_torn_while_many_threads_write_it() {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::engine::start().unwrap();
        let cache = Cache::open(Some(folder.path().into()), &engine);
        let empty = empty(&engine);
        cache.put("d", &mut empty.clone(), b"side data");
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..100 {
                        cache.put("d", &mut empty.clone(), b"side data");
                        assert!(cache.get(&engine, "d").is_some());
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn the_oldest_files_are_removed_first() {
        let folder = tempfile::tempdir().unwrap();
        for (name, age) in [("old", 300), ("middle", 200), ("new", 100)] {
            let path = folder.path().join(name);
            fs::write(&path, [0; 100]).unwrap();
            let when = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
            fs::File::open(&path).unwrap().set_modified(when).unwrap();
        }
        prune(folder.path(), 150);
        let left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["new"]);
    }
}
