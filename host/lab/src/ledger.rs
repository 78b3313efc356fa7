//! Where the resident memory is, part by part.
//!
//! The kernel knows how much of the process is in RAM and what of it comes from files; the allocator
//! knows what it has handed out; the plugins' linear memories and the profiler's own are counted by
//! whoever made them. What the parts do not explain stays visible as *unattributed*, so the ledger adds
//! up to RSS by construction:
//!
//! rss = host + Σ tenants of the host's heap + plugins' linear memory + profiler + code + unattributed
//!
//! Of linear memory and of the profiler's tables it counts what is resident, not what is granted: a guest may never
//! touch its stack. Unattributed is mostly freed pages that the allocator keeps, and thread stacks. It is signed, for the
//! readings are not all of the same instant; where the kernel does not say what is resident of a mapping, granted bytes
//! stand for it and push it below zero.

/// The readings that the ledger is made from, all in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LedgerReading {
    /// Resident bytes of the process.
    pub resident_bytes: u64,
    /// The resident bytes that are mapped from files or shared memory.
    pub resident_file_bytes: u64,
    /// What the host's allocator has handed out; `None` where it does not tell.
    pub(crate) allocator_in_use_bytes: Option<u64>,
    /// Touched bytes of thread stacks, if known.
    pub(crate) thread_stack_bytes: Option<u64>,
    /// Resident bytes of all plugins' linear memory, without the profiler's.
    pub plugins_linear_bytes: u64,
    /// Resident bytes of the profiler's tables in the guests.
    pub profiler_bytes: u64,
    /// Parts of the host's heap that are worth a line of their own. They are taken out of `host`, so
    /// that no byte counts twice.
    pub(crate) heap_tenants: Vec<(Part, u64)>,
}

/// A line of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The host's own heap and stacks, without the tenants below.
    Host,
    /// The plugins' linear memories.
    PluginsLinear,
    /// The heap profiler's tables in the guests.
    Profiler,
    /// The binary, its libraries and compiled plugins that are mapped from files.
    Code,
    /// Spans and metrics waiting for the collector (in the host's heap).
    TelemetryQueue,
    /// Source lines and function names of the plugins (in the host's heap).
    Symbols,
    /// The sampled history (in the host's heap).
    History,
    /// What the parts above do not explain; may be negative.
    Unattributed,
}

impl Part {
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

/// The balanced ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    resident_bytes: u64,
    entries: Vec<(Part, i64)>,
}

impl Ledger {
    /// Balances a reading. Tenants that claim more than the heap holds leave `host` at its stacks
    /// alone, and the rest shows as negative unattributed bytes.
    pub(crate) fn balance(reading: &LedgerReading) -> Self {
        let tenant = |part: Part| {
            reading
                .heap_tenants
                .iter()
                .filter(|(tenant, _)| *tenant == part)
                .map(|(_, bytes)| bytes)
                .sum::<u64>()
        };
        let tenants =
            [Part::TelemetryQueue, Part::Symbols, Part::History].map(|part| (part, tenant(part)));
        let tenant_bytes: u64 = tenants.iter().map(|(_, bytes)| bytes).sum();
        let host = reading
            .allocator_in_use_bytes
            .unwrap_or(0)
            .saturating_sub(tenant_bytes)
            + reading.thread_stack_bytes.unwrap_or(0);
        let mut entries: Vec<(Part, i64)> = [
            (Part::Host, host),
            (Part::PluginsLinear, reading.plugins_linear_bytes),
            (Part::Profiler, reading.profiler_bytes),
            (Part::Code, reading.resident_file_bytes),
        ]
        .into_iter()
        .chain(tenants)
        .map(|(part, bytes)| (part, signed(bytes)))
        .collect();
        let explained: i64 = entries.iter().map(|(_, bytes)| bytes).sum();
        entries.push((
            Part::Unattributed,
            signed(reading.resident_bytes) - explained,
        ));
        Self {
            resident_bytes: reading.resident_bytes,
            entries,
        }
    }

    /// The sum of all entries.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    /// Every part once, in the order of [`Part::ALL`], in bytes.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (Part, i64)> + '_ {
        self.entries.iter().copied()
    }

    /// The bytes of every part, in the order of [`Part::ALL`].
    pub fn bytes(&self) -> [i64; Part::ALL.len()] {
        let mut entries = self.entries();
        std::array::from_fn(|_| entries.next().map_or(0, |(_, bytes)| bytes))
    }

    /// One part, in bytes.
    #[cfg(test)]
    pub fn get(&self, part: Part) -> i64 {
        self.entries()
            .find(|(entry, _)| *entry == part)
            .map_or(0, |(_, bytes)| bytes)
    }
}

/// No address space has 2^63 bytes.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn reading() -> LedgerReading {
        LedgerReading {
            resident_bytes: 100 * MIB,
            resident_file_bytes: 12 * MIB,
            allocator_in_use_bytes: Some(20 * MIB),
            thread_stack_bytes: Some(MIB),
            plugins_linear_bytes: 50 * MIB,
            profiler_bytes: 4 * MIB,
            heap_tenants: vec![
                (Part::Symbols, 6 * MIB),
                (Part::TelemetryQueue, MIB),
                (Part::Symbols, 2 * MIB),
            ],
        }
    }

    fn check(reading: &LedgerReading) -> Ledger {
        let ledger = Ledger::balance(reading);
        let sum: i64 = ledger.entries().map(|(_, bytes)| bytes).sum();
        assert_eq!(sum, reading.resident_bytes as i64, "{ledger:?}");
        assert_eq!(ledger.resident_bytes(), reading.resident_bytes);
        let parts: Vec<_> = ledger.entries().map(|(part, _)| part).collect();
        assert_eq!(parts, Part::ALL);
        ledger
    }

    #[test]
    fn adds_up_and_counts_no_byte_twice() {
        let ledger = check(&reading());
        let mib = |part| ledger.get(part) / MIB as i64;
        assert_eq!(mib(Part::Host), 20 - 9 + 1);
        assert_eq!(mib(Part::PluginsLinear), 50);
        assert_eq!(mib(Part::Profiler), 4);
        assert_eq!(mib(Part::Code), 12);
        assert_eq!(mib(Part::Symbols), 8);
        assert_eq!(mib(Part::TelemetryQueue), 1);
        assert_eq!(mib(Part::History), 0);
        assert_eq!(mib(Part::Unattributed), 100 - 12 - 50 - 4 - 12 - 8 - 1);
    }

    #[test]
    fn untouched_linear_memory_makes_unattributed_negative() {
        let ledger = check(&LedgerReading {
            plugins_linear_bytes: 4096 * MIB,
            ..reading()
        });
        assert_eq!(
            ledger.get(Part::Unattributed),
            (13 - (4096 - 50)) * MIB as i64
        );
    }

    #[test]
    fn an_allocator_that_does_not_tell_leaves_more_unattributed() {
        let ledger = check(&LedgerReading {
            allocator_in_use_bytes: None,
            ..reading()
        });
        assert_eq!(ledger.get(Part::Host), MIB as i64);
    }

    #[test]
    fn tenants_that_claim_too_much_still_add_up() {
        let ledger = check(&LedgerReading {
            heap_tenants: vec![(Part::History, 300 * MIB)],
            ..reading()
        });
        assert_eq!(ledger.get(Part::Host), MIB as i64);
        assert!(ledger.get(Part::Unattributed) < 0);
    }

    #[test]
    fn nothing_adds_up_to_nothing() {
        check(&LedgerReading::default());
        check(&LedgerReading {
            resident_bytes: u64::MAX >> 1,
            ..LedgerReading::default()
        });
    }

    #[test]
    fn balances_this_process() {
        let process = process_memory::process::ProcessReader::new()
            .unwrap()
            .read()
            .unwrap();
        check(&LedgerReading {
            resident_bytes: process.resident_bytes,
            resident_file_bytes: process.resident_file_bytes,
            allocator_in_use_bytes: process_memory::allocator::in_use_bytes(),
            ..LedgerReading::default()
        });
    }
}
