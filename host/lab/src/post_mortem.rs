//! What is left after a death: the last readings of a host that was killed, kept for the next one.
//!
//! The kernel that kills a process at its memory limit asks nobody, so the readings have to be on disk
//! before. Every few seconds, if anything has changed, a running host replaces one file with what it knows;
//! one that stops in good order removes it. A file that a new host finds is therefore the last word of one
//! that died, and is kept until the next death.
//!
//! Two files at most, each bounded by [`DOCUMENT_MAX`], in a folder of their own for each address: two hosts
//! on one machine do not take each other for dead.

use std::fs;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The most that one document may have, in bytes.
pub const DOCUMENT_MAX: usize = 1 << 20;

/// How often the readings are written, when they have changed.
pub const WRITE_EVERY: Duration = Duration::from_secs(5);

/// How often when the limit is less than [`NEAR`] away.
pub const WRITE_EVERY_NEAR: Duration = Duration::from_secs(1);

/// The time to the limit from which on every second counts.
pub const NEAR: Duration = Duration::from_secs(60);

const RUNNING: &str = "running.json";
const RUNNING_CAUSE: &str = "running.cause";
const PREVIOUS: &str = "previous.json";
const PREVIOUS_CAUSE: &str = "previous.cause";

/// The readings of this run and what is left of the one before.
#[derive(Debug, Clone)]
pub struct PostMortem {
    folder: Option<PathBuf>,
    /// Whether the run has ended well. Held while a document is written: none comes after the end.
    ended: Arc<Mutex<bool>>,
}

/// What is left of a run that died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The last readings: a JSON document of this program's own making.
    pub document: Vec<u8>,
    /// When they were written.
    pub written: SystemTime,
    /// What the host itself said of its end; none when it had no time to say anything.
    pub cause: Option<String>,
}

impl PostMortem {
    /// Keeps nothing and knows nothing.
    pub fn off() -> Self {
        Self::of(None)
    }

    fn of(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            ended: Arc::default(),
        }
    }

    /// Takes what a dead host left in this folder, which is made if need be. A folder that cannot be written
    /// is said once in the log, and nothing is kept.
    ///
    /// To be called when the address is bound: a second host on the same address never gets that far, and
    /// so cannot declare the first one dead.
    pub fn open(folder: &Path, listen: SocketAddr) -> Self {
        let name = listen.to_string().replace([':', '[', ']', '%'], "-");
        let folder = folder.join(name);
        match bury(&folder) {
            Ok(()) => Self::of(Some(folder)),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "no post-mortem will be kept");
                Self::off()
            }
        }
    }

    /// Whether readings are kept.
    pub fn is_on(&self) -> bool {
        self.folder.is_some()
    }

    /// Replaces the readings of this run. A document over [`DOCUMENT_MAX`] is refused.
    ///
    /// # Errors
    /// When the folder cannot be written, or the document is too large.
    pub fn record(&self, document: &[u8]) -> io::Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        if document.len() > DOCUMENT_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{} bytes are too many", document.len()),
            ));
        }
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if *ended {
            return Ok(());
        }
        replace(&folder.join(RUNNING), document)
    }

    /// Notes why this run is about to end. Meant for the last moment: an error is of no use to anybody.
    pub fn note_cause(&self, cause: &str) {
        if let Some(folder) = &self.folder {
            let _too_late = fs::write(folder.join(RUNNING_CAUSE), cause);
        }
    }

    /// The run ends in good order: nothing of it is left.
    pub fn ended_well(&self) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended = true;
        if let Some(folder) = &self.folder {
            for file in [RUNNING, RUNNING_CAUSE] {
                let _absent = fs::remove_file(folder.join(file));
            }
        }
    }

    /// What is left of the last run that died.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn previous(&self) -> io::Result<Option<Death>> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        let path = folder.join(PREVIOUS);
        let file = match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let written = file.metadata()?.modified()?;
        let mut document = Vec::new();
        file.take(DOCUMENT_MAX as u64).read_to_end(&mut document)?;
        Ok(Some(Death {
            document,
            written,
            cause: fs::read_to_string(folder.join(PREVIOUS_CAUSE)).ok(),
        }))
    }
}

/// Makes the readings of a run that did not end well those of the previous one.
fn bury(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let (running, cause) = (folder.join(RUNNING), folder.join(RUNNING_CAUSE));
    if running.exists() {
        match fs::rename(&cause, folder.join(PREVIOUS_CAUSE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The cause of an older death is not that of this one.
                let _absent = fs::remove_file(folder.join(PREVIOUS_CAUSE));
            }
            renamed => renamed?,
        }
        fs::rename(running, folder.join(PREVIOUS))?;
    } else {
        let _absent = fs::remove_file(cause);
    }
    // Better to learn now than at the end that the folder takes nothing.
    let probe = folder.join("probe");
    fs::write(&probe, [])?;
    fs::remove_file(probe)
}

/// A reader, or a death in the middle, finds the old document or the new one, never a part.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, content)?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> PostMortem {
        PostMortem::open(folder, "127.0.0.1:8080".parse().unwrap())
    }

    fn document(post_mortem: &PostMortem) -> Option<Vec<u8>> {
        post_mortem.previous().unwrap().map(|death| death.document)
    }

    #[test]
    fn a_run_that_dies_leaves_its_last_document_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        assert_eq!(first.previous().unwrap(), None);
        first.record(b"one").unwrap();
        first.record(b"two").unwrap();
        first.note_cause("memory limit exceeded");
        drop(first);

        let second = open(folder.path());
        let death = second.previous().unwrap().unwrap();
        assert_eq!(death.document, b"two");
        assert_eq!(death.cause.as_deref(), Some("memory limit exceeded"));
        second.record(b"three").unwrap();
        assert_eq!(document(&second).as_deref(), Some(&b"two"[..]));
        drop(second);

        let third = open(folder.path());
        let death = third.previous().unwrap().unwrap();
        assert_eq!(death.document, b"three");
        assert_eq!(death.cause, None, "the second one had no time to say why");
    }

    #[test]
    fn a_run_that_ends_well_leaves_nothing_and_forgets_no_older_death() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        first.record(b"one").unwrap();
        drop(first);
        let second = open(folder.path());
        second.record(b"two").unwrap();
        second.note_cause("never mind");
        second.ended_well();
        second.record(b"too late").unwrap();
        let third = open(folder.path());
        let death = third.previous().unwrap().unwrap();
        assert_eq!(death.document, b"one");
        assert_eq!(death.cause, None);
    }

    #[test]
    fn hosts_on_other_addresses_are_not_dead() {
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
        assert!(first.record(&vec![b'x'; DOCUMENT_MAX + 1]).is_err());
        assert_eq!(document(&open(folder.path())).as_deref(), Some(&b"one"[..]));
    }

    #[test]
    fn a_folder_that_cannot_be_written_keeps_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let post_mortem = open(file.path());
        assert!(!post_mortem.is_on());
        post_mortem.record(b"one").unwrap();
        assert_eq!(post_mortem.previous().unwrap(), None);
    }
}
