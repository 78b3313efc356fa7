//! The plugins folder: which files are in it, and what has become of each.
//!
//! A file counts once it has been the same for a moment, so that one that is still being written is left alone. What
//! is wrong with a file stays on record until the file is another one.

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

/// The folder and its files.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    known: Mutex<Known>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Known {
    files: BTreeMap<PathBuf, Entry>,
    /// Why the folder itself cannot be read.
    unreadable: Option<Problem>,
}

#[derive(Debug)]
struct Entry {
    /// How the file looks; none when it is gone.
    stamp: Option<Stamp>,
    /// Since when it looks so.
    since: Instant,
    /// Whether this state of it has been dealt with.
    settled: bool,
    problem: Option<Problem>,
    /// Whether it waits for its id to become free.
    waits: bool,
}

/// What tells one state of a file from another, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    inode: u64,
    modified_ns: i128,
    changed_ns: i128,
}

/// A file that could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which file, or the folder itself.
    pub file: PathBuf,
    /// What is wrong with it.
    pub error: String,
    /// Since when.
    pub since: Timestamp,
}

/// What a look at the folder found.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Files that are new or changed and have been the same for long enough.
    pub ready: Vec<(PathBuf, Stamp)>,
    /// Files that are gone, and have been for long enough.
    pub(crate) vanished: Vec<PathBuf>,
    /// Whether there are others that have changed a moment ago.
    pub unsettled: bool,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Stamp {
            size: metadata.size(),
            inode: metadata.ino(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Folder {
    /// A folder that nobody has looked into yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Folder {
            path,
            known: Mutex::default(),
            changed: Arc::default(),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that a plugin of this id has when it is sent to the admin API.
    pub(crate) fn file_of(&self, id: &str) -> PathBuf {
        self.path.join(format!("{id}.wasm"))
    }

    /// Told when there may be something to see.
    pub(crate) fn changed(&self) -> &Arc<Notify> {
        &self.changed
    }

    /// Whether the last look saw what is in it.
    pub(crate) fn is_readable(&self) -> bool {
        self.lock().unreadable.is_none()
    }

    /// What is new since the last look. A file has to be the same for `patience` before it counts.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read. Then nothing counts as gone.
    pub(crate) fn look(&self, patience: Duration) -> io::Result<Look> {
        let listed = self.list();
        let mut known = self.lock();
        let listed = match listed {
            Ok(listed) => {
                known.unreadable = None;
                listed
            }
            Err(error) => {
                known.unreadable.get_or_insert_with(|| Problem {
                    file: self.path.clone(),
                    error: format!("the plugins folder cannot be read: {error}"),
                    since: Timestamp::now(),
                });
                return Err(error);
            }
        };
        let now = Instant::now();
        for (path, stamp) in &listed {
            let entry = known
                .files
                .entry(path.clone())
                .or_insert_with(|| Entry::unseen(now));
            if entry.stamp != Some(*stamp) {
                entry.turn(Some(*stamp), now);
            }
        }
        let mut look = Look::default();
        for (path, entry) in &mut known.files {
            if entry.stamp.is_some() && !listed.contains_key(path) {
                entry.turn(None, now);
            }
            if entry.settled {
                continue;
            }
            if now.duration_since(entry.since) < patience {
                look.unsettled = true;
                continue;
            }
            match entry.stamp {
                Some(stamp) => look.ready.push((path.clone(), stamp)),
                None => look.vanished.push(path.clone()),
            }
        }
        Ok(look)
    }

    fn list(&self) -> io::Result<BTreeMap<PathBuf, Stamp>> {
        let mut listed = BTreeMap::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            // Programs that copy files write to hidden ones first.
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if hidden || path.extension().is_none_or(|e| e != "wasm") {
                continue;
            }
            // Follows links. One that went away meanwhile is seen by the next look.
            if let Ok(metadata) = fs::metadata(&path)
                && metadata.is_file()
            {
                listed.insert(path, Stamp::of(&metadata));
            }
        }
        Ok(listed)
    }

    /// This state of the file has been dealt with, one way or the other.
    pub(crate) fn settle(&self, path: &Path, stamp: Stamp, outcome: Result<(), &PluginError>) {
        let mut known = self.lock();
        let Some(entry) = known.files.get_mut(path) else {
            return;
        };
        entry.settled = entry.stamp == Some(stamp);
        entry.waits = matches!(outcome, Err(PluginError::IdTaken { .. }));
        entry.problem = outcome.err().map(|error| Problem {
            file: path.to_owned(),
            error: error.to_string(),
            since: Timestamp::now(),
        });
    }

    /// The host itself has written this file, or is done with it.
    pub(crate) fn settle_now(&self, path: &Path) {
        let stamp = fs::metadata(path).map(|metadata| Stamp::of(&metadata));
        let mut known = self.lock();
        match stamp {
            Ok(stamp) => {
                let entry = Entry {
                    stamp: Some(stamp),
                    settled: true,
                    ..Entry::unseen(Instant::now())
                };
                known.files.insert(path.to_owned(), entry);
            }
            Err(_) => drop(known.files.remove(path)),
        }
    }

    /// A file that is gone has been dealt with.
    pub(crate) fn forget(&self, path: &Path) {
        let mut known = self.lock();
        if known.files.get(path).is_some_and(|e| e.stamp.is_none()) {
            known.files.remove(path);
        }
    }

    /// An id has become free: files that wait for one are tried again.
    pub(crate) fn retry_waiting(&self) {
        let mut waiting = false;
        for entry in self.lock().files.values_mut().filter(|e| e.waits) {
            entry.settled = false;
            waiting = true;
        }
        if waiting {
            self.changed.notify_one();
        }
    }

    /// What could not be loaded, in the order of the files' names.
    pub fn problems(&self) -> Vec<Problem> {
        let known = self.lock();
        let of_files = known.files.values().filter_map(|e| e.problem.as_ref());
        known.unreadable.iter().chain(of_files).cloned().collect()
    }

    /// Writes a component beside its place in the folder.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written: it may be a read-only one.
    pub(crate) fn stage(&self, target: PathBuf, bytes: &[u8]) -> io::Result<Staged> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let staged = Staged {
            beside: self
                .path
                .join(format!(".{name}.{:08x}", rand::random::<u32>())),
            target,
        };
        let mut file = File::create_new(&staged.beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(staged)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn unseen(now: Instant) -> Self {
        Entry {
            stamp: None,
            since: now,
            settled: true,
            problem: None,
            waits: false,
        }
    }

    fn turn(&mut self, stamp: Option<Stamp>, now: Instant) {
        self.stamp = stamp;
        self.since = now;
        self.settled = false;
    }
}

/// A file written beside its place. It goes away unless it is put there.
#[derive(Debug)]
pub(crate) struct Staged {
    beside: PathBuf,
    target: PathBuf,
}

impl Staged {
    /// Puts it into its place, over what was there.
    ///
    /// # Errors
    ///
    /// When the system refuses the renaming.
    pub(crate) fn commit(self) -> io::Result<()> {
        fs::rename(&self.beside, &self.target)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit there is nothing to remove; otherwise a file that stays is hidden and harmless.
        let _ = fs::remove_file(&self.beside);
    }
}

#[cfg(test)]
mod tests;
