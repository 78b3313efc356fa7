//! The plugins folder: its component files, and the state of each.
//!
//! A file counts only after it has not changed for a settle time, so the host does not load a file
//! that is still being written. The problem of a file stays on record until the file changes.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::error::PluginError;
use crate::load::declarations;
use crate::load::staged_file::{self, StagedFile};

/// Time after which a file that still changes is listed as a problem.
const MAX_SETTLING: Duration = Duration::from_secs(5);

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
    /// When a scan saw the first of the versions that did not settle.
    changing_since: Instant,
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
    /// Size and time of change of the file that declares its allocator.
    declarations: Option<(u64, i128)>,
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
    /// The version of the file at a path, through links. What is no regular file has a version too:
    /// the loader says what is wrong with it. `None` when nothing has the name any more.
    fn at(path: &Path) -> Option<Self> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Some(Self::of(&metadata).with_declarations(path)),
            Ok(metadata) => Some(Self::of_special(&metadata)),
            // A link without a target, or a file that was removed meanwhile.
            Err(_) => Some(Self::of_special(&fs::symlink_metadata(path).ok()?)),
        }
    }

    /// Its time and size say nothing: those of a folder change with the files in it.
    fn of_special(metadata: &Metadata) -> Self {
        FileVersion {
            size: 0,
            modified_ns: 0,
            changed_ns: 0,
            ..Self::of(metadata)
        }
    }

    fn of(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        FileVersion {
            size: metadata.size(),
            inode: metadata.ino(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
            declarations: None,
        }
    }

    /// With the version of the file next to the component that declares its allocator.
    fn with_declarations(mut self, component: &Path) -> Self {
        let file = component.with_extension(declarations::EXTENSION);
        let version = fs::metadata(file).ok().map(|file| Self::of(&file));
        self.declarations = version.map(|version| (version.size, version.changed_ns));
        self
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
                file.check_settling(path, now, settle_time);
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
            if let Some(version) = FileVersion::at(&path) {
                listed.insert(path, version);
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
        let version = FileVersion::at(path);
        let mut state = self.lock();
        match version {
            Some(version) => {
                let file = FileState {
                    version: Some(version),
                    handled: true,
                    ..FileState::unseen(Instant::now())
                };
                state.files.insert(path.to_owned(), file);
            }
            None => drop(state.files.remove(path)),
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

    /// Removes the hidden files of uploads to hosts that were killed.
    pub(crate) fn remove_abandoned_uploads(&self) {
        staged_file::remove_abandoned(&self.path, |name| name.ends_with(".wasm"));
    }

    /// Writes a component to a hidden file next to `target`.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written, for example when it is read-only.
    pub(crate) fn stage(&self, target: PathBuf, bytes: &[u8]) -> io::Result<StagedFile> {
        let mut staged = StagedFile::create(target)?;
        staged.file().write_all(bytes)?;
        staged.file().sync_all()?;
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
            changing_since: now,
            handled: true,
            problem: None,
            waits_for_id: false,
        }
    }

    fn change_to(&mut self, version: Option<FileVersion>, now: Instant) {
        if self.handled {
            self.changing_since = now;
        }
        self.version = version;
        self.since = now;
        self.handled = false;
    }

    /// Records a file that changes for so long that a person should know why it is not loaded.
    fn check_settling(&mut self, path: &Path, now: Instant, settle_time: Duration) {
        if self.version.is_none() || now.duration_since(self.changing_since) < MAX_SETTLING {
            return;
        }
        let error = format!(
            "the file keeps changing; it is loaded once it has not changed for {} ms",
            settle_time.as_millis()
        );
        if self.problem.as_ref().is_some_and(|p| p.error == error) {
            return;
        }
        tracing::warn!(file = %path.display(), error, "plugin not loaded");
        self.problem = Some(LoadProblem {
            file: path.to_owned(),
            error,
            since: Timestamp::now(),
        });
    }
}

#[cfg(test)]
mod tests;
