//! Finds wasm memories in the kernel's list of mappings, `/proc/self/smaps`.

use std::io::{self, BufRead};

/// Bytes that the engine reserves for each memory at least, with those that the memory has.
const RESERVED: u64 = 4 << 30;

/// What the kernel's list of mappings says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mappings {
    pub(super) memories: Vec<WasmMemory>,
    /// Resident anonymous bytes in mappings of files, without those of wasm memories.
    pub(super) file_copies: u64,
}

/// One wasm memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WasmMemory {
    pub(super) size: u64,
    pub(super) resident: u64,
}

/// Adjacent mappings: writable ones, and then reserved ones.
#[derive(Debug, Clone, Copy, Default)]
struct Range {
    start: u64,
    end: u64,
    memory: WasmMemory,
    /// Bytes of its memory that are changed pages of files.
    file_copies: u64,
    /// Whether it has reserved mappings already.
    is_reserve: bool,
    /// Whether another range with reserved mappings is directly before it.
    has_guard: bool,
}

impl Mappings {
    /// Takes over a range that has no more mappings.
    fn finish(&mut self, range: Range) {
        let length = range.end.saturating_sub(range.start);
        if range.has_guard && range.is_reserve && range.memory.size > 0 && length >= RESERVED {
            self.memories.push(range.memory);
        } else {
            self.file_copies += range.file_copies;
        }
    }
}

/// Finds the wasm memories in the text of `smaps`.
pub(super) fn read(mut smaps: impl BufRead) -> io::Result<Mappings> {
    let mut mappings = Mappings::default();
    let mut range = Range::default();
    // Whether the current mapping is writable, and whether it is of a file.
    let (mut is_writable, mut is_file) = (false, false);
    let mut line = String::new();
    while smaps.read_line(&mut line)? > 0 {
        if let Some(mapping) = mapping(&line) {
            is_writable = mapping.access.starts_with("rw");
            is_file = mapping.is_file;
            let is_reserved = mapping.access.starts_with("---");
            let continues =
                range.end == mapping.start && (is_reserved || (is_writable && !range.is_reserve));
            if !continues {
                mappings.finish(range);
                range = Range {
                    start: mapping.start,
                    has_guard: range.is_reserve && range.end == mapping.start,
                    ..Range::default()
                };
            }
            range.end = mapping.end;
            range.is_reserve |= is_reserved;
            if is_writable {
                range.memory.size += mapping.end.saturating_sub(mapping.start);
            }
        } else if let Some(kibibytes) = line.strip_prefix("Anonymous:") {
            // An initialised page without a write is still a page of the file, and counts as code.
            let kibibytes = kibibytes.trim().trim_end_matches(" kB").parse::<u64>();
            let bytes = kibibytes.unwrap_or(0) * 1024;
            if is_writable {
                range.memory.resident += bytes;
            }
            if is_file {
                range.file_copies += bytes;
            }
        }
        line.clear();
    }
    mappings.finish(range);
    Ok(mappings)
}

/// The first line of a mapping: `7f00-7f10 rw-p 0000 00:00 0 …`.
struct Mapping<'l> {
    start: u64,
    end: u64,
    access: &'l str,
    is_file: bool,
}

fn mapping(line: &str) -> Option<Mapping<'_>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    Some(Mapping {
        start: address(start)?,
        end: address(end)?,
        access: words.next()?,
        // After the offset, the device and the inode.
        is_file: words.nth(3).is_some_and(|name| name.starts_with('/')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0b0000000-55d0b0100000 r--p 00000000 fe:00 41                         /bin/host
Rss:                 900 kB
Anonymous:            96 kB
55d0b0100000-55d0b0200000 rw-p 00000000 fe:00 41                         /bin/host
Anonymous:             4 kB
55d0c0000000-55d0c0100000 rw-p 00000000 00:00 0                          [heap]
Rss:                 900 kB
Anonymous:           900 kB
7f0000000000-7f0002000000 ---p 00000000 00:00 0
Rss:                   0 kB
Anonymous:             0 kB
7f0002000000-7f0002001000 rw-p 00000000 00:00 0
Rss:                   4 kB
Anonymous:             4 kB
7f0002001000-7f0002002000 rw-p 00010000 fe:00 42                         /some/where/x.cwasm
Rss:                   4 kB
Anonymous:             0 kB
7f0002002000-7f0002180000 rw-p 00000000 00:00 0
Rss:                  20 kB
Anonymous:            20 kB
7f0002180000-7f0104000000 ---p 00000000 00:00 0
Rss:                   0 kB
Anonymous:             0 kB
7f01fe000000-7f0200000000 ---p 00000000 00:00 0
7f0200000000-7f0200010000 rw-p 00000000 00:00 0
Anonymous:            64 kB
7f0200010000-7f0302000000 ---p 00000000 00:00 0
7f0302000000-7f03f2000000 rw-p 00000000 00:00 0
Anonymous:       3932160 kB
7f03f2000000-7f0400000000 ---p 00000000 00:00 0
7f0400000000-7f0404000000 ---p 00000000 00:00 0
7f0500000000-7f0500010000 rw-p 00000000 00:00 0
Anonymous:            64 kB
7f0500010000-7f0500020000 ---p 00000000 00:00 0
7f0600000000-7f0600010000 rw-p 00000000 00:00 0                          an arena
Anonymous:            64 kB
7f0600010000-7f0704000000 ---p 00000000 00:00 0                          a memory without pages
VmFlags: mr mw me sd
";

    fn memory(size: u64, resident: u64) -> WasmMemory {
        WasmMemory { size, resident }
    }

    #[test]
    fn a_memory_is_a_writable_range_whose_reserve_makes_it_4_gib() {
        let mappings = read(SMAPS.as_bytes()).unwrap();
        assert_eq!(
            mappings,
            Mappings {
                memories: vec![
                    memory(0x18_0000, 24 << 10),
                    memory(0x1_0000, 64 << 10),
                    // 3.75 GiB, with little reserve left.
                    memory(0xf000_0000, 3840 << 20),
                ],
                file_copies: 100 << 10,
            }
        );
    }
}
