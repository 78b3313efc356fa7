//! The space that the cache's files take: bounded in bytes and in number, at every time.
//!
//! Files that a loaded plugin uses are never removed. Of the others, the least recently used ones
//! go first: the cache sets the time of a file's change when it uses the file. A folder can also
//! have files that are not the cache's. Those do not count, and the cache never touches them.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The most that the cache's files may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// The number of files. Each plugin has one for each heap profile that it ran with, and one for
    /// its symbols.
    pub files: usize,
}

impl Default for CacheLimits {
    /// 1 GiB in 4,096 files: room for a thousand plugins.
    fn default() -> Self {
        CacheLimits {
            bytes: 1 << 30,
            files: 4096,
        }
    }
}

/// The files that plugins of this process use, each with the number of its users.
#[derive(Debug, Clone, Default)]
pub(super) struct UsedFiles(Arc<Mutex<HashMap<PathBuf, usize>>>);

/// Keeps a file of the cache from being removed.
#[derive(Debug)]
pub(crate) struct UsedFile {
    path: PathBuf,
    used: UsedFiles,
}

impl UsedFiles {
    pub(super) fn add(&self, path: PathBuf) -> UsedFile {
        *self.lock().entry(path.clone()).or_default() += 1;
        UsedFile {
            path,
            used: self.clone(),
        }
    }

    fn contains(&self, path: &Path) -> bool {
        self.lock().contains_key(path)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UsedFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UsedFile {
    fn drop(&mut self) {
        let mut used = self.used.lock();
        if let Some(users) = used.get_mut(&self.path) {
            *users -= 1;
            if *users == 0 {
                used.remove(&self.path);
            }
        }
    }
}

/// A file of the cache. The order is the order of removal.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CacheFile {
    used_at: SystemTime,
    path: PathBuf,
    bytes: u64,
}

/// Removes files until one of `bytes` bytes has room at `target`. Returns whether it has.
pub(super) fn make_room(
    folder: &Path,
    limits: CacheLimits,
    used: &UsedFiles,
    target: &Path,
    bytes: u64,
) -> bool {
    // A larger file would push out all others and then have no room itself.
    bytes <= limits.bytes && shrink(folder, limits, used, Some((target, bytes)))
}

/// Removes files until the folder is within its limits.
pub(super) fn prune(folder: &Path, limits: CacheLimits) {
    shrink(folder, limits, &UsedFiles::default(), None);
}

fn shrink(folder: &Path, limits: CacheLimits, used: &UsedFiles, new: Option<(&Path, u64)>) -> bool {
    let mut files = files(folder);
    files.retain(|file| new.is_none_or(|(target, _)| file.path != target));
    let (new_files, new_bytes) = new.map_or((0, 0), |(_, bytes)| (1, bytes));
    let mut bytes = new_bytes + files.iter().map(|file| file.bytes).sum::<u64>();
    let mut count = new_files + files.len();
    let fits = |bytes, count| bytes <= limits.bytes && count <= limits.files;
    if fits(bytes, count) {
        return true;
    }
    files.sort();
    for file in files {
        if used.contains(&file.path) {
            continue;
        }
        match fs::remove_file(&file.path) {
            Ok(()) => tracing::debug!(file = %file.path.display(), "removed from the cache"),
            Err(error) => {
                tracing::debug!(file = %file.path.display(), %error, "stays in the cache");
                continue;
            }
        }
        bytes -= file.bytes;
        count -= 1;
        if fits(bytes, count) {
            return true;
        }
    }
    false
}

/// The cache's regular files in a folder. Links are none of them.
fn files(folder: &Path) -> Vec<CacheFile> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let of_cache = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name();
        if !is_of_cache(name.to_str()?) {
            return None;
        }
        let metadata = entry.metadata().ok().filter(Metadata::is_file)?;
        Some(CacheFile {
            used_at: metadata.modified().ok()?,
            path: entry.path(),
            bytes: metadata.len(),
        })
    });
    of_cache.collect()
}

/// Whether a name is one that the cache gives: it starts with the digest of a component. Other
/// versions of the host have given other ends.
pub(super) fn is_of_cache(name: &str) -> bool {
    const DIGEST_DIGITS: usize = 64;
    let is_digest = |digest: &str| digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.split_at_checked(DIGEST_DIGITS)
        .is_some_and(|(digest, rest)| is_digest(digest) && rest.starts_with(['-', '.']))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(n: u32) -> String {
        format!("{n:064}.wasm")
    }

    /// A folder with files of 100 bytes: file 0 is the oldest.
    fn folder(files: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..files {
            let path = folder.path().join(name(n));
            fs::write(&path, [0; 100]).unwrap();
            let used_at = SystemTime::now() - Duration::from_secs(u64::from(1000 - n));
            fs::File::open(&path)
                .unwrap()
                .set_modified(used_at)
                .unwrap();
        }
        folder
    }

    fn left(folder: &tempfile::TempDir) -> Vec<u32> {
        let exists = |n: &u32| folder.path().join(name(*n)).exists();
        (0..100).filter(exists).collect()
    }

    fn limits(bytes: u64, files: usize) -> CacheLimits {
        CacheLimits { bytes, files }
    }

    #[test]
    fn the_least_recently_used_files_go_first() {
        for (limits, expected) in [
            (limits(250, 100), vec![3, 4]),
            (limits(1000, 1), vec![4]),
            (limits(500, 5), vec![0, 1, 2, 3, 4]),
        ] {
            let folder = folder(5);
            prune(folder.path(), limits);
            assert_eq!(left(&folder), expected, "{limits:?}");
        }
    }

    #[test]
    fn a_used_file_stays_and_a_new_one_without_room_is_refused() {
        let folder = folder(3);
        let used = UsedFiles::default();
        let users = [0, 2, 2].map(|n| used.add(folder.path().join(name(n))));
        let room = |bytes| {
            let target = folder.path().join(name(9));
            make_room(folder.path(), limits(300, 100), &used, &target, bytes)
        };
        assert!(room(100));
        assert_eq!(left(&folder), [0, 2]);
        assert!(!room(101), "both files are in use");
        assert!(!room(301), "it is larger than the cache");
        assert_eq!(left(&folder), [0, 2]);
        let [first, second, third] = users;
        drop((first, second));
        assert!(room(200), "file 2 is still in use once");
        assert_eq!(left(&folder), [2]);
        drop(third);
        assert!(room(300));
        assert_eq!(left(&folder), [0; 0]);
    }

    #[test]
    fn a_file_that_is_replaced_needs_no_additional_room() {
        let folder = folder(3);
        let target = folder.path().join(name(1));
        let used = UsedFiles::default();
        assert!(make_room(
            folder.path(),
            limits(300, 3),
            &used,
            &target,
            100
        ));
        assert_eq!(left(&folder), [0, 1, 2]);
    }

    #[test]
    fn files_that_are_not_of_the_cache_are_never_removed() {
        let folder = folder(1);
        let foreign = ["thesis.tex", "0123456789abcdef.wasm", ".profile"];
        for name in foreign {
            fs::write(folder.path().join(name), [0; 1000]).unwrap();
        }
        let link = folder.path().join(name(50));
        std::os::unix::fs::symlink("thesis.tex", &link).unwrap();
        prune(folder.path(), limits(0, 0));
        assert!(foreign.iter().all(|name| folder.path().join(name).exists()));
        assert_eq!(left(&folder), [50], "the link");
    }
}
