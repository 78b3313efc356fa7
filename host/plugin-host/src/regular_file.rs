//! Reads files in folders that other programs write to.
//!
//! A name in such a folder can belong to a FIFO, a device, a link into `/proc`, a sparse file of
//! terabytes, or a file that somebody is still writing. To open or to read one of those can block
//! for ever or take all memory. So the host opens only regular files, and reads at most as many
//! bytes as the file had when it was opened.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, statfs};

/// File systems whose files are views of the kernel's state (statfs(2)). Their sizes say nothing,
/// and some reads wait for an event.
const KERNEL_FILE_SYSTEMS: [(u64, &str); 7] = [
    (0x9fa0, "procfs"),
    (0x6265_6572, "sysfs"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
];

/// Opens a regular file for reading, and follows links to it. Never blocks on a FIFO or a device,
/// and never opens one.
///
/// # Errors
///
/// The system's errors; [`ErrorKind::InvalidInput`], with the reason, for anything but a regular
/// file of a file system that stores data.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // Before the open, because opening some of these does something.
    check_type(fs::metadata(path)?.file_type())?;
    check_file_system(path)?;
    let file = OpenOptions::new()
        .read(true)
        // The name may have got another file meanwhile.
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    check_type(metadata.file_type())?;
    Ok((file, metadata))
}

/// Reads a regular file of at most `max_bytes` bytes.
///
/// # Errors
///
/// Those of [`open`]; [`ErrorKind::FileTooLarge`] for a larger file; [`ErrorKind::ResourceBusy`]
/// for a file that changes its length while it is read.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let (file, metadata) = open(path)?;
    let length = metadata.len();
    if length > max_bytes {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it has {length} bytes; the limit is {max_bytes}"),
        ));
    }
    read_opened(&file, length)
}

/// Reads an opened file that has `length` bytes.
///
/// # Errors
///
/// The system's errors, and [`ErrorKind::ResourceBusy`] if it has another length now.
pub fn read_opened(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let capacity = usize::try_from(length).map_err(io::Error::other)?;
    bytes.try_reserve_exact(capacity)?;
    file.take(length).read_to_end(&mut bytes)?;
    let more = { file }.read(&mut [0])?;
    if bytes.len() as u64 != length || more > 0 {
        return Err(io::Error::new(
            ErrorKind::ResourceBusy,
            "its length has changed while it was read",
        ));
    }
    Ok(bytes)
}

fn check_type(kind: FileType) -> io::Result<()> {
    match name_of(kind) {
        None => Ok(()),
        Some(kind) => Err(not_regular(kind)),
    }
}

/// What a file is if it is not a regular file.
fn name_of(kind: FileType) -> Option<&'static str> {
    [
        (kind.is_dir(), "a folder"),
        (kind.is_fifo(), "a FIFO"),
        (kind.is_socket(), "a socket"),
        (kind.is_char_device(), "a character device"),
        (kind.is_block_device(), "a block device"),
        (!kind.is_file(), "no regular file"),
    ]
    .into_iter()
    .find_map(|(is, name)| is.then_some(name))
}

fn check_file_system(path: &Path) -> io::Result<()> {
    // The type is signed or not, and of 32 or 64 bits, as the processor has it.
    let magic = statfs(path)?.f_type as u64 & 0xffff_ffff;
    let found = KERNEL_FILE_SYSTEMS
        .iter()
        .find(|(known, _)| *known == magic);
    match found {
        None => Ok(()),
        Some((_, name)) => Err(not_regular(&format!("a view of the kernel ({name})"))),
    }
}

fn not_regular(kind: &str) -> io::Error {
    io::Error::new(
        ErrorKind::InvalidInput,
        format!("it is {kind}; only regular files are read"),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_regular_file_is_read_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "content").unwrap();
        symlink(&file, &link).unwrap();
        assert_eq!(read(&link, 7).unwrap(), b"content");
        let error = read(&link, 6).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it has 7 bytes; the limit is 6");
    }

    #[test]
    fn everything_else_is_refused_with_the_reason_and_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink("/dev/zero", at("device")).unwrap();
        symlink("/proc/self/maps", at("proc")).unwrap();
        symlink("/proc/kmsg", at("kmsg")).unwrap();
        symlink("/sys/kernel/mm/transparent_hugepage/enabled", at("sysfs")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("missing", at("dangling")).unwrap();
        for (name, reason) in [
            ("", "it is a folder; only regular files are read"),
            ("fifo", "it is a FIFO; only"),
            ("socket", "it is a socket; only"),
            ("device", "it is a character device; only"),
            ("proc", "it is a view of the kernel (procfs); only"),
            ("loop", "symbolic links"),
            ("dangling", "No such file"),
        ] {
            let error = read(&at(name), 1 << 20).unwrap_err().to_string();
            assert!(error.contains(reason), "{name}: {error}");
        }
        // Not every system has these, or lets everybody open them.
        for name in ["kmsg", "sysfs"] {
            assert!(read(&at(name), 1 << 20).is_err(), "{name}");
        }
    }

    #[test]
    fn a_sparse_giant_takes_no_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 40).unwrap();
        let error = read(file.path(), 64 << 20).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_file_that_grows_or_shrinks_is_not_read_half() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "12345").unwrap();
        for length in [4, 6] {
            let (opened, _) = open(file.path()).unwrap();
            let error = read_opened(&opened, length).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceBusy);
        }
    }
}
