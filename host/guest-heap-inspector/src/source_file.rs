//! Source files around the lines that a heap names.
//!
//! A host is not a file server. It shows only files that a call stack of the guest's own heap
//! names, and only below the folders that it was given.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use guest_heap::snapshot::Snapshot;

use crate::query::InvalidParameter;

/// The largest source file that is shown.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Lines before and after the wanted one, unless a query has a `context`.
const DEFAULT_CONTEXT_LINES: usize = 12;

/// The largest `context`.
const MAX_CONTEXT_LINES: usize = 200;

/// Reads a file of at most so many bytes.
type ReadFile = fn(&Path, u64) -> io::Result<Vec<u8>>;

/// The folders with sources, in the order in which they are searched.
#[derive(Debug, Clone)]
pub struct SourceRoots {
    roots: Vec<PathBuf>,
    read: ReadFile,
}

/// The text of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    /// The whole file.
    pub text: String,
    /// When the file was changed last, if the system knows.
    pub modified: Option<SystemTime>,
}

/// Some lines of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The number of the first line in `lines`, from 1.
    pub first_line: usize,
    /// The lines without their ends.
    pub lines: Vec<String>,
}

impl SourceRoots {
    /// The files below these folders.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self::with_reader(roots, read_regular_file)
    }

    /// The same with a way to read files of the host's own.
    pub fn with_reader(roots: Vec<PathBuf>, read: ReadFile) -> Self {
        Self { roots, read }
    }

    /// Whether there is no folder.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Reads a file, whose path is relative, below the first folder that has it.
    ///
    /// # Errors
    ///
    /// When no folder has the file, when it lies outside of the folders, when a part of its path is
    /// hidden, or when it has more than [`MAX_FILE_BYTES`].
    pub fn read(&self, file: &str) -> io::Result<SourceText> {
        let mut failure = io::Error::from(ErrorKind::NotFound);
        for root in &self.roots {
            match self.read_below(root, file) {
                Ok(text) => return Ok(text),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn read_below(&self, root: &Path, file: &str) -> io::Result<SourceText> {
        let path = below(root, file)?;
        let bytes = (self.read)(&path, MAX_FILE_BYTES)?;
        Ok(SourceText {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            modified: fs::metadata(&path).and_then(|file| file.modified()).ok(),
        })
    }
}

impl SourceText {
    /// The lines around `line`, which counts from 1.
    pub fn excerpt(&self, line: u32, context: usize) -> Excerpt {
        let wanted = line as usize;
        let first = wanted.saturating_sub(context).max(1);
        let lines = self.text.lines().skip(first - 1);
        Excerpt {
            first_line: first,
            lines: lines
                .take(wanted + context + 1 - first)
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// The number of lines before and after the wanted one.
///
/// # Errors
///
/// When it is not a whole number from 0 to 200.
pub fn context(value: Option<&str>) -> Result<usize, InvalidParameter> {
    match value.map(str::parse) {
        None => Ok(DEFAULT_CONTEXT_LINES),
        Some(Ok(lines)) if lines <= MAX_CONTEXT_LINES => Ok(lines),
        Some(_) => Err(InvalidParameter {
            name: "context",
            accepts: "takes a whole number from 0 to 200",
        }),
    }
}

/// The file and the line of a location such as `src/lib.rs:42`.
///
/// # Errors
///
/// When there is no line number, or when it is 0.
pub fn split_location(location: &str) -> Result<(&str, u32), InvalidParameter> {
    let split = location.rsplit_once(':');
    let split = split.and_then(|(file, line)| Some((file, line.parse().ok()?)));
    split.filter(|(_, line)| *line > 0).ok_or(InvalidParameter {
        name: "location",
        accepts: "takes FILE:LINE, as in src/lib.rs:42",
    })
}

/// Whether a call stack of this heap has the line. Takes some milliseconds for a large heap.
pub fn is_named(snapshot: &Snapshot, file: &str, line: u32) -> bool {
    snapshot.entries().iter().any(|entry| {
        let frames = snapshot.frames(&entry.context);
        let mut frames = frames.iter();
        frames.any(|frame| frame.line == Some(line) && frame.file.as_deref() == Some(file))
    })
}

/// The file's real path, if it is below the root and no part of it is a hidden file or folder.
fn below(root: &Path, file: &str) -> io::Result<PathBuf> {
    let is_visible = |component: Component<'_>| matches!(component, Component::Normal(name) if !name.as_encoded_bytes().starts_with(b"."));
    if !Path::new(file).components().all(is_visible) {
        return Err(ErrorKind::PermissionDenied.into());
    }
    let (root, path) = (fs::canonicalize(root)?, fs::canonicalize(root.join(file))?);
    if path.starts_with(&root) {
        Ok(path)
    } else {
        Err(ErrorKind::PermissionDenied.into())
    }
}

/// Reads a regular file. Does not open anything else: a FIFO, for example, could block for ever.
fn read_regular_file(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(ErrorKind::InvalidInput.into());
    }
    if metadata.len() > max_bytes {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(roots: &SourceRoots, file: &str) -> Option<String> {
        roots.read(file).ok().map(|source| source.text)
    }

    #[test]
    fn the_first_root_that_has_a_file_wins() {
        let folder = tempfile::tempdir().unwrap();
        let roots = ["a", "b"].map(|name| folder.path().join(name));
        for root in &roots {
            fs::create_dir(root).unwrap();
            let name = root.file_name().unwrap().as_encoded_bytes();
            fs::write(root.join("both.py"), name).unwrap();
        }
        fs::write(roots[1].join("app.py"), "app").unwrap();
        let roots = SourceRoots::new(roots.to_vec());
        assert_eq!(text(&roots, "app.py").as_deref(), Some("app"));
        assert_eq!(text(&roots, "both.py").as_deref(), Some("a"));
        assert_eq!(text(&roots, "none.py"), None);
        assert_eq!(text(&roots, "../b/app.py"), None);
        assert_eq!(text(&SourceRoots::new(Vec::new()), "app.py"), None);
    }

    #[test]
    fn files_outside_the_root_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("checkout");
        fs::create_dir_all(root.join("plugins/cache")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::write(root.join("plugins/cache/lib.rs"), "one\ntwo\n").unwrap();
        fs::write(root.join(".git/config"), "secret").unwrap();
        fs::write(root.join("plugins/.env"), "secret").unwrap();
        let outside = folder.path().join("outside.rs");
        fs::write(&outside, "secret").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("plugins/link.rs")).unwrap();
        std::os::unix::fs::symlink(folder.path(), root.join("plugins/up")).unwrap();
        let roots = SourceRoots::new(vec![root]);
        let inside = text(&roots, "plugins/cache/lib.rs");
        assert_eq!(inside.as_deref(), Some("one\ntwo\n"));
        for outside in [
            "../outside.rs",
            "plugins/../../outside.rs",
            "plugins/link.rs",
            "plugins/up/outside.rs",
            ".git/config",
            "plugins/.env",
            "./plugins/cache/lib.rs",
            "",
            "plugins",
            "/etc/hostname",
            outside.to_str().unwrap(),
            "plugins/cache/lib.rs\0.txt",
        ] {
            assert_eq!(text(&roots, outside), None, "{outside:?}");
        }
    }

    #[test]
    fn a_file_over_the_size_limit_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let bytes = vec![b'x'; MAX_FILE_BYTES as usize + 1];
        fs::write(root.path().join("big.rs"), bytes).unwrap();
        assert!(
            SourceRoots::new(vec![root.path().to_owned()])
                .read("big.rs")
                .is_err()
        );
    }

    #[test]
    fn a_location_is_a_file_and_a_line_number() {
        assert_eq!(split_location("a/b.rs:7").unwrap(), ("a/b.rs", 7));
        for wrong in ["", "a/b.rs", "a/b.rs:", "a/b.rs:0", "a/b.rs:-1", "a/b.rs:x"] {
            assert!(split_location(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_excerpt_ends_with_the_file() {
        let source = SourceText {
            text: "1\n2\n3\n4\n5\n".to_owned(),
            modified: None,
        };
        let lines = |line, context| {
            let excerpt = source.excerpt(line, context);
            (excerpt.first_line, excerpt.lines.join(","))
        };
        assert_eq!(lines(3, 1), (2, "2,3,4".to_owned()));
        assert_eq!(lines(1, 2), (1, "1,2,3".to_owned()));
        assert_eq!(lines(5, 2), (3, "3,4,5".to_owned()));
        assert_eq!(lines(9, 1), (8, String::new()));
    }
}
