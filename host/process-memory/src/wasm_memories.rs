//! The resident part of the plugins' wasm memories.
//!
//! A plugin may never touch some of its granted memory, such as its stack or the profiler's tables.
//! The kernel reports the resident bytes of each mapping (`/proc/self/smaps`, proc_pid_smaps(5)). A
//! wasm memory is a writable mapping that is followed by the gigabytes of address space that it may
//! grow into, which the engine has reserved without access rights. The size of a memory tells
//! whether it belongs to a plugin or to the profiler.
//!
//! A reading costs a few microseconds per mapping, so it goes through a [`CachedReading`].

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

use crate::cached_reading::CachedReading;

/// Bytes. No other mapping without access rights is as large as the reserve of a wasm memory.
const MIN_RESERVED: u64 = 1 << 30;

/// Resident or granted bytes of all plugins' memories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WasmBytes {
    /// Bytes of the linear memories.
    pub linear: u64,
    /// Bytes of the profiler's tables in the guests.
    pub profiler: u64,
}

/// The sizes of all plugins' memories as granted. For each size in bytes: the number of linear
/// memories, and the number of profiler memories.
#[derive(Debug, Default)]
pub struct GrantedSizes(HashMap<u64, [u32; 2]>);

impl GrantedSizes {
    /// Adds the two memories of one plugin, in bytes.
    pub fn add(&mut self, linear: u64, profiler: u64) {
        for (size, kind) in [(linear, [1, 0]), (profiler, [0, 1])] {
            let counts = self.0.entry(size).or_default();
            for (count, more) in counts.iter_mut().zip(kind) {
                *count += more;
            }
        }
    }

    /// Splits the resident bytes into linear memory and profiler, by the sizes of the memories.
    fn split(&self, memories: &[WasmMemory]) -> WasmBytes {
        let mut resident = WasmBytes::default();
        for memory in memories {
            // An unknown size is linear memory: it has just grown, or its component has several.
            let [linear, profiler] = self.0.get(&memory.size).copied().unwrap_or([1, 0]);
            let of_profiler =
                memory.resident * u64::from(profiler) / u64::from(linear + profiler).max(1);
            resident.profiler += of_profiler;
            resident.linear += memory.resident - of_profiler;
        }
        resident
    }
}

/// Reads the wasm memories of this process from `smaps`, at a bounded cost.
#[derive(Debug, Default)]
pub struct WasmMemories(CachedReading<Vec<WasmMemory>>);

impl WasmMemories {
    /// The resident bytes of the current reading. `None` where the kernel does not report them.
    pub fn resident(&self, granted: &GrantedSizes) -> Option<WasmBytes> {
        let read = || read(BufReader::new(File::open("/proc/self/smaps").ok()?)).ok();
        self.0.with(read, |memories| granted.split(memories))
    }
}

/// One wasm memory in the kernel's list of mappings, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WasmMemory {
    size: u64,
    resident: u64,
}

/// Adjacent mappings that can be read and written.
#[derive(Debug, Clone, Copy, Default)]
struct WritableRange {
    end: u64,
    memory: Option<WasmMemory>,
}

/// Finds the wasm memories in the text of `smaps`.
fn read(mut smaps: impl BufRead) -> io::Result<Vec<WasmMemory>> {
    let mut memories = Vec::new();
    let mut range = WritableRange::default();
    let mut line = String::new();
    while smaps.read_line(&mut line)? > 0 {
        if let Some((start, end, access)) = mapping(&line) {
            let is_adjacent = range.end == start;
            let size = end.saturating_sub(start);
            let before = range.memory.take().filter(|_| is_adjacent);
            if access.starts_with("rw") {
                let memory = before.unwrap_or(WasmMemory {
                    size: 0,
                    resident: 0,
                });
                range.memory = Some(WasmMemory {
                    size: memory.size + size,
                    ..memory
                });
            } else if access.starts_with("---") && size >= MIN_RESERVED {
                memories.extend(before);
            }
            range.end = end;
        } else if let (Some(memory), Some(kibibytes)) =
            (&mut range.memory, line.strip_prefix("Anonymous:"))
        {
            // An initialised page without a write is still a page of the file, and counts as code.
            let kibibytes = kibibytes.trim().trim_end_matches(" kB").parse::<u64>();
            memory.resident += kibibytes.unwrap_or(0) * 1024;
        }
        line.clear();
    }
    Ok(memories)
}

/// Start, end and access rights in the first line of a mapping: `7f00-7f10 rw-p 0000 00:00 0 …`.
fn mapping(line: &str) -> Option<(u64, u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    Some((address(start)?, address(end)?, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
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
7f0002180000-7f0102180000 ---p 00000000 00:00 0
Rss:                   0 kB
Anonymous:             0 kB
7f0200000000-7f0200010000 rw-p 00000000 00:00 0
Anonymous:            64 kB
7f0200010000-7f0300010000 ---p 00000000 00:00 0
7f0400000000-7f0400010000 rw-p 00000000 00:00 0
Anonymous:            64 kB
7f0400010000-7f0400020000 ---p 00000000 00:00 0
VmFlags: mr mw me sd
";

    #[test]
    fn a_memory_is_a_writable_range_before_a_large_reserve() {
        let memory = |size, resident| WasmMemory { size, resident };
        assert_eq!(
            read(SMAPS.as_bytes()).unwrap(),
            [memory(0x18_0000, 24 << 10), memory(0x1_0000, 64 << 10)]
        );
    }

    #[test]
    fn the_size_of_a_memory_tells_its_kind() {
        let memories: Vec<_> = [(100, 10), (200, 20), (300, 30), (400, 40)]
            .map(|(size, resident)| WasmMemory { size, resident })
            .into();
        let mut granted = GrantedSizes::default();
        granted.add(100, 200);
        granted.add(300, 300);
        let resident = granted.split(&memories);
        assert_eq!(
            resident,
            WasmBytes {
                linear: 10 + 15 + 40,
                profiler: 20 + 15
            }
        );
    }
}
