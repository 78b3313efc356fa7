//! How much of the plugins' memories is in RAM.
//!
//! A plugin is granted memory that it may never touch: its stack, the profiler's tables. The kernel says what is resident
//! of each mapping (`/proc/self/smaps`, proc_pid_smaps(5)). A wasm memory is told from other mappings by what follows it:
//! the address space that it may grow into, which the engine has reserved without any access, gigabytes of it. Whose it
//! is, a plugin's or the profiler's, is told by its size.
//!
//! A reading costs a few microseconds for each mapping, so it is taken [seldom](super::seldom).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

use super::cached_reading::CachedReading;

/// No other mapping without access is as large as what a wasm memory may grow into.
const RESERVED_MIN: u64 = 1 << 30;

/// What is resident of all plugins' memories, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resident {
    /// Of their linear memories.
    pub linear: u64,
    /// Of the profiler's tables in the guests.
    pub profiler: u64,
}

/// Sizes that plugins' memories have, in bytes: linear memory and the profiler's, as granted.
#[derive(Debug, Default)]
pub struct Granted(HashMap<u64, [u32; 2]>);

impl Granted {
    /// Adds those of one plugin.
    pub fn add(&mut self, linear: u64, profiler: u64) {
        for (size, whose) in [(linear, [1, 0]), (profiler, [0, 1])] {
            let counts = self.0.entry(size).or_default();
            for (count, more) in counts.iter_mut().zip(whose) {
                *count += more;
            }
        }
    }

    /// Tells memories that were found by their sizes.
    fn divide(&self, memories: &[Memory]) -> Resident {
        let mut resident = Resident::default();
        for memory in memories {
            // One of an unknown size has just grown, or a component has several: linear memory.
            let [linear, profiler] = self.0.get(&memory.size).copied().unwrap_or([1, 0]);
            let of_profiler =
                memory.resident * u64::from(profiler) / u64::from(linear + profiler).max(1);
            resident.profiler += of_profiler;
            resident.linear += memory.resident - of_profiler;
        }
        resident
    }
}

/// Reads the kernel's account, and remembers it for a while.
#[derive(Debug, Default)]
pub struct WasmMemories(CachedReading<Vec<Memory>>);

impl WasmMemories {
    /// What is resident now, or was a moment ago; none where the kernel does not say.
    pub fn resident(&self, granted: &Granted) -> Option<Resident> {
        let read = || read(BufReader::new(File::open("/proc/self/smaps").ok()?)).ok();
        self.0.with(read, |memories| granted.divide(memories))
    }
}

/// A wasm memory as the kernel sees it, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    size: u64,
    resident: u64,
}

/// A run of mappings without a gap that can be read and written.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    end: u64,
    memory: Option<Memory>,
}

/// Finds the memories in the text of `smaps`.
fn read(mut smaps: impl BufRead) -> io::Result<Vec<Memory>> {
    let mut memories = Vec::new();
    let mut run = Run::default();
    let mut line = String::new();
    while smaps.read_line(&mut line)? > 0 {
        if let Some((start, end, access)) = mapping(&line) {
            let follows = run.end == start;
            let size = end.saturating_sub(start);
            let before = run.memory.take().filter(|_| follows);
            if access.starts_with("rw") {
                let memory = before.unwrap_or(Memory {
                    size: 0,
                    resident: 0,
                });
                run.memory = Some(Memory {
                    size: memory.size + size,
                    ..memory
                });
            } else if access.starts_with("---") && size >= RESERVED_MIN {
                memories.extend(before);
            }
            run.end = end;
        } else if let (Some(memory), Some(kibibytes)) =
            (&mut run.memory, line.strip_prefix("Anonymous:"))
        {
            // What of an initialised page nobody has written to is a page of the file, and counts as code.
            let kibibytes = kibibytes.trim().trim_end_matches(" kB").parse::<u64>();
            memory.resident += kibibytes.unwrap_or(0) * 1024;
        }
        line.clear();
    }
    Ok(memories)
}

/// The line that a mapping begins with: `7f00-7f10 rw-p 0000 00:00 0 …`.
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
    fn memories_are_what_can_be_written_before_much_that_cannot() {
        let memory = |size, resident| Memory { size, resident };
        assert_eq!(
            read(SMAPS.as_bytes()).unwrap(),
            [memory(0x18_0000, 24 << 10), memory(0x1_0000, 64 << 10)]
        );
    }

    #[test]
    fn memories_belong_to_whom_their_size_was_granted() {
        let memories: Vec<_> = [(100, 10), (200, 20), (300, 30), (400, 40)]
            .map(|(size, resident)| Memory { size, resident })
            .into();
        let mut granted = Granted::default();
        granted.add(100, 200);
        granted.add(300, 300);
        let resident = granted.divide(&memories);
        assert_eq!(
            resident,
            Resident {
                linear: 10 + 15 + 40,
                profiler: 20 + 15
            }
        );
    }
}
