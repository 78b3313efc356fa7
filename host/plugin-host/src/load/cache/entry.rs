//! One entry of the cache: machine code and the profiler's data in one file.
//!
//! ```text
//! magic  code bytes  data bytes  crc32 of code, of data, of the name, of this head | data | code
//! ```
//!
//! Numbers are little endian. An entry is one file, so its parts are always from the same
//! compilation. It has the checksum of its own name, so an entry that was renamed is damaged.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};

const MAGIC: [u8; 8] = *b"leakcode";
const HEAD_BYTES: usize = 8 + 8 + 8 + 4 + 4 + 4 + 4;

/// The head of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    code_bytes: u64,
    data_bytes: u64,
    code_crc: u32,
    data_crc: u32,
    name_crc: u32,
}

/// Writes the entry `name` to an empty file. `code` is read from its start.
///
/// # Errors
///
/// The system's errors.
pub(super) fn write(
    file: &mut File,
    name: &OsStr,
    code: &mut (impl Read + Seek),
    data: &[u8],
) -> io::Result<()> {
    // The head comes first and has the checksum of the code, which is known last.
    file.write_all(&[0; HEAD_BYTES])?;
    file.write_all(data)?;
    code.rewind()?;
    let (code_bytes, code_crc) = copy(code, file)?;
    file.rewind()?;
    let head = Head {
        code_bytes,
        data_bytes: data.len() as u64,
        code_crc,
        data_crc: crc32fast::hash(data),
        name_crc: crc32fast::hash(name.as_encoded_bytes()),
    };
    file.write_all(&head.to_bytes())
}

/// The bytes of an entry with so many bytes of code and data.
pub(super) fn size(code_bytes: u64, data_bytes: u64) -> u64 {
    code_bytes
        .saturating_add(data_bytes)
        .saturating_add(HEAD_BYTES as u64)
}

/// Copies the code of the entry `name`, of `length` bytes, to `code`, and returns the data.
///
/// What is checked is the copy, so a file that changes meanwhile is noticed too.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`], with what is wrong, for a damaged entry, and the system's errors.
pub(super) fn read(
    entry: &mut File,
    name: &OsStr,
    length: u64,
    code: &mut File,
) -> io::Result<Vec<u8>> {
    let mut head = [0; HEAD_BYTES];
    if length < HEAD_BYTES as u64 {
        return Err(damaged("it is too short"));
    }
    entry.read_exact(&mut head)?;
    let head = Head::from_bytes(&head).ok_or_else(|| damaged("its head is damaged"))?;
    if size(head.code_bytes, head.data_bytes) != length {
        return Err(damaged("its length is wrong"));
    }
    if head.name_crc != crc32fast::hash(name.as_encoded_bytes()) {
        return Err(damaged("it is another entry"));
    }
    let mut data = Vec::new();
    entry.take(head.data_bytes).read_to_end(&mut data)?;
    if data.len() as u64 != head.data_bytes || crc32fast::hash(&data) != head.data_crc {
        return Err(damaged("the checksum of its data is wrong"));
    }
    let copied = copy(&mut entry.take(head.code_bytes), code)?;
    if copied != (head.code_bytes, head.code_crc) {
        return Err(damaged("the checksum of its code is wrong"));
    }
    Ok(data)
}

/// Copies everything, and returns the number of bytes with their checksum.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, u32)> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    let mut length = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok((length, hasher.finalize()));
        };
        hasher.update(bytes);
        to.write_all(bytes)?;
        length += read as u64;
    }
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

impl Head {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.code_bytes.to_le_bytes());
        bytes.extend(self.data_bytes.to_le_bytes());
        bytes.extend(self.code_crc.to_le_bytes());
        bytes.extend(self.data_crc.to_le_bytes());
        bytes.extend(self.name_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend(crc.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let mut rest = bytes.as_slice();
        if *take(&mut rest)? != MAGIC {
            return None;
        }
        let head = Head {
            code_bytes: u64::from_le_bytes(*take(&mut rest)?),
            data_bytes: u64::from_le_bytes(*take(&mut rest)?),
            code_crc: u32::from_le_bytes(*take(&mut rest)?),
            data_crc: u32::from_le_bytes(*take(&mut rest)?),
            name_crc: u32::from_le_bytes(*take(&mut rest)?),
        };
        (head.to_bytes() == bytes).then_some(head)
    }
}

fn take<'b, const N: usize>(rest: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (first, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(first)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const CODE: &[u8] = b"machine code";
    const DATA: &[u8] = b"side data";

    fn bytes() -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        let name = OsStr::new("a");
        write(&mut file, name, &mut Cursor::new(CODE), DATA).unwrap();
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn read_back(bytes: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        read_named("a", bytes)
    }

    fn read_named(name: &str, bytes: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut entry = tempfile::tempfile().unwrap();
        entry.write_all(bytes).unwrap();
        entry.rewind().unwrap();
        let mut copy = tempfile::tempfile().unwrap();
        let length = bytes.len() as u64;
        let data = read(&mut entry, OsStr::new(name), length, &mut copy)?;
        let mut code = Vec::new();
        copy.rewind().unwrap();
        copy.read_to_end(&mut code).unwrap();
        Ok((code, data))
    }

    #[test]
    fn an_entry_is_read_back() {
        let bytes = bytes();
        assert_eq!(bytes.len() as u64, size(12, 9));
        assert_eq!(read_back(&bytes).unwrap(), (CODE.into(), DATA.into()));
        let renamed = read_named("b", &bytes).unwrap_err();
        assert_eq!(renamed.to_string(), "it is another entry");
    }

    #[test]
    fn every_flipped_byte_and_every_length_is_noticed() {
        let bytes = bytes();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let error = read_back(&flipped).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "byte {at}");
            let error = read_back(&bytes[..at]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{at} bytes");
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert!(read_back(&longer).is_err());
        assert!(read_back(&vec![0; bytes.len()]).is_err());
    }
}
