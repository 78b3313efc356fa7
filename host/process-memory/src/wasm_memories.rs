//! The resident part of the plugins' wasm memories.
//!
//! A plugin may never touch some of its granted memory, such as its stack or the profiler's tables.
//! The kernel reports the resident bytes of each mapping (`/proc/self/smaps`, proc_pid_smaps(5)). A
//! wasm memory is a writable mapping between two that the engine has reserved without access
//! rights: a guard before it, and the address space that it may grow into. With the latter it has
//! at least 4 GiB. The size of a memory tells whether it belongs to a plugin or to the profiler.
//!
//! A reading costs a few microseconds per mapping and some milliseconds per gigabyte, so it goes
//! through a [`CachedReading`] and may be seconds old, while memory can grow by a gigabyte per
//! second. So what has changed since then comes from the sum of all anonymous memory, which is
//! cheap to read: what neither the host's heap has added nor was there before belongs to the
//! plugins. The allocator may keep pages that the host has freed, or return them later; neither
//! counts as the plugins', whose memory shrinks only with an instance. A plugin that is loaded adds
//! other memory too, such as its code. So a reading is refreshed sooner when the number of plugins
//! has changed, or when an instance has gone.

mod smaps;

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;

use self::smaps::{Mappings, WasmMemory};
use crate::cached_reading::CachedReading;

/// Resident or granted bytes of all plugins' memories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WasmBytes {
    /// Bytes of the linear memories.
    pub linear: u64,
    /// Bytes of the profiler's tables in the guests.
    pub profiler: u64,
}

impl WasmBytes {
    fn total(self) -> u64 {
        self.linear.saturating_add(self.profiler)
    }
}

/// The anonymous memory of the process at one time, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnonymousBytes {
    /// All of it that is resident.
    pub resident: u64,
    /// What the host's allocator has in use.
    pub heap_in_use: u64,
}

/// Resident anonymous bytes of what is not the host's heap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnonymousParts {
    /// The plugins' memories.
    pub wasm: WasmBytes,
    /// Pages of mapped files that the process has changed: its relocations and static variables.
    pub file_copies: u64,
}

/// The sizes of all plugins' memories as granted. For each size in bytes: the number of linear
/// memories, and the number of profiler memories.
#[derive(Debug, Default)]
pub struct GrantedSizes {
    counts: HashMap<u64, [u32; 2]>,
    granted: WasmBytes,
    plugins: usize,
}

impl GrantedSizes {
    /// Adds the two memories of one plugin, in bytes.
    pub fn add(&mut self, linear: u64, profiler: u64) {
        self.plugins += 1;
        self.granted.linear += linear;
        self.granted.profiler += profiler;
        for (size, kind) in [(linear, [1, 0]), (profiler, [0, 1])] {
            let counts = self.counts.entry(size).or_default();
            for (count, more) in counts.iter_mut().zip(kind) {
                *count += more;
            }
        }
    }

    /// The sums of all sizes.
    pub fn granted(&self) -> WasmBytes {
        self.granted
    }

    /// Splits the resident bytes into linear memory and profiler, by the sizes of the memories.
    fn split(&self, memories: &[WasmMemory]) -> WasmBytes {
        let mut resident = WasmBytes::default();
        for memory in memories {
            // An unknown size is linear memory: it has just grown, or its component has several.
            let [linear, profiler] = self.counts.get(&memory.size).copied().unwrap_or([1, 0]);
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
pub struct WasmMemories(CachedReading<Reading>);

/// The mappings, and the anonymous memory at that time.
#[derive(Debug)]
struct Reading {
    mappings: Mappings,
    anonymous: AnonymousBytes,
    /// The number of plugins that were known.
    plugins: usize,
    /// The bytes that these were granted.
    granted: u64,
}

impl WasmMemories {
    /// Makes the next call read the mappings again, whatever that costs.
    pub fn forget(&self) {
        self.0.forget();
    }

    /// The parts of the anonymous memory `now`. `read_now` reads the same numbers at the time of
    /// its call. `None` where the kernel does not report the resident bytes of mappings.
    pub fn resident(
        &self,
        granted: &GrantedSizes,
        now: AnonymousBytes,
        read_now: impl Fn() -> Option<AnonymousBytes>,
    ) -> Option<AnonymousParts> {
        let read = || {
            let before = read_now()?;
            let smaps = BufReader::new(File::open("/proc/self/smaps").ok()?);
            let mappings = smaps::read(smaps).ok()?;
            let after = read_now()?;
            Some(Reading {
                mappings,
                // Memory that grows meanwhile is read half before and half after its growth.
                anonymous: AnonymousBytes {
                    resident: before.resident.midpoint(after.resident),
                    heap_in_use: before.heap_in_use.midpoint(after.heap_in_use),
                },
                plugins: granted.plugins,
                granted: granted.granted.total(),
            })
        };
        let is_outdated = |reading: &Reading| {
            reading.plugins != granted.plugins || granted.granted.total() < reading.granted
        };
        self.0
            .with_current(is_outdated, read, |reading| reading.parts(granted, now))
    }
}

impl Reading {
    fn parts(&self, granted: &GrantedSizes, now: AnonymousBytes) -> AnonymousParts {
        let memories = &self.mappings.memories;
        let then = granted.split(memories);
        let others_then = self.anonymous.resident.saturating_sub(then.total());
        let grown = now.heap_in_use.saturating_sub(self.anonymous.heap_in_use);
        let freed = self.anonymous.heap_in_use.saturating_sub(now.heap_in_use);
        // The allocator may keep the pages that the host has freed, or return them.
        let most_others = (others_then + grown).min(now.resident);
        let least_others = most_others.saturating_sub(freed);
        // No more than what the plugins may touch, as far as is known.
        let sizes = memories.iter().map(|memory| memory.size).sum::<u64>();
        let most = sizes.max(granted.granted.total());
        let (least_wasm, most_wasm) = (now.resident - most_others, now.resident - least_others);
        // Resident memory that the allocator has returned was not the plugins', unless they have
        // lost some.
        let lost = self.granted.saturating_sub(granted.granted.total());
        let kept = then.total().saturating_sub(lost).min(now.resident);
        let wasm = then
            .total()
            .clamp(least_wasm, most_wasm)
            .min(most)
            .max(kept);
        let profiler = then.profiler.min(granted.granted.profiler).min(wasm);
        AnonymousParts {
            wasm: WasmBytes {
                linear: wasm - profiler,
                profiler,
            },
            file_copies: self.mappings.file_copies.min(now.resident - wasm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(size: u64, resident: u64) -> WasmMemory {
        WasmMemory { size, resident }
    }

    #[test]
    fn the_size_of_a_memory_tells_its_kind() {
        let memories: Vec<_> = [(100, 10), (200, 20), (300, 30), (400, 40)]
            .map(|(size, resident)| memory(size, resident))
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

    /// A reading with 300 bytes of linear memory, 20 of the profiler and 100 of the host.
    fn reading() -> (Reading, GrantedSizes) {
        let mut granted = GrantedSizes::default();
        granted.add(400, 64);
        let reading = Reading {
            mappings: Mappings {
                memories: vec![memory(400, 300), memory(64, 20)],
                file_copies: 10,
            },
            anonymous: AnonymousBytes {
                resident: 420,
                heap_in_use: 80,
            },
            plugins: 1,
            granted: 464,
        };
        (reading, granted)
    }

    fn linear(resident: u64, heap_in_use: u64, granted_now: u64) -> u64 {
        let (reading, _) = reading();
        let mut granted = GrantedSizes::default();
        granted.add(granted_now, 64);
        let now = AnonymousBytes {
            resident,
            heap_in_use,
        };
        let parts = reading.parts(&granted, now);
        assert!(parts.wasm.total() + parts.file_copies <= resident);
        assert!(parts.wasm.profiler <= 20);
        parts.wasm.linear
    }

    #[test]
    fn what_has_changed_since_the_reading_is_of_the_plugins_or_of_the_heap() {
        for (resident, heap_in_use, granted, expected) in [
            (420, 80, 400, 300),
            // A plugin grows, the host grows, both grow.
            (1420, 80, 2000, 1300),
            (1420, 1080, 2000, 300),
            (2420, 1080, 2000, 1300),
            // A plugin is dropped, then the host's heap too.
            (110, 80, 0, 0),
            (0, 0, 0, 0),
            (320, 80, 300, 200),
            // The allocator returns pages that it had kept: the plugins lose nothing.
            (400, 80, 400, 300),
            (330, 80, 400, 300),
            // The process has less than the plugins had.
            (200, 80, 400, 180),
            // The host frees memory: its pages stay, they are returned, and a plugin grows too.
            (420, 30, 400, 300),
            (370, 30, 400, 300),
            (1420, 30, 2000, 1300),
            // What no plugin was granted is not theirs.
            (1420, 80, 400, 444),
        ] {
            assert_eq!(
                linear(resident, heap_in_use, granted),
                expected,
                "{resident} resident, {heap_in_use} in use"
            );
        }
    }
}
