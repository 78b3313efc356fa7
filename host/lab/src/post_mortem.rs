//! The last readings of a host that was killed, kept on disk for the next host.
//!
//! The kernel kills a process at its memory limit without a warning, so the readings must be on
//! disk before. A running host replaces one file every few seconds if its readings have changed,
//! and removes the file when it exits cleanly. A host that finds such a file at its start knows
//! that the previous run was killed, and keeps the file until the next kill.
//!
//! There are at most two documents of [`MAX_DOCUMENT_BYTES`] each, in one folder per address. So a
//! host never mistakes a running host's file for a killed run's.

use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use plugin_host::regular_file;

/// The most bytes of a document.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// The time between two writes, if the readings have changed.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// The time from one write to the next near the limit. A new reading is there every second.
pub const WRITE_INTERVAL_NEAR_LIMIT: Duration = Duration::from_millis(500);

/// With less time than this to the limit, the process is near it.
pub const NEAR_LIMIT: Duration = Duration::from_secs(60);

/// With more than this share of the limit in use, the process is near it, whatever its forecast.
pub const NEAR_LIMIT_PERCENT: f64 = 70.0;

const RUNNING: &str = "running.json";
const RUNNING_CAUSE: &str = "running.cause";
const PREVIOUS: &str = "previous.json";
const PREVIOUS_CAUSE: &str = "previous.cause";
const PROBE: &str = "probe";
/// The extension of a file that is being written.
const TEMPORARY: &str = "new";

/// The most bytes of a cause that are read: the host writes one sentence.
const MAX_CAUSE_BYTES: u64 = 4096;

/// The readings of this run, and those of the previous run if it was killed.
#[derive(Debug, Clone)]
pub struct PostMortem {
    folder: Option<PathBuf>,
    /// Why the folder cannot be used.
    unusable: Option<Arc<str>>,
    /// Whether this run has exited cleanly. Held during a write, so no write follows the exit.
    has_exited: Arc<Mutex<bool>>,
}

/// A run that was killed or crashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousRun {
    /// Its last readings, as passed to [`PostMortem::record`].
    pub document: Vec<u8>,
    /// When the readings were written.
    pub written_at: SystemTime,
    /// The cause that the run itself recorded; `None` if it had no time to.
    pub cause: Option<String>,
}

impl PostMortem {
    /// Writes nothing and has no previous run.
    pub fn disabled() -> Self {
        Self::in_folder(None)
    }

    fn in_folder(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            unusable: None,
            has_exited: Arc::default(),
        }
    }

    /// Why nothing is written although a folder was given.
    pub fn unusable(&self) -> Option<&str> {
        self.unusable.as_deref()
    }

    /// Archives the readings that a killed run left in the folder of this address, which is created
    /// if it does not exist. If the folder cannot be written, this logs a warning and disables the
    /// post-mortem.
    ///
    /// Call this after the address is bound. A second host on the same address fails before, so it
    /// cannot take the first one for killed.
    pub fn open(folder: &Path, listen: SocketAddr) -> Self {
        let name = listen.to_string().replace([':', '[', ']', '%'], "-");
        let folder = folder.join(name);
        match archive_previous_run(&folder) {
            Ok(()) => Self::in_folder(Some(folder)),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "cannot write post-mortem files");
                Self {
                    unusable: Some(format!("cannot use {}: {error}", folder.display()).into()),
                    ..Self::disabled()
                }
            }
        }
    }

    /// Whether readings are written.
    pub fn is_enabled(&self) -> bool {
        self.folder.is_some()
    }

    /// Replaces the readings of this run. Does nothing after a clean exit.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written, or the document exceeds [`MAX_DOCUMENT_BYTES`].
    pub fn record(&self, document: &[u8]) -> io::Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!(
                    "the document has {} bytes; the limit is {MAX_DOCUMENT_BYTES}",
                    document.len()
                ),
            ));
        }
        let has_exited = self
            .has_exited
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *has_exited {
            return Ok(());
        }
        replace(&folder.join(RUNNING), document)
    }

    /// Records why this run is about to end. Errors are ignored, because the process ends anyway.
    pub fn record_cause(&self, cause: &str) {
        if let Some(folder) = &self.folder {
            let _ignored = replace(&folder.join(RUNNING_CAUSE), cause.as_bytes());
        }
    }

    /// Removes the readings of this run, because it exits cleanly.
    pub fn record_clean_exit(&self) {
        let mut has_exited = self
            .has_exited
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *has_exited = true;
        if let Some(folder) = &self.folder {
            for file in [RUNNING, RUNNING_CAUSE] {
                let _absent = fs::remove_file(folder.join(file));
            }
        }
    }

    /// The last run that was killed or crashed; `None` if there is none.
    ///
    /// # Errors
    ///
    /// When its files exist but cannot be read.
    pub fn previous_run(&self) -> io::Result<Option<PreviousRun>> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        let (file, metadata) = match regular_file::open(&folder.join(PREVIOUS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let written_at = metadata.modified()?;
        let mut document = Vec::new();
        file.take(MAX_DOCUMENT_BYTES as u64)
            .read_to_end(&mut document)?;
        Ok(Some(PreviousRun {
            document,
            written_at,
            cause: read_cause(&folder.join(PREVIOUS_CAUSE)),
        }))
    }
}

/// Turns the files of a run that did not exit cleanly into those of the previous run. Fails if the
/// folder cannot be written.
fn archive_previous_run(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    remove_special_files(folder)?;
    let (running, cause) = (folder.join(RUNNING), folder.join(RUNNING_CAUSE));
    if running.exists() {
        match fs::rename(&cause, folder.join(PREVIOUS_CAUSE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The cause of an earlier kill does not belong to this one.
                let _absent = fs::remove_file(folder.join(PREVIOUS_CAUSE));
            }
            renamed => renamed?,
        }
        fs::rename(running, folder.join(PREVIOUS))?;
    } else {
        let _absent = fs::remove_file(cause);
    }
    // Checks at the start whether the folder is writable.
    let probe = folder.join(PROBE);
    replace(&probe, &[])?;
    fs::remove_file(probe)
}

/// Removes what has the name of one of the files and is no regular file: a write to a FIFO or
/// through a link would go elsewhere, or block the host. A folder stays, and is an error.
fn remove_special_files(folder: &Path) -> io::Result<()> {
    let names = [RUNNING, RUNNING_CAUSE, PREVIOUS, PREVIOUS_CAUSE, PROBE];
    for name in names {
        for path in [
            folder.join(name),
            folder.join(name).with_extension(TEMPORARY),
        ] {
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            if metadata.is_dir() {
                return Err(io::Error::new(
                    io::ErrorKind::IsADirectory,
                    format!("{name} is a folder"),
                ));
            }
            if !metadata.is_file() {
                fs::remove_file(&path)?;
                tracing::warn!(file = %path.display(), "removed: no regular file");
            }
        }
    }
    Ok(())
}

fn read_cause(path: &Path) -> Option<String> {
    let (file, _) = regular_file::open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_CAUSE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Replaces a file atomically: a reader finds the old content or the new content, also after a kill
/// in the middle of the write.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(TEMPORARY);
    // Left by a killed run, or no regular file.
    let _absent = fs::remove_file(&temporary);
    fs::File::create_new(&temporary)?.write_all(content)?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> PostMortem {
        PostMortem::open(folder, "127.0.0.1:8080".parse().unwrap())
    }

    fn document(post_mortem: &PostMortem) -> Option<Vec<u8>> {
        post_mortem.previous_run().unwrap().map(|run| run.document)
    }

    #[test]
    fn a_killed_run_leaves_its_last_document_to_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        assert_eq!(first.previous_run().unwrap(), None);
        first.record(b"one").unwrap();
        first.record(b"two").unwrap();
        first.record_cause("memory limit exceeded");
        drop(first);

        let second = open(folder.path());
        let run = second.previous_run().unwrap().unwrap();
        assert_eq!(run.document, b"two");
        assert_eq!(run.cause.as_deref(), Some("memory limit exceeded"));
        second.record(b"three").unwrap();
        assert_eq!(document(&second).as_deref(), Some(&b"two"[..]));
        drop(second);

        let third = open(folder.path());
        let run = third.previous_run().unwrap().unwrap();
        assert_eq!(run.document, b"three");
        assert_eq!(run.cause, None, "the second run recorded no cause");
    }

    #[test]
    fn a_clean_exit_leaves_no_files_and_keeps_the_previous_run() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        first.record(b"one").unwrap();
        drop(first);
        let second = open(folder.path());
        second.record(b"two").unwrap();
        second.record_cause("not a kill");
        second.record_clean_exit();
        second.record(b"too late").unwrap();
        let third = open(folder.path());
        let run = third.previous_run().unwrap().unwrap();
        assert_eq!(run.document, b"one");
        assert_eq!(run.cause, None);
    }

    #[test]
    fn a_running_host_on_another_address_is_not_a_previous_run() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        first.record(b"one").unwrap();
        let other = PostMortem::open(folder.path(), "[::1]:8080".parse().unwrap());
        assert_eq!(document(&other), None);
    }

    #[test]
    fn a_document_that_is_too_large_is_refused_and_the_last_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        first.record(b"one").unwrap();
        assert!(first.record(&vec![b'x'; MAX_DOCUMENT_BYTES + 1]).is_err());
        assert_eq!(document(&open(folder.path())).as_deref(), Some(&b"one"[..]));
    }

    #[test]
    fn special_files_are_removed_and_do_not_block() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        let address = first.folder.clone().unwrap();
        let fifo = |name: &str| {
            mknodat(CWD, address.join(name), FileType::Fifo, Mode::RUSR, 0).unwrap();
        };
        let outside = folder.path().join("outside");
        fs::write(&outside, "not yours").unwrap();
        for name in [RUNNING, "running.new", PREVIOUS_CAUSE, PROBE] {
            fifo(name);
        }
        std::os::unix::fs::symlink(&outside, address.join(RUNNING_CAUSE)).unwrap();
        std::os::unix::fs::symlink("/proc/kmsg", address.join(PREVIOUS)).unwrap();
        let second = open(folder.path());
        assert_eq!(second.previous_run().unwrap(), None);
        fifo("running.new");
        second.record(b"one").unwrap();
        second.record_cause("limit");
        assert_eq!(fs::read_to_string(&outside).unwrap(), "not yours");
        let third = open(folder.path());
        let run = third.previous_run().unwrap().unwrap();
        assert_eq!(
            (&*run.document, run.cause.as_deref()),
            (&b"one"[..], Some("limit"))
        );
        // While the host runs.
        fs::remove_file(address.join(PREVIOUS)).unwrap();
        fifo(PREVIOUS);
        assert!(third.previous_run().is_err());
    }

    #[test]
    fn a_giant_document_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        let running = first.folder.clone().unwrap().join(RUNNING);
        fs::File::create(running).unwrap().set_len(1 << 40).unwrap();
        let second = open(folder.path());
        assert_eq!(document(&second).unwrap().len(), MAX_DOCUMENT_BYTES);
    }

    #[test]
    fn a_folder_in_the_place_of_a_file_disables_the_post_mortem_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let address = open(folder.path()).folder.unwrap();
        fs::create_dir(address.join(RUNNING)).unwrap();
        let post_mortem = open(folder.path());
        assert!(!post_mortem.is_enabled());
        let why = post_mortem.unusable().unwrap();
        assert!(why.ends_with("running.json is a folder"), "{why}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_disables_the_post_mortem() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let post_mortem = open(file.path());
        assert!(!post_mortem.is_enabled());
        post_mortem.record(b"one").unwrap();
        assert_eq!(post_mortem.previous_run().unwrap(), None);
    }
}
