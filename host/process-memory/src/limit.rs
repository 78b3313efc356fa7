//! The memory limit that applies to this process, and how much of it is used.
//!
//! A container's limit is a number in the cgroup file system, of the process's own group or of any
//! group above it; the smallest is the one that kills. The groups are found as the kernel documents
//! it: `/proc/self/cgroup` names the group, `/proc/self/mountinfo` says where its hierarchy is mounted
//! and which part of it is visible (cgroups(7), proc_pid_mountinfo(5), and the kernel's
//! admin-guide/cgroup-v2 and cgroup-v1/memory).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a limit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitSource {
    /// `--memory-limit`: nobody but this process enforces it.
    Flag,
    /// `memory.max` of a version 2 group: the kernel enforces it.
    CgroupV2,
    /// `memory.limit_in_bytes` of a version 1 group: the kernel enforces it.
    CgroupV1,
}

/// A limit of the resident memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes, greater than zero.
    pub bytes: u64,
    /// Who set it.
    pub source: LimitSource,
}

/// Version 1 writes "no limit" as the largest page-aligned 63-bit number, whatever the page size (up
/// to 64 KiB).
const V1_UNLIMITED: u64 = 0x7FFF_FFFF_FFFF_0000;

impl MemoryLimit {
    /// The limit of this process's control group, version 2 first; `None` when no group sets one or
    /// there are no groups.
    pub(crate) fn of_cgroup() -> Option<Self> {
        Self::of_cgroup_under(Path::new("/"))
    }

    /// As [`MemoryLimit::of_cgroup`], with every path taken below `root`.
    fn of_cgroup_under(root: &Path) -> Option<Self> {
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
        [LimitSource::CgroupV2, LimitSource::CgroupV1]
            .into_iter()
            .find_map(|source| {
                let hierarchy = Hierarchy::find(source, &groups, &mounts)?;
                let bytes = hierarchy.smallest_limit(root)?;
                Some(Self { bytes, source })
            })
    }

    /// The one that applies when both are set: whichever is reached first.
    pub fn smaller(flag: Option<Self>, cgroup: Option<Self>) -> Option<Self> {
        [flag, cgroup]
            .into_iter()
            .flatten()
            .min_by_key(|limit| limit.bytes)
    }
}

/// What memory is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    /// The limit that applies, if one does.
    pub limit: Option<MemoryLimit>,
    /// The machine's memory in bytes; zero when unknown.
    pub(crate) machine_bytes: u64,
}

impl MemoryBudget {
    /// Finds out what applies to this process, given the limit on the command line, if any.
    pub fn detect(flag: Option<u64>) -> Self {
        let flag = flag.map(|bytes| MemoryLimit {
            bytes,
            source: LimitSource::Flag,
        });
        Self {
            limit: MemoryLimit::smaller(flag, MemoryLimit::of_cgroup()),
            machine_bytes: machine_total_bytes().unwrap_or(0),
        }
    }

    /// `resident_bytes` in percent of the limit that applies, else of the machine; zero when neither
    /// is known. May pass 100 for a moment.
    pub fn percent(&self, resident_bytes: u64) -> f64 {
        match self.limit.map_or(self.machine_bytes, |limit| limit.bytes) {
            0 => 0.0,
            total => resident_bytes as f64 * 100.0 / total as f64,
        }
    }

    /// `resident_bytes` in percent of the limit; `None` without one.
    pub fn percent_of_limit(&self, resident_bytes: u64) -> Option<f64> {
        self.limit.map(|_| self.percent(resident_bytes))
    }
}

/// The machine's memory in bytes (`MemTotal`).
///
/// # Errors
/// When `/proc/meminfo` cannot be read or names no total.
pub(crate) fn machine_total_bytes() -> io::Result<u64> {
    parse_mem_total(&fs::read_to_string("/proc/meminfo")?).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "/proc/meminfo names no MemTotal",
        )
    })
}

fn parse_mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The part of a control-group hierarchy that this process can see of its own group.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    source: LimitSource,
    mount_point: PathBuf,
    /// The group, relative to the mount point.
    group: PathBuf,
}

impl Hierarchy {
    fn find(source: LimitSource, groups: &str, mounts: &str) -> Option<Self> {
        let group = groups.lines().find_map(|line| group_of(source, line))?;
        let (mount_root, mount_point) = mounts.lines().find_map(|line| mount_of(source, line))?;
        // A container without a cgroup namespace is told its full path, of which only the last part is
        // mounted; where the two do not fit, the mount itself is the closest group that is visible.
        let group = Path::new(group)
            .strip_prefix(&mount_root)
            .unwrap_or(Path::new(""));
        let inside = group
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        Some(Self {
            source,
            mount_point: PathBuf::from(mount_point),
            group: if inside {
                group.to_owned()
            } else {
                PathBuf::new()
            },
        })
    }

    /// The smallest limit from the group up to the mount point.
    fn smallest_limit(&self, root: &Path) -> Option<u64> {
        let mount_point = root.join(
            self.mount_point
                .strip_prefix("/")
                .unwrap_or(&self.mount_point),
        );
        let file = match self.source {
            LimitSource::CgroupV1 => "memory.limit_in_bytes",
            _ => "memory.max",
        };
        self.group
            .ancestors()
            .filter_map(|group| fs::read_to_string(mount_point.join(group).join(file)).ok())
            .filter_map(|text| parse_limit(&text))
            .min()
    }
}

/// The group's path in a line of `/proc/self/cgroup` (`id:controllers:path`), if it is of this kind.
fn group_of(source: LimitSource, line: &str) -> Option<&str> {
    let mut fields = line.splitn(3, ':');
    let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let matches = match source {
        LimitSource::CgroupV2 => id == "0" && controllers.is_empty(),
        LimitSource::CgroupV1 => controllers.split(',').any(|name| name == "memory"),
        LimitSource::Flag => false,
    };
    matches.then_some(path)
}

/// The root and the mount point in a line of mountinfo, if it mounts this kind of hierarchy.
fn mount_of(source: LimitSource, line: &str) -> Option<(String, String)> {
    // `36 35 98:0 /root /mount/point rw,relatime shared:1 - type source super-options`
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, point) = (mount.next()?, mount.next()?);
    let mut filesystem = filesystem.split(' ');
    let (kind, options) = (filesystem.next()?, filesystem.nth(1)?);
    let matches = match source {
        LimitSource::CgroupV2 => kind == "cgroup2",
        LimitSource::CgroupV1 => {
            kind == "cgroup" && options.split(',').any(|name| name == "memory")
        }
        LimitSource::Flag => false,
    };
    matches.then(|| (unescape(root), unescape(point)))
}

/// mountinfo writes space, tab, newline and backslash in octal.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

/// The bytes of a limit file; `None` for `max` and for version 1's number that means the same.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim()
        .parse()
        .ok()
        .filter(|&bytes| bytes > 0 && bytes < V1_UNLIMITED)
}

#[cfg(test)]
mod tests;
