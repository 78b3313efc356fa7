//! The memory that all processes of a control group use together.

use std::fs;
use std::path::PathBuf;

use super::LimitSource;

/// The files of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupUsage {
    group: PathBuf,
    /// The file with the bytes in use.
    file: &'static str,
    /// The lines of `memory.stat` with the file pages, which the kernel drops before it kills.
    reclaimable: [&'static str; 2],
}

impl GroupUsage {
    /// The group in this folder, whose limit is from `source`.
    pub(super) fn of(group: PathBuf, source: LimitSource) -> Self {
        // In version 1, the names with `total_` include the groups below.
        let (file, reclaimable) = match source {
            LimitSource::CgroupV1 => (
                "memory.usage_in_bytes",
                ["total_inactive_file ", "total_active_file "],
            ),
            _ => ("memory.current", ["inactive_file ", "active_file "]),
        };
        GroupUsage {
            group,
            file,
            reclaimable,
        }
    }

    /// Bytes in use, without file pages. `None` when the group cannot be read.
    pub(super) fn bytes(&self) -> Option<u64> {
        let usage = fs::read_to_string(self.group.join(self.file)).ok()?;
        let usage: u64 = usage.trim().parse().ok()?;
        let stat = fs::read_to_string(self.group.join("memory.stat")).unwrap_or_default();
        let pages = |line: &str| {
            let bytes = self
                .reclaimable
                .iter()
                .find_map(|name| line.strip_prefix(name))?;
            bytes.trim().parse::<u64>().ok()
        };
        let reclaimable: u64 = stat.lines().filter_map(pages).sum();
        Some(usage.saturating_sub(reclaimable))
    }
}
