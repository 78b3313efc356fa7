//! Files that are written under a hidden name first, and then renamed: a reader finds the old
//! content or the new content, never half of one.
//!
//! A host that is killed during a write leaves the hidden file. The writer holds a lock on it
//! (flock(2)), which the kernel releases when the writer ends. So another host can tell an
//! abandoned file from one that is being written, and removes it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::regular_file;

/// Between the final name and the random end of a hidden name.
const MARK: &str = ".part-";
/// Hex digits after [`MARK`].
const RANDOM_DIGITS: usize = 16;
/// Names to try. A second one is needed only when a host removes the file as abandoned between its
/// creation and its lock.
const MAX_NAMES: usize = 8;

/// A file in the making. Dropping it removes the file, unless it was committed.
#[derive(Debug)]
pub(crate) struct StagedFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
}

impl StagedFile {
    /// An empty hidden file next to `target`.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub(crate) fn create(target: PathBuf) -> io::Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        for _ in 0..MAX_NAMES {
            let random = rand::random::<u64>();
            let temporary = target.with_file_name(format!(".{name}{MARK}{random:016x}"));
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&temporary)?;
            // A file system without locks refuses. The file then counts as abandoned for other
            // hosts, and the rename reports it.
            let taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
            if taken != Err(Errno::WOULDBLOCK) && file.metadata()?.nlink() > 0 {
                return Ok(StagedFile {
                    file,
                    temporary,
                    target,
                });
            }
        }
        Err(io::Error::other("another process removes the new files"))
    }

    /// The file, to be written.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Renames it to its target, and replaces the file there. A crash of the machine may lose it.
    ///
    /// # Errors
    ///
    /// When the system cannot rename it.
    pub(crate) fn commit(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)
    }

    /// Renames it to its target, and returns when a crash of the machine cannot lose it any more.
    /// Waits for the disk.
    ///
    /// # Errors
    ///
    /// When the system cannot write it to the disk, or cannot rename it.
    pub(crate) fn commit_durably(self) -> io::Result<()> {
        self.file.sync_all()?;
        let folder = self.target.parent().map(Path::to_owned);
        self.commit()?;
        match folder {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Removes its name. The content exists as long as the returned file is open or mapped.
    ///
    /// # Errors
    ///
    /// When the system cannot remove the name.
    pub(crate) fn into_file_without_name(self) -> io::Result<File> {
        let file = self.file.try_clone()?;
        fs::remove_file(&self.temporary)?;
        Ok(file)
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // After a commit the file does not exist. A file that cannot be removed is hidden, and the
        // next start removes it.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Removes the hidden files in a folder that no process writes any more. `of` limits them to those
/// with a certain final name.
pub(crate) fn remove_abandoned(folder: &Path, of: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_staged = final_name(&name).is_some_and(&of);
        // Not through a link: the host creates none.
        let is_file = || entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_staged && is_file() && is_abandoned(&entry.path()) {
            let path = entry.path();
            match fs::remove_file(&path) {
                Ok(()) => tracing::info!(file = %path.display(), "incomplete file removed"),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "cannot remove an incomplete file");
                }
            }
        }
    }
}

/// The final name of a hidden file.
fn final_name(name: &OsStr) -> Option<&str> {
    let (target, random) = name.to_str()?.strip_prefix('.')?.rsplit_once(MARK)?;
    let is_hex = random.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && random.len() == RANDOM_DIGITS).then_some(target)
}

/// Whether nobody has the lock of a file's writer.
fn is_abandoned(path: &Path) -> bool {
    regular_file::open(path)
        .is_ok_and(|(file, _)| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_name_after_the_commit_only() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.wasm");
        drop(StagedFile::create(target.clone()).unwrap());
        assert!(names(folder.path()).is_empty());
        for content in ["one", "two"] {
            let mut staged = StagedFile::create(target.clone()).unwrap();
            staged.file().write_all(content.as_bytes()).unwrap();
            assert!(!target.exists() || content == "two");
            staged.commit_durably().unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), content);
        }
        let mut nameless = StagedFile::create(target).unwrap();
        nameless.file().write_all(b"three").unwrap();
        let file = nameless.into_file_without_name().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 5);
        assert_eq!(names(folder.path()), ["a.wasm"]);
    }

    #[test]
    fn only_abandoned_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let abandoned = [
            ".a.wasm.part-0123456789abcdef",
            ".b.part.part-0000000000000000",
        ];
        let others = [
            ".a.wasm.Xy12Zq",
            ".a.wasm.part-0123",
            ".c.json.part-0123456789abcdef",
            "a.wasm",
            "a.wasm.part-0123456789abcdef",
        ];
        for name in abandoned.iter().chain(&others) {
            fs::write(path(name), name).unwrap();
        }
        fs::create_dir(path(".d.wasm.part-0123456789abcdef")).unwrap();
        let staged = StagedFile::create(path("z.wasm")).unwrap();
        let kept = names(folder.path()).len() - abandoned.len();
        remove_abandoned(folder.path(), |name| !name.ends_with(".json"));
        let left = names(folder.path());
        assert_eq!(left.len(), kept, "{left:?}");
        assert!(abandoned.iter().all(|name| !path(name).exists()));
        staged.commit().unwrap();
        assert!(path("z.wasm").exists());
    }
}
