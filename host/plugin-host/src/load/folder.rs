//! The plugins folder: its component files, and the state of each.
//!
//! A file counts only after it has not changed for a settle time, so the host does not load a file
//! that is still being written. The problem of a file stays on record until the file changes.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::error::PluginError;

/// The folder and the state of its files.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    state: Mutex<FolderState>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct FolderState {
    files: BTreeMap<PathBuf, FileState>,
    /// Why the folder itself cannot be read.
    unreadable: Option<LoadProblem>,
}

#[derive(Debug)]
struct FileState {
    /// The file's version; `None` when the file is gone.
    version: Option<FileVersion>,
    /// When a scan saw this version first.
    since: Instant,
    /// Whether a scan has returned this version.
    handled: bool,
    problem: Option<LoadProblem>,
    /// Whether it was refused because its id is taken.
    waits_for_id: bool,
}

/// Identifies one version of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileVersion {
    size: u64,
    inode: u64,
    modified_ns: i128,
    changed_ns: i128,
}

/// A file that could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadProblem {
    /// The file, or the folder itself.
    pub file: PathBuf,
    /// What is wrong with it.
    pub error: String,
    /// When the host met the problem first.
    pub since: Timestamp,
}

/// The result of a scan of the folder.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// New or changed files that have settled.
    pub ready: Vec<(PathBuf, FileVersion)>,
    /// Files that have been gone for the settle time.
    pub removed: Vec<PathBuf>,
    /// Whether other files have changed too recently to count.
    pub unsettled: bool,
}

impl FileVersion {
    fn of(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        FileVersion {
            size: metadata.size(),
            inode: metadata.ino(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Folder {
    /// A folder that was not scanned yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Folder {
            path,
            state: Mutex::default(),
            changed: Arc::default(),
        }
    }

    /// The folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file for a plugin that is uploaded under this id.
    pub(crate) fn upload_path(&self, id: &str) -> PathBuf {
        self.path.join(format!("{id}.wasm"))
    }

    /// Notified when the folder may have changed.
    pub(crate) fn changed(&self) -> &Arc<Notify> {
        &self.changed
    }

    /// Whether the last scan could read the folder.
    pub(crate) fn is_readable(&self) -> bool {
        self.lock().unreadable.is_none()
    }

    /// Finds what has changed since the last scan and has not changed again for `settle_time`. The
    /// caller handles what is returned: the next scan does not return it again.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read. Then no file counts as removed.
    pub(crate) fn scan(&self, settle_time: Duration) -> io::Result<Scan> {
        let listed = self.list();
        let mut state = self.lock();
        let listed = match listed {
            Ok(listed) => {
                state.unreadable = None;
                listed
            }
            Err(error) => {
                state.unreadable.get_or_insert_with(|| LoadProblem {
                    file: self.path.clone(),
                    error: format!("the plugins folder cannot be read: {error}"),
                    since: Timestamp::now(),
                });
                return Err(error);
            }
        };
        let now = Instant::now();
        for (path, version) in &listed {
            let file = state
                .files
                .entry(path.clone())
                .or_insert_with(|| FileState::unseen(now));
            if file.version != Some(*version) {
                file.change_to(Some(*version), now);
            }
        }
        let mut scan = Scan::default();
        for (path, file) in &mut state.files {
            if file.version.is_some() && !listed.contains_key(path) {
                file.change_to(None, now);
            }
            if file.handled {
                continue;
            }
            if now.duration_since(file.since) < settle_time {
                scan.unsettled = true;
                continue;
            }
            file.handled = true;
            match file.version {
                Some(version) => scan.ready.push((path.clone(), version)),
                None => scan.removed.push(path.clone()),
            }
        }
        Ok(scan)
    }

    fn list(&self) -> io::Result<BTreeMap<PathBuf, FileVersion>> {
        let mut listed = BTreeMap::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            // Programs that copy files write to a hidden file first.
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if hidden || path.extension().is_none_or(|e| e != "wasm") {
                continue;
            }
            // Follows links. The next scan sees a file that was removed meanwhile.
            if let Ok(metadata) = fs::metadata(&path)
                && metadata.is_file()
            {
                listed.insert(path, FileVersion::of(&metadata));
            }
        }
        Ok(listed)
    }

    /// Whether this is still the version of the file that the last scan saw.
    pub(crate) fn is_current(&self, path: &Path, version: FileVersion) -> bool {
        let state = self.lock();
        state
            .files
            .get(path)
            .is_some_and(|file| file.version == Some(version))
    }

    /// Records that the host has loaded or refused this version of a file. Of a version that is not
    /// current any more, nothing is recorded.
    pub(crate) fn record_outcome(
        &self,
        path: &Path,
        version: FileVersion,
        outcome: Result<(), &PluginError>,
    ) {
        let mut state = self.lock();
        let file = state.files.get_mut(path);
        let Some(file) = file.filter(|file| file.version == Some(version)) else {
            return;
        };
        file.waits_for_id = matches!(outcome, Err(PluginError::IdTaken { .. }));
        file.problem = outcome.err().map(|error| LoadProblem {
            file: path.to_owned(),
            error: error.to_string(),
            since: Timestamp::now(),
        });
    }

    /// Records that the host itself has written or removed this file: the next scan finds no
    /// change.
    pub(crate) fn mark_current(&self, path: &Path) {
        let version = fs::metadata(path).map(|metadata| FileVersion::of(&metadata));
        let mut state = self.lock();
        match version {
            Ok(version) => {
                let file = FileState {
                    version: Some(version),
                    handled: true,
                    ..FileState::unseen(Instant::now())
                };
                state.files.insert(path.to_owned(), file);
            }
            Err(_) => drop(state.files.remove(path)),
        }
    }

    /// Forgets a file that is gone, after the host has unloaded its plugin.
    pub(crate) fn forget(&self, path: &Path) {
        let mut state = self.lock();
        if state.files.get(path).is_some_and(|f| f.version.is_none()) {
            state.files.remove(path);
        }
    }

    /// Makes the next scan return the files that were refused because their id was taken. The
    /// caller has just freed an id.
    pub(crate) fn retry_taken_ids(&self) {
        let mut waiting = false;
        for file in self.lock().files.values_mut().filter(|f| f.waits_for_id) {
            file.handled = false;
            waiting = true;
        }
        if waiting {
            self.changed.notify_one();
        }
    }

    /// The files that could not be loaded, in the order of their names.
    pub fn problems(&self) -> Vec<LoadProblem> {
        let state = self.lock();
        let of_files = state.files.values().filter_map(|f| f.problem.as_ref());
        state.unreadable.iter().chain(of_files).cloned().collect()
    }

    /// Writes a component to a hidden file next to `target`.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written, for example when it is read-only.
    pub(crate) fn stage(&self, target: PathBuf, bytes: &[u8]) -> io::Result<StagedFile> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let staged = StagedFile {
            temporary: self
                .path
                .join(format!(".{name}.{:08x}", rand::random::<u32>())),
            target,
        };
        let mut file = File::create_new(&staged.temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(staged)
    }

    fn lock(&self) -> MutexGuard<'_, FolderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileState {
    fn unseen(now: Instant) -> Self {
        FileState {
            version: None,
            since: now,
            handled: true,
            problem: None,
            waits_for_id: false,
        }
    }

    fn change_to(&mut self, version: Option<FileVersion>, now: Instant) {
        self.version = version;
        self.since = now;
        self.handled = false;
    }
}

/// A component in a hidden file. Dropping it removes the file, unless it was committed.
#[derive(Debug)]
pub(crate) struct StagedFile {
    temporary: PathBuf,
    target: PathBuf,
}

impl StagedFile {
    /// Renames it to its target and replaces the file there.
    ///
    /// # Errors
    ///
    /// When the system cannot rename it.
    pub(crate) fn commit(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // After a commit the file does not exist. A file that cannot be removed is hidden: no scan
        // returns it.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests;
