//! Memory before and after a call that frees some: the fields that clear, reset and gc share.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::state::ApiState;
use crate::units::{difference, mib, signed_mib};
use lab::ledger::LedgerPart;
use process_memory::byte_size::ByteSize;

/// The memory that a call freed.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Freed {
    /// MiB freed; negative if memory grew meanwhile.
    freed_mb: f64,
    /// The same in bytes.
    freed_bytes: i64,
}

impl Freed {
    pub(super) fn bytes(bytes: i64) -> Self {
        Freed {
            freed_mb: signed_mib(bytes),
            freed_bytes: bytes,
        }
    }
}

/// The resident memory of the process before and after a call.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct ProcessMemory {
    /// Resident MiB of the process before the call.
    memory_before_mb: f64,
    /// The same in bytes.
    memory_before_bytes: u64,
    /// Resident MiB of the process after the call.
    memory_after_mb: f64,
    /// The same in bytes.
    memory_after_bytes: u64,
    #[serde(flatten)]
    freed: Freed,
}

impl ProcessMemory {
    /// Compares `before`, which [`resident_bytes`] returned before the call, with the present.
    pub(super) fn since(before: u64, state: &ApiState) -> Result<Self, ApiError> {
        let after = resident_bytes(state)?;
        Ok(ProcessMemory {
            memory_before_mb: mib(before),
            memory_before_bytes: before,
            memory_after_mb: mib(after),
            memory_after_bytes: after,
            freed: Freed::bytes(difference(before, after)),
        })
    }
}

/// The linear memory of one plugin before and after a call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinearMemory {
    /// MiB of linear memory before the call.
    linear_memory_before_mb: f64,
    /// The same in bytes.
    linear_memory_before_bytes: u64,
    /// MiB of linear memory after the call.
    linear_memory_after_mb: f64,
    /// The same in bytes.
    linear_memory_after_bytes: u64,
}

impl LinearMemory {
    pub(super) fn new(before: u64, after: u64) -> Self {
        LinearMemory {
            linear_memory_before_mb: mib(before),
            linear_memory_before_bytes: before,
            linear_memory_after_mb: mib(after),
            linear_memory_after_bytes: after,
        }
    }
}

/// The resident memory that was not there after the start of the host, and why it still is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StillResident {
    /// Resident MiB now minus those after the start.
    above_start_mb: f64,
    /// The same in bytes.
    above_start_bytes: i64,
    /// Bytes by which each part of the ledger is larger than after the start, without those below
    /// 64 KiB. Empty if the sum is not above the start.
    parts: BTreeMap<&'static str, u64>,
    /// What these parts are, largest first.
    why: String,
}

/// A part of the ledger that grew by less is not worth a word.
const MIN_PART_BYTES: u64 = 65_536;

impl StillResident {
    pub(super) fn now(state: &ApiState) -> Result<Self, ApiError> {
        let (_, ledger) = state.process_and_ledger()?;
        let history = state.monitor.history();
        let start = history.start_parts();
        let above = difference(ledger.resident_bytes(), history.start_resident_bytes());
        if above < MIN_PART_BYTES as i64 {
            return Ok(StillResident {
                above_start_mb: signed_mib(above),
                above_start_bytes: above,
                parts: BTreeMap::new(),
                why: "nothing: the process has what it had after the start".to_owned(),
            });
        }
        let grown = ledger
            .entries()
            .zip(start)
            .filter_map(|((part, now), start)| {
                let grown = now.checked_sub(start)?;
                (grown >= MIN_PART_BYTES).then_some((part, grown))
            });
        let mut grown: Vec<(LedgerPart, u64)> = grown.collect();
        grown.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let words = grown.iter().map(|(part, bytes)| {
            let size = ByteSize::from_bytes(*bytes);
            format!("{size} of {}", explanation(*part, state))
        });
        let mut words: Vec<String> = words.collect();
        let listed: u64 = grown.iter().map(|(_, bytes)| *bytes).sum();
        let smaller = listed.saturating_sub(above.unsigned_abs());
        if smaller >= MIN_PART_BYTES {
            let size = ByteSize::from_bytes(smaller);
            words.push(format!(
                "other parts are {size} smaller than after the start"
            ));
        }
        Ok(StillResident {
            above_start_mb: signed_mib(above),
            above_start_bytes: above,
            parts: grown
                .iter()
                .map(|(part, bytes)| (part.name(), *bytes))
                .collect(),
            why: if words.is_empty() {
                "many parts that each grew by less than 64 KiB".to_owned()
            } else {
                words.join("; ")
            },
        })
    }
}

/// What a part of the ledger is, and what gives it back.
fn explanation(part: LedgerPart, state: &ApiState) -> String {
    let text = match part {
        LedgerPart::Host => "the host's heap: connections, metrics and buffers",
        LedgerPart::PluginsLinear => return linear_memory(state),
        LedgerPart::Profiler => "the profiler's tables, which go with the instance",
        LedgerPart::Code => "code that has run since: file pages, which the kernel takes back",
        LedgerPart::TelemetryQueue => "spans and metrics that wait for the collector",
        LedgerPart::Symbols => {
            "source lines and call stacks of profiled plugins: they stay while the plugin is loaded"
        }
        LedgerPart::History => "samples of the last 15 minutes, which have a limit",
        LedgerPart::Unattributed => "freed pages that the allocator keeps, and thread stacks",
    };
    text.to_owned()
}

/// Only a plugin that retains objects has linear memory that a clear and a gc can give back.
fn linear_memory(state: &ApiState) -> String {
    let plugins = state.registry.plugins();
    let retaining = plugins.iter().filter(|p| p.reading().retained.objects > 0);
    let names: Vec<&str> = retaining.map(|plugin| plugin.id()).collect();
    if names.is_empty() {
        return "linear memory that the instances have used since: their stacks and static data"
            .to_owned();
    }
    let names = names.join(", ");
    format!(
        "linear memory of plugins that retain objects ({names}): clear them, then call gc again"
    )
}

/// The resident memory of the process now, in bytes.
pub(super) fn resident_bytes(state: &ApiState) -> Result<u64, ApiError> {
    state
        .monitor
        .resident_bytes()
        .map_err(|e| ApiError::internal(&e))
}
