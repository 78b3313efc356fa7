//! Splits resident memory into named parts that add up to RSS.
//!
//! The kernel reports the resident bytes of the process and how many of them come from files. The
//! host's allocator reports its bytes in use. The host counts the plugins' linear memories and the
//! profiler's tables itself. The rest is *unattributed*, so the parts add up to RSS by
//! construction:
//!
//! ```text
//! rss = host + telemetry queue + symbols + history      (the host's heap)
//!     + plugins' linear memory + profiler + code + unattributed
//! ```
//!
//! Linear memory and the profiler's tables count with their resident bytes, not with their granted
//! bytes, because a guest may never touch its stack. Unattributed bytes are mostly freed pages that
//! the allocator keeps, and thread stacks.
//!
//! No part is negative. The readings are from slightly different times, and the allocator counts
//! bytes that were never touched. So the parts are taken out of the resident memory one after the
//! other, the most exact reading first, and a part never gets more than is left: files, then linear
//! memory, the profiler's tables, and the parts of the host's heap.

/// The readings of one ledger, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LedgerReading {
    /// Resident bytes of the process.
    pub(crate) resident_bytes: u64,
    /// The resident bytes that come from files or shared memory.
    pub(crate) resident_file_bytes: u64,
    /// Resident anonymous bytes of changed pages of files. They count as code.
    pub(crate) file_copies_bytes: u64,
    /// Bytes in use of the host's allocator; `None` where it reports no total.
    pub(crate) allocator_in_use_bytes: Option<u64>,
    /// Resident bytes of all plugins' linear memories, without the profiler's.
    pub(crate) plugins_linear_bytes: u64,
    /// Resident bytes of the profiler's tables in the guests.
    pub(crate) profiler_bytes: u64,
    /// Bytes of [`LedgerPart::TelemetryQueue`]. They are in the host's heap, as are the next two,
    /// but not in [`LedgerPart::Host`]. So no byte counts twice.
    pub(crate) telemetry_queue_bytes: u64,
    /// Bytes of [`LedgerPart::Symbols`].
    pub(crate) symbols_bytes: u64,
    /// Bytes of [`LedgerPart::History`].
    pub(crate) history_bytes: u64,
}

/// A part of resident memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LedgerPart {
    /// The host's heap, without the parts of it that are listed below.
    Host,
    /// The plugins' linear memories.
    PluginsLinear,
    /// The heap profiler's tables in the guests.
    Profiler,
    /// Mapped files: the binary, its libraries and compiled plugins.
    Code,
    /// Spans and metrics that wait for the collector (in the host's heap).
    TelemetryQueue,
    /// Source lines, function names and call stacks of the plugins (in the host's heap).
    Symbols,
    /// The samples of process, plugins and heaps (in the host's heap).
    History,
    /// The rest.
    Unattributed,
}

impl LedgerPart {
    /// Every part, in the order of the ledger.
    pub const ALL: [Self; 8] = [
        Self::Host,
        Self::PluginsLinear,
        Self::Profiler,
        Self::Code,
        Self::TelemetryQueue,
        Self::Symbols,
        Self::History,
        Self::Unattributed,
    ];

    /// The name in JSON and metrics: `plugins_linear`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::PluginsLinear => "plugins_linear",
            Self::Profiler => "profiler",
            Self::Code => "code",
            Self::TelemetryQueue => "telemetry_queue",
            Self::Symbols => "symbols",
            Self::History => "history",
            Self::Unattributed => "unattributed",
        }
    }
}

/// The parts of resident memory at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    resident_bytes: u64,
    /// In the order of [`LedgerPart::ALL`].
    bytes: [u64; LedgerPart::ALL.len()],
}

impl Ledger {
    /// Splits a reading into its parts.
    pub(crate) fn balance(reading: &LedgerReading) -> Self {
        let mut left = reading.resident_bytes;
        let mut take = |bytes: u64| {
            let taken = bytes.min(left);
            left -= taken;
            taken
        };
        let files = take(reading.resident_file_bytes);
        let plugins_linear = take(reading.plugins_linear_bytes);
        let profiler = take(reading.profiler_bytes);
        let code = files + take(reading.file_copies_bytes);
        let telemetry_queue = take(reading.telemetry_queue_bytes);
        let symbols = take(reading.symbols_bytes);
        let history = take(reading.history_bytes);
        let heap = reading.allocator_in_use_bytes.unwrap_or(0);
        let host = take(heap.saturating_sub(telemetry_queue + symbols + history));
        let bytes = LedgerPart::ALL.map(|part| match part {
            LedgerPart::Host => host,
            LedgerPart::PluginsLinear => plugins_linear,
            LedgerPart::Profiler => profiler,
            LedgerPart::Code => code,
            LedgerPart::TelemetryQueue => telemetry_queue,
            LedgerPart::Symbols => symbols,
            LedgerPart::History => history,
            LedgerPart::Unattributed => left,
        });
        Self {
            resident_bytes: reading.resident_bytes,
            bytes,
        }
    }

    /// The sum of all parts, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    /// Every part with its bytes, in the order of [`LedgerPart::ALL`].
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (LedgerPart, u64)> {
        LedgerPart::ALL.into_iter().zip(self.bytes)
    }

    /// The bytes of every part, in the order of [`LedgerPart::ALL`].
    pub fn bytes(&self) -> [u64; LedgerPart::ALL.len()] {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn reading() -> LedgerReading {
        LedgerReading {
            resident_bytes: 100 * MIB,
            resident_file_bytes: 11 * MIB,
            file_copies_bytes: MIB,
            allocator_in_use_bytes: Some(20 * MIB),
            plugins_linear_bytes: 50 * MIB,
            profiler_bytes: 4 * MIB,
            telemetry_queue_bytes: MIB,
            symbols_bytes: 8 * MIB,
            history_bytes: 0,
        }
    }

    fn part(ledger: &Ledger, part: LedgerPart) -> u64 {
        let mut entries = ledger.entries();
        entries.find(|(entry, _)| *entry == part).unwrap().1
    }

    fn balance(reading: &LedgerReading) -> Ledger {
        let ledger = Ledger::balance(reading);
        let sum: u64 = ledger.entries().map(|(_, bytes)| bytes).sum();
        assert_eq!(sum, reading.resident_bytes, "{ledger:?}");
        assert_eq!(ledger.resident_bytes(), reading.resident_bytes);
        let parts: Vec<_> = ledger.entries().map(|(part, _)| part).collect();
        assert_eq!(parts, LedgerPart::ALL);
        ledger
    }

    #[test]
    fn the_parts_add_up_and_no_byte_counts_twice() {
        let ledger = balance(&reading());
        let mib = |name| part(&ledger, name) / MIB;
        assert_eq!(mib(LedgerPart::Host), 20 - 8 - 1);
        assert_eq!(mib(LedgerPart::PluginsLinear), 50);
        assert_eq!(mib(LedgerPart::Profiler), 4);
        assert_eq!(mib(LedgerPart::Code), 12);
        assert_eq!(mib(LedgerPart::Symbols), 8);
        assert_eq!(mib(LedgerPart::TelemetryQueue), 1);
        assert_eq!(mib(LedgerPart::History), 0);
        assert_eq!(
            mib(LedgerPart::Unattributed),
            100 - 11 - 50 - 4 - 12 - 8 - 1
        );
    }

    #[test]
    fn no_part_is_negative_whatever_the_others_claim() {
        let ledger = balance(&LedgerReading {
            plugins_linear_bytes: 4096 * MIB,
            ..reading()
        });
        assert_eq!(part(&ledger, LedgerPart::PluginsLinear), 89 * MIB);
        for rest in [
            LedgerPart::Host,
            LedgerPart::Symbols,
            LedgerPart::Unattributed,
        ] {
            assert_eq!(part(&ledger, rest), 0);
        }
        // The allocator has blocks that were never touched.
        let ledger = balance(&LedgerReading {
            allocator_in_use_bytes: Some(4096 * MIB),
            ..reading()
        });
        assert_eq!(part(&ledger, LedgerPart::Host), 25 * MIB);
        assert_eq!(part(&ledger, LedgerPart::Unattributed), 0);
    }

    #[test]
    fn without_a_total_of_the_allocator_its_bytes_are_unattributed() {
        let ledger = balance(&LedgerReading {
            allocator_in_use_bytes: None,
            ..reading()
        });
        assert_eq!(part(&ledger, LedgerPart::Host), 0);
    }

    #[test]
    fn separate_parts_that_claim_more_than_the_heap_still_add_up() {
        let ledger = balance(&LedgerReading {
            history_bytes: 300 * MIB,
            ..reading()
        });
        assert_eq!(part(&ledger, LedgerPart::Host), 0);
        assert_eq!(
            part(&ledger, LedgerPart::History),
            100 * MIB - (12 + 50 + 4 + 8 + 1) * MIB
        );
    }

    #[test]
    fn an_empty_reading_adds_up() {
        balance(&LedgerReading::default());
        balance(&LedgerReading {
            resident_bytes: u64::MAX >> 1,
            ..LedgerReading::default()
        });
    }

    #[test]
    fn a_reading_of_this_process_adds_up() {
        let process = process_memory::process::ProcessReader::new()
            .unwrap()
            .read()
            .unwrap();
        balance(&LedgerReading {
            resident_bytes: process.resident_bytes,
            resident_file_bytes: process.resident_file_bytes,
            allocator_in_use_bytes: process_memory::allocator::in_use_bytes(),
            ..LedgerReading::default()
        });
    }
}
