//! The memory limit that applies to this process, and the share of it that is used.
//!
//! A container's limit is a number in the cgroup file system. It belongs to the process's own group
//! or to any group above it, and the smallest one applies. `/proc/self/cgroup` names the group.
//! `/proc/self/mountinfo` says where its hierarchy is mounted and which part of it is visible. See
//! cgroups(7), proc_pid_mountinfo(5), and the kernel's admin-guide/cgroup-v2 and cgroup-v1/memory.

mod group_usage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use self::group_usage::GroupUsage;

/// The origin of a limit, and who enforces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitSource {
    /// `--memory-limit`: this process enforces it.
    Flag,
    /// `memory.max` of a version 2 group: the kernel enforces it.
    CgroupV2,
    /// `memory.limit_in_bytes` of a version 1 group: the kernel enforces it.
    CgroupV1,
}

/// A limit on resident memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes, greater than zero.
    pub bytes: u64,
    /// Where it is set.
    pub source: LimitSource,
}

/// Version 1 writes "no limit" as the largest page-aligned 63-bit number. This is the number for
/// pages of 64 KiB; smaller pages give a larger number.
const V1_UNLIMITED: u64 = 0x7FFF_FFFF_FFFF_0000;

impl MemoryLimit {
    /// The limit of this process's control group, and the usage of the group that sets it. Version
    /// 2 is searched first. `None` when no group sets a limit, or there are no groups. Every path
    /// is below `root`, for tests.
    fn of_cgroup_under(root: &Path) -> Option<(Self, GroupUsage)> {
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
        [LimitSource::CgroupV2, LimitSource::CgroupV1]
            .into_iter()
            .find_map(|source| {
                let hierarchy = Hierarchy::find(source, &groups, &mounts)?;
                let (bytes, group) = hierarchy.smallest_limit(root)?;
                Some((Self { bytes, source }, GroupUsage::of(group, source)))
            })
    }
}

/// The limit and the machine's memory: the totals that memory use is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryBudget {
    /// The limit that applies; `None` without one.
    pub limit: Option<MemoryLimit>,
    /// Bytes; zero when unknown.
    pub(crate) machine_bytes: u64,
    /// The group that sets the limit; `None` when the command line sets it.
    group: Option<GroupUsage>,
}

impl MemoryBudget {
    /// The budget of this process. `flag_bytes` is the limit of the command line.
    pub fn detect(flag_bytes: Option<u64>) -> Self {
        let flag = flag_bytes.map(|bytes| MemoryLimit {
            bytes,
            source: LimitSource::Flag,
        });
        let cgroup = MemoryLimit::of_cgroup_under(Path::new("/"));
        Self::new(flag, cgroup, machine_total_bytes().unwrap_or(0))
    }

    /// When both limits are set, the one that is reached first applies.
    fn new(
        flag: Option<MemoryLimit>,
        cgroup: Option<(MemoryLimit, GroupUsage)>,
        machine_bytes: u64,
    ) -> Self {
        let flag = flag.map(|limit| (limit, None));
        let cgroup = cgroup.map(|(limit, group)| (limit, Some(group)));
        let smaller = [flag, cgroup].into_iter().flatten();
        let (limit, group) = smaller.min_by_key(|(limit, _)| limit.bytes).unzip();
        Self {
            limit,
            machine_bytes,
            group: group.flatten(),
        }
    }

    /// The limit that applies, in bytes; `None` without one.
    pub fn limit_bytes(&self) -> Option<u64> {
        self.limit.map(|limit| limit.bytes)
    }

    /// What counts against the limit when this process has `resident_bytes`, in bytes. A group's
    /// limit is for all its processes together.
    fn used_bytes(&self, resident_bytes: u64) -> u64 {
        let group = self.group.as_ref().and_then(GroupUsage::bytes);
        group.map_or(resident_bytes, |bytes| bytes.max(resident_bytes))
    }

    /// The resident memory at which this process reaches the limit, in bytes: the limit without
    /// what other processes of the group use. `None` without a limit.
    pub fn process_limit_bytes(&self, resident_bytes: u64) -> Option<u64> {
        let others = self.used_bytes(resident_bytes) - resident_bytes;
        Some(self.limit_bytes()?.saturating_sub(others))
    }

    /// The memory that counts against the limit, in percent of it; without a limit,
    /// `resident_bytes` in percent of the machine's memory. Zero when neither is known. May exceed
    /// 100 for a moment.
    pub fn percent(&self, resident_bytes: u64) -> f64 {
        match self.limit_bytes().unwrap_or(self.machine_bytes) {
            0 => 0.0,
            total => self.used_bytes(resident_bytes) as f64 * 100.0 / total as f64,
        }
    }

    /// The memory that counts against the limit, in percent of it; `None` without one.
    pub fn percent_of_limit(&self, resident_bytes: u64) -> Option<f64> {
        self.limit.map(|_| self.percent(resident_bytes))
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn machine_total_bytes() -> io::Result<u64> {
    parse_mem_total(&fs::read_to_string("/proc/meminfo")?).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "/proc/meminfo contains no MemTotal",
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

/// The visible part of the control-group hierarchy that this process belongs to.
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
        // Without a cgroup namespace, a container reads the full path of its group, but only the
        // last part is mounted. If the two do not match, the mount itself is the closest visible
        // group.
        let group = Path::new(group)
            .strip_prefix(&mount_root)
            .unwrap_or(Path::new(""));
        let is_below_mount = group
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        Some(Self {
            source,
            mount_point: PathBuf::from(mount_point),
            group: if is_below_mount {
                group.to_owned()
            } else {
                PathBuf::new()
            },
        })
    }

    /// The smallest limit from the group up to the mount point, and the folder of its group.
    fn smallest_limit(&self, root: &Path) -> Option<(u64, PathBuf)> {
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
            .filter_map(|group| {
                let group = mount_point.join(group);
                let text = fs::read_to_string(group.join(file)).ok()?;
                Some((parse_limit(&text)?, group))
            })
            .min_by_key(|(bytes, _)| *bytes)
    }
}

/// The group's path in a line of `/proc/self/cgroup` (`id:controllers:path`). `None` for a line of
/// another kind of hierarchy.
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

/// The root and the mount point in a line of mountinfo. `None` for a mount of another kind.
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

/// mountinfo escapes space, tab, newline and backslash in octal.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

/// The bytes of a limit file. `None` for "no limit": `max`, or the large number of version 1.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim()
        .parse()
        .ok()
        .filter(|&bytes| bytes > 0 && bytes < V1_UNLIMITED)
}

#[cfg(test)]
mod tests;
