use super::*;

const MIB: u64 = 1 << 20;
const V2_MOUNT: &str =
    "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const V1_MOUNT: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";

/// A root folder with these files.
fn root_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn check(files: &[(&str, &str)], expected: Option<(u64, LimitSource)>) {
    let root = root_with(files);
    let expected = expected.map(|(bytes, source)| MemoryLimit { bytes, source });
    assert_eq!(
        MemoryLimit::of_cgroup_under(root.path()).map(|(limit, _)| limit),
        expected,
        "{files:?}"
    );
}

#[test]
fn version_2_in_a_namespace_reads_the_mount() {
    check(
        &[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/memory.max", "268435456\n"),
        ],
        Some((256 * MIB, LimitSource::CgroupV2)),
    );
}

#[test]
fn version_2_takes_the_smallest_limit_of_the_group_and_its_ancestors() {
    let groups = ("proc/self/cgroup", "0::/user.slice/lab.scope\n");
    let mounts = ("proc/self/mountinfo", V2_MOUNT);
    let own = "sys/fs/cgroup/user.slice/lab.scope/memory.max";
    let above = "sys/fs/cgroup/user.slice/memory.max";
    check(&[groups, mounts, (own, "max\n"), (above, "max\n")], None);
    check(
        &[groups, mounts, (own, "max\n"), (above, "1048576\n")],
        Some((MIB, LimitSource::CgroupV2)),
    );
    check(
        &[groups, mounts, (own, "1048576\n"), (above, "4194304\n")],
        Some((MIB, LimitSource::CgroupV2)),
    );
    check(
        &[groups, mounts, (own, "4194304\n"), (above, "1048576\n")],
        Some((MIB, LimitSource::CgroupV2)),
    );
}

#[test]
fn version_1_finds_a_group_whose_path_is_only_partly_mounted() {
    check(
        &[
            (
                "proc/self/cgroup",
                "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/docker/abc\n",
            ),
            (
                "proc/self/mountinfo",
                "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
        ],
        Some((256 * MIB, LimitSource::CgroupV1)),
    );
}

#[test]
fn version_1_writes_no_limit_as_a_huge_number() {
    for unlimited in [
        "9223372036854771712\n",
        "9223372036854710272\n",
        "18446744073709551615\n",
    ] {
        check(
            &[
                ("proc/self/cgroup", "4:memory:/a\n"),
                ("proc/self/mountinfo", V1_MOUNT),
                ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", unlimited),
            ],
            None,
        );
    }
}

#[test]
fn on_a_hybrid_system_version_1_has_the_memory_limit() {
    // Version 2 is mounted without the memory controller.
    let mounts = format!(
        "{}{V1_MOUNT}",
        V2_MOUNT.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    );
    check(
        &[
            ("proc/self/cgroup", "4:memory:/a\n0::/a\n"),
            ("proc/self/mountinfo", &mounts),
            ("sys/fs/cgroup/unified/a/cgroup.procs", ""),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1048576\n"),
        ],
        Some((MIB, LimitSource::CgroupV1)),
    );
}

#[test]
fn for_a_group_outside_the_mount_the_mount_is_read() {
    for group in ["0::/../../elsewhere\n", "0::/not/there\n"] {
        check(
            &[
                ("proc/self/cgroup", group),
                ("proc/self/mountinfo", V2_MOUNT),
                ("sys/fs/cgroup/memory.max", "1048576"),
            ],
            Some((MIB, LimitSource::CgroupV2)),
        );
    }
}

#[test]
fn mount_points_are_unescaped() {
    check(
        &[
            ("proc/self/cgroup", "0::/\n"),
            (
                "proc/self/mountinfo",
                "29 23 0:26 / /sys/my\\040groups rw - cgroup2 none rw\n",
            ),
            ("sys/my groups/memory.max", "1048576"),
        ],
        Some((MIB, LimitSource::CgroupV2)),
    );
}

#[test]
fn without_a_valid_group_and_mount_there_is_no_limit() {
    check(&[], None);
    check(
        &[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", "junk\n"),
        ],
        None,
    );
    check(
        &[
            ("proc/self/cgroup", "junk\n"),
            ("proc/self/mountinfo", V2_MOUNT),
        ],
        None,
    );
}

fn limit(mib: u64, source: LimitSource) -> MemoryLimit {
    MemoryLimit {
        bytes: mib * MIB,
        source,
    }
}

#[test]
fn the_smaller_limit_applies() {
    let flag = |mib| Some(limit(mib, LimitSource::Flag));
    let cgroup = |mib| Some(limit(mib, LimitSource::CgroupV2));
    for (from_flag, from_cgroup, expected) in [
        (None, None, None),
        (flag(1), None, flag(1)),
        (None, cgroup(1), cgroup(1)),
        (flag(1), cgroup(2), flag(1)),
        (flag(2), cgroup(1), cgroup(1)),
    ] {
        let group = from_cgroup.map(|l| (l, GroupUsage::of("none".into(), l.source)));
        assert_eq!(MemoryBudget::new(from_flag, group, 0).limit, expected);
    }
}

#[test]
fn percent_is_of_the_limit_or_else_of_the_machine() {
    let flag = Some(limit(256, LimitSource::Flag));
    let limited = MemoryBudget::new(flag, None, 1024 * MIB);
    assert_eq!(limited.percent(64 * MIB), 25.0);
    assert_eq!(limited.percent_of_limit(64 * MIB), Some(25.0));
    assert_eq!(limited.process_limit_bytes(64 * MIB), Some(256 * MIB));
    let unlimited = MemoryBudget::new(None, None, 1024 * MIB);
    assert_eq!(unlimited.percent(64 * MIB), 6.25);
    assert_eq!(unlimited.percent_of_limit(64 * MIB), None);
    assert_eq!(unlimited.process_limit_bytes(64 * MIB), None);
    let unknown = MemoryBudget::new(None, None, 0);
    assert_eq!(unknown.percent(64 * MIB), 0.0);
}

/// The limit is the parent's, and a sibling uses a part of it.
#[test]
fn usage_and_limit_are_of_the_same_group() {
    let unlimited = "9223372036854771712";
    let limit = (300 * MIB).to_string();
    let usage = (190 * MIB).to_string();
    let own = (60 * MIB).to_string();
    let version_1 = [
        ("proc/self/cgroup", "4:memory:/parent/child\n"),
        ("proc/self/mountinfo", V1_MOUNT),
        (
            "sys/fs/cgroup/memory/parent/child/memory.limit_in_bytes",
            unlimited,
        ),
        (
            "sys/fs/cgroup/memory/parent/child/memory.usage_in_bytes",
            &own,
        ),
        ("sys/fs/cgroup/memory/parent/memory.limit_in_bytes", &limit),
        ("sys/fs/cgroup/memory/parent/memory.usage_in_bytes", &usage),
        (
            "sys/fs/cgroup/memory/parent/memory.stat",
            "active_file 7\ntotal_inactive_file 6291456\ntotal_active_file 4194304\n",
        ),
    ];
    let version_2 = [
        ("proc/self/cgroup", "0::/parent/child\n"),
        ("proc/self/mountinfo", V2_MOUNT),
        ("sys/fs/cgroup/parent/child/memory.max", "max"),
        ("sys/fs/cgroup/parent/child/memory.current", &own),
        ("sys/fs/cgroup/parent/memory.max", &limit),
        ("sys/fs/cgroup/parent/memory.current", &usage),
        (
            "sys/fs/cgroup/parent/memory.stat",
            "anon 1\ninactive_file 6291456\nactive_file 4194304\n",
        ),
    ];
    for files in [version_1, version_2] {
        let root = root_with(&files);
        let cgroup = MemoryLimit::of_cgroup_under(root.path());
        let budget = MemoryBudget::new(None, cgroup, 0);
        // The group uses 190 MiB. 10 MiB of that are file pages. This process has 60 MiB.
        assert_eq!(budget.percent(60 * MIB), 60.0);
        assert_eq!(budget.process_limit_bytes(60 * MIB), Some(180 * MIB));
        // A reading of the group that is older than the process's own.
        assert_eq!(budget.percent(240 * MIB), 80.0);
    }
}

#[test]
fn the_memory_of_the_machine_is_read_from_meminfo() {
    assert_eq!(
        parse_mem_total("MemTotal:       25165824 kB\nMemFree: 1 kB\n"),
        Some(24 << 30)
    );
    assert_eq!(parse_mem_total("MemFree: 1 kB\n"), None);
    assert!(machine_total_bytes().unwrap() > 64 * MIB);
    assert_eq!(
        MemoryBudget::detect(Some(1)).limit.map(|limit| limit.bytes),
        Some(1)
    );
}
