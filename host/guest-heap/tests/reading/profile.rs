//! The pprof profile, as a protobuf decoder and Go's pprof read it.

#[path = "../../src/pprof/proto.rs"]
mod proto;

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::process::Command;
use std::time::{Duration, SystemTime};

use flate2::read::GzDecoder;
use guest_heap::pprof::{ProfileBuilder, ProfileKind, text};
use guest_heap::reading::Context;
use guest_heap::snapshot::{GroupBy, Snapshot};
use prost::Message as _;

use crate::lines_guest::{reading_of, recorded, symbols};
use crate::synthetic::{no_symbols, snapshot};

fn real() -> Snapshot {
    let (reading, contexts) = reading_of(&recorded().all());
    Snapshot::new(
        &reading,
        |index| contexts.get(index as usize).cloned(),
        symbols(),
    )
}

/// A profile of two guests: one with call stacks, and one with a synthetic context.
fn profile_of_two() -> (Vec<u8>, Snapshot, Snapshot) {
    let (first, second) = (
        real(),
        snapshot(&no_symbols(), &[("arguments of leak#on-request", 4321, 3)]),
    );
    let mut builder = ProfileBuilder::new(SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    builder.add("cache", &first);
    builder.add("history", &second);
    (builder.encode(), first, second)
}

fn decode(gzipped: &[u8]) -> proto::Profile {
    let mut plain = Vec::new();
    GzDecoder::new(gzipped).read_to_end(&mut plain).unwrap();
    proto::Profile::decode(plain.as_slice()).unwrap()
}

#[test]
fn the_profile_has_the_sums_of_the_snapshots() {
    let (encoded, first, second) = profile_of_two();
    let profile = decode(&encoded);
    let text = |index: i64| profile.string_table[index as usize].as_str();
    assert_eq!(text(0), "");
    let types: Vec<(&str, &str)> = profile
        .sample_type
        .iter()
        .map(|kind| (text(kind.r#type), text(kind.unit)))
        .collect();
    assert_eq!(
        types,
        [
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
            ("alloc_objects", "count"),
            ("alloc_space", "bytes")
        ]
    );
    assert_eq!(
        (
            text(profile.default_sample_type),
            profile.time_nanos,
            profile.period
        ),
        ("inuse_space", 5_000_000_000, 1)
    );

    let mut sums: HashMap<&str, [i64; 4]> = HashMap::new();
    for sample in &profile.sample {
        assert_eq!(text(sample.label[0].key), "plugin");
        let sum = sums.entry(text(sample.label[0].str)).or_default();
        sum.iter_mut()
            .zip(&sample.value)
            .for_each(|(sum, value)| *sum += value);
    }
    for (plugin, snapshot) in [("cache", first), ("history", second)] {
        let totals = snapshot.totals();
        let expected = [
            totals.live_objects,
            totals.live_bytes,
            totals.allocated_objects,
            totals.allocated_bytes,
        ];
        assert_eq!(sums[plugin], expected.map(|value| value as i64), "{plugin}");
    }
}

/// The sums of all samples, and the number of samples.
fn sums(profile: &proto::Profile) -> ([i64; 4], usize) {
    let mut sums = [0; 4];
    for sample in &profile.sample {
        sums.iter_mut()
            .zip(&sample.value)
            .for_each(|(sum, value)| *sum += value);
    }
    (sums, profile.sample.len())
}

fn difference(earlier: &Snapshot, now: &Snapshot) -> proto::Profile {
    let mut builder = ProfileBuilder::of_kind(ProfileKind::Allocs, SystemTime::UNIX_EPOCH);
    builder.set_duration(Duration::from_secs(5));
    builder.add_difference("cache", earlier, now);
    decode(&builder.encode())
}

#[test]
fn a_difference_has_only_the_stacks_that_changed() {
    let symbols = no_symbols();
    let earlier = snapshot(&symbols, &[("a", 10, 1), ("b", 20, 2), ("c", 30, 3)]);
    let now = snapshot(
        &symbols,
        &[("a", 10, 1), ("b", 120, 4), ("d", 7, 1), ("c", 30, 3)],
    );
    let profile = difference(&earlier, &now);
    assert_eq!(profile.duration_nanos, 5_000_000_000);
    let first = profile.string_table[profile.default_sample_type as usize].as_str();
    assert_eq!(first, "alloc_space");
    // Every context has also allocated and freed a block of 1,000 bytes: that of `d` is new.
    assert_eq!(sums(&profile), ([3, 107, 4, 1107], 2));
    let real = real();
    assert_eq!(sums(&difference(&real, &real)), ([0; 4], 0));
}

#[test]
fn a_difference_across_instances_and_builds_counts_allocations_of_the_new_one() {
    let symbols = no_symbols();
    let earlier = snapshot(&symbols, &[("a", 500, 5), ("b", 20, 2)]);
    let restarted = snapshot(&symbols, &[("a", 10, 1)]);
    let profile = difference(&earlier, &restarted);
    assert_eq!(sums(&profile), ([-6, -510, 2, 1010], 2));
    // The real guest is another build: its stacks do not cancel those of the other.
    let (real, live) = (real(), real().totals().live_bytes as i64);
    let profile = difference(&earlier, &real);
    assert_eq!(sums(&profile).0[1], live - 520);
    assert_eq!(profile.mapping.len(), 2);
}

#[test]
fn the_text_has_the_frames_below_each_stack() {
    let (real, synthetic) = (real(), snapshot(&no_symbols(), &[("arguments", 4321, 3)]));
    let text = text::live_bytes(&[("cache", &real), ("history", &synthetic)]);
    let totals = real.totals();
    let (bytes, objects) = (totals.live_bytes + 4321, totals.live_objects + 3);
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with(&format!("heap profile: {objects}: {bytes} [")),
        "{first}"
    );
    assert!(first.ends_with("] @ heap/2"), "{first}");
    let (_, arguments) = text.split_once("\n3: 4321 [4: 5321] @ ").unwrap();
    let address = arguments.lines().next().unwrap();
    let row = format!("{address}\n#\t{address}\targuments\n");
    assert!(arguments.starts_with(&row), "{text}");
    let number = u64::from_str_radix(&address[2..], 16).unwrap();
    let guests = [("cache", &real), ("history", &synthetic)];
    let names = text::names(&guests, &[number - 1, number, 1]);
    let (_, names) = names.split_once('\n').unwrap();
    let name = |number: u64| format!("{number:#x}\targuments\n");
    assert_eq!(names, name(number - 1) + &name(number));
    let stacks = text.lines().filter(|line| line.contains("] @ 0x"));
    assert_eq!(stacks.count(), real.entries().len() + 1);
    let line = real.top(GroupBy::Line, 1).remove(0).location;
    assert!(text.contains(&format!("\t{line}\n")), "{line} in {text}");
}

#[test]
fn the_profile_has_the_stacks_of_the_snapshots() {
    let (encoded, first, _) = profile_of_two();
    let profile = decode(&encoded);
    let text = |index: i64| profile.string_table[index as usize].as_str();
    let locations: HashMap<u64, _> = profile
        .location
        .iter()
        .map(|location| (location.id, location))
        .collect();
    let functions: HashMap<u64, _> = profile
        .function
        .iter()
        .map(|function| (function.id, function))
        .collect();
    assert_eq!(
        locations.len(),
        profile.location.len(),
        "every id is unique"
    );
    let of_samples = profile.sample.iter().take(first.entries().len());
    for (sample, entry) in of_samples.zip(first.entries()) {
        let Context::Stack(stack) = &entry.context else {
            panic!("{entry:?}")
        };
        let addresses: Vec<u64> = sample
            .location_id
            .iter()
            .map(|id| locations[id].address)
            .collect();
        assert_eq!(
            addresses,
            stack
                .iter()
                .map(|offset| u64::from(*offset))
                .collect::<Vec<_>>()
        );
        let named: Vec<(&str, &str, i64)> = sample
            .location_id
            .iter()
            .flat_map(|id| &locations[id].line)
            .map(|line| {
                let function = functions[&line.function_id];
                (text(function.name), text(function.filename), line.line)
            })
            .collect();
        let frames = first.frames(&entry.context);
        let expected: Vec<(&str, &str, i64)> = frames
            .iter()
            .map(|frame| {
                (
                    &*frame.function,
                    frame.file.as_deref().unwrap_or_default(),
                    frame.line.map_or(0, i64::from),
                )
            })
            .collect();
        assert_eq!(named, expected);
    }
    let mappings: Vec<&str> = profile
        .mapping
        .iter()
        .map(|mapping| text(mapping.filename))
        .collect();
    assert_eq!(mappings, ["cache", "history"]);
}

#[test]
fn an_empty_profile_is_valid() {
    let profile = decode(&ProfileBuilder::new(SystemTime::now()).encode());
    assert_eq!((profile.sample.len(), profile.sample_type.len()), (0, 4));
}

#[test]
fn go_reads_the_profile() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heap.pb.gz");
    let (encoded, first, second) = profile_of_two();
    fs::write(&file, encoded).unwrap();
    let pprof = |arguments: &[&str]| {
        let output = Command::new("go")
            .args(["tool", "pprof"])
            .args(arguments)
            .arg(&file)
            .env("PPROF_TMPDIR", folder.path())
            .output();
        output.ok().map(|output| {
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8(output.stdout).unwrap()
        })
    };
    let Some(top) = pprof(&["-top", "-nodecount=500", "-unit=B"]) else {
        println!("skipped: go is not installed");
        return;
    };
    println!("{top}");
    let total = first.totals().live_bytes + second.totals().live_bytes;
    assert!(top.contains("Type: inuse_space"), "{top}");
    assert!(
        top.contains(&format!("of {total}B total")),
        "{total}: {top}"
    );
    assert!(
        top.contains("lines::plain_vector") && top.contains("arguments of leak#on-request"),
        "{top}"
    );
    // pprof drops the allocator's frames: otherwise the allocator would hold everything.
    for allocator in ["__rust_alloc", "grow_impl_runtime", "Global"] {
        assert!(!top.contains(allocator), "{allocator}: {top}");
    }
    assert!(!top.contains(" ::"), "names lose their types: {top}");

    let raw = pprof(&["-raw"]).unwrap();
    assert!(
        raw.contains("src/lib.rs")
            && raw.contains("plugin:[cache]")
            && raw.contains("plugin:[history]"),
        "{raw}"
    );
    let narrowed = pprof(&["-top", "-unit=B", "-tagfocus=plugin=history"]).unwrap();
    assert!(
        narrowed.contains(&format!("{}B", second.totals().live_bytes)),
        "{narrowed}"
    );
}

#[test]
fn go_reads_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heap.txt");
    let real = real();
    fs::write(&file, text::live_bytes(&[("cache", &real)])).unwrap();
    let output = Command::new("go")
        .args(["tool", "pprof", "-raw"])
        .arg(&file)
        .env("PPROF_TMPDIR", folder.path())
        .output();
    let Ok(output) = output else {
        println!("skipped: go is not installed");
        return;
    };
    let raw = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    // The guest has freed nothing, so pprof shows one pair of numbers.
    let pairs = raw.lines().filter_map(|line| {
        let mut values = line.split_once(':')?.0.split_whitespace();
        let pair = (values.next()?.parse().ok()?, values.next()?.parse().ok()?);
        values.next().is_none().then_some(pair)
    });
    let sums = pairs.fold((0, 0), |sum: (u64, u64), pair: (u64, u64)| {
        (sum.0 + pair.0, sum.1 + pair.1)
    });
    let totals = real.totals();
    let expected = (totals.live_objects, totals.live_bytes);
    assert_eq!(sums, expected, "the numbers are not scaled: {raw}");
}
