use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use guest_heap::reading::{ContextRecord, Reading};
use guest_heap::symbols::SymbolOptions;
use guest_heap::{InterpretedStack, SourceFrame};

use super::*;

#[path = "../../../tests/profiles/conformance.rs"]
mod conformance;

const TAKEN: Duration = Duration::from_secs(5);

fn taken() -> SystemTime {
    SystemTime::UNIX_EPOCH + TAKEN
}

/// A call stack of an interpreted program: lines of one file, innermost first.
fn stack(lines: &[u32]) -> Context {
    let frames = lines.iter().map(|line| {
        Arc::new(SourceFrame {
            file: Arc::from("app.py"),
            function: Arc::from("handle"),
            line: *line,
        })
    });
    Context::Interpreted(Arc::new(InterpretedStack::new(frames.collect(), false)))
}

fn named(name: &str) -> Context {
    Context::Synthetic(Arc::from(name))
}

/// A snapshot of contexts, each with its live bytes and live blocks.
fn snapshot(contexts: &[(Context, u64, u64)]) -> Snapshot {
    let symbols = Symbols::new(b"\0asm\x01\0\0\0", SymbolOptions::default()).unwrap();
    let mut reading = Reading::default();
    for (index, (_, bytes, objects)) in (0..).zip(contexts) {
        reading.contexts.push(ContextRecord {
            index,
            allocated_bytes: bytes + 1000,
            freed_bytes: 1000,
            allocated_objects: objects + 1,
            freed_objects: 1,
            ..ContextRecord::default()
        });
        reading.totals.live_bytes += bytes;
        reading.totals.live_objects += objects;
    }
    let context = |index: u32| contexts.get(index as usize).map(|c| c.0.clone());
    Snapshot::new(&reading, context, Arc::new(symbols))
}

fn text(batch: &ProfileBatch, index: i32) -> &str {
    &batch.dictionary.string_table[usize::try_from(index).unwrap()]
}

/// The sum of a profile's values by the innermost line: `file:line`, else the function.
fn by_line(profile: &Profile, batch: &ProfileBatch) -> BTreeMap<String, i64> {
    let at = |index: i32| usize::try_from(index).unwrap();
    let tables = &batch.dictionary;
    let mut sums = BTreeMap::new();
    for sample in &profile.samples {
        let stack = &tables.stack_table[at(sample.stack_index)];
        let line = tables.location_table[at(stack.location_indices[0])].lines[0];
        let function = &tables.function_table[at(line.function_index)];
        let place = match text(batch, function.filename_strindex) {
            "" => text(batch, function.name_strindex).to_owned(),
            file => format!("{file}:{}", line.line),
        };
        *sums.entry(place).or_default() += sample.values.iter().sum::<i64>();
    }
    sums
}

/// The sums of the two profiles by innermost line, after the check of the rules.
fn sums(batch: &ProfileBatch) -> [BTreeMap<String, i64>; 2] {
    conformance::check(&batch.profiles, &batch.dictionary);
    let sums = |index: usize| by_line(&batch.profiles[index], batch);
    [sums(0), sums(1)]
}

fn of<const N: usize>(pairs: [(&str, i64); N]) -> BTreeMap<String, i64> {
    pairs.map(|(place, sum)| (place.to_owned(), sum)).into()
}

#[test]
fn the_sums_by_line_are_those_of_the_snapshot() {
    let snapshot = snapshot(&[
        (stack(&[3, 10]), 100, 2),
        (stack(&[3, 20]), 50, 1),
        (stack(&[4, 10]), 7, 1),
        (named("arguments of leak#on-request"), 4321, 3),
        (named("freed"), 0, 0),
    ]);
    let batch = encode("cache", &snapshot, taken()).unwrap();
    let name = "arguments of leak#on-request";
    let [bytes, blocks] = sums(&batch);
    assert_eq!(
        bytes,
        of([("app.py:3", 150), ("app.py:4", 7), (name, 4321)])
    );
    assert_eq!(blocks, of([("app.py:3", 3), ("app.py:4", 1), (name, 3)]));
    let total: i64 = bytes.values().sum();
    assert_eq!(u64::try_from(total), Ok(snapshot.totals().live_bytes));
}

#[test]
fn there_is_one_profile_for_each_sample_type_with_the_plugin_as_attribute() {
    let snapshot = snapshot(&[(stack(&[3]), 100, 2)]);
    let batch = encode("cache", &snapshot, taken()).unwrap();
    let types: Vec<_> = batch
        .profiles
        .iter()
        .filter_map(|profile| profile.sample_type)
        .map(|kind| {
            (
                text(&batch, kind.type_strindex),
                text(&batch, kind.unit_strindex),
            )
        })
        .collect();
    assert_eq!(
        types,
        [("inuse_space", "bytes"), ("inuse_objects", "count")]
    );
    for profile in &batch.profiles {
        assert_eq!(u128::from(profile.time_unix_nano), TAKEN.as_nanos());
        assert_eq!((profile.period, profile.duration_nano), (1, 0));
        let first = profile.attribute_indices.first().copied().unwrap();
        let attribute = &batch.dictionary.attribute_table[usize::try_from(first).unwrap()];
        assert_eq!(text(&batch, attribute.key_strindex), "plugin");
        let value = attribute
            .value
            .as_ref()
            .and_then(|value| value.value.as_ref());
        assert_eq!(value, Some(&Value::StringValue("cache".to_owned())));
    }
    let mapping = &batch.dictionary.mapping_table[1];
    assert_eq!(text(&batch, mapping.filename_strindex), "cache");
}

#[test]
fn contexts_with_the_same_frames_are_one_sample() {
    let same = [(named("overflow"), 5, 1), (named("overflow"), 6, 2)];
    let batch = encode("cache", &snapshot(&same), taken()).unwrap();
    assert_eq!(
        sums(&batch),
        [of([("overflow", 11)]), of([("overflow", 3)])]
    );
    assert_eq!(batch.profiles[0].samples.len(), 1);
}

#[test]
fn a_heap_without_live_blocks_has_no_profile() {
    assert!(encode("cache", &snapshot(&[]), taken()).is_none());
    assert!(encode("cache", &snapshot(&[(named("freed"), 0, 0)]), taken()).is_none());
}

#[test]
fn a_profile_that_is_too_large_keeps_the_largest_stacks_and_all_sums() {
    let contexts: Vec<_> = (1..=1_000)
        .map(|line| (stack(&[line]), u64::from(line), 1))
        .collect();
    let snapshot = snapshot(&contexts);
    let whole = encode("cache", &snapshot, taken()).unwrap();
    assert_eq!(sums(&whole)[0].len(), 1_000);
    let limit = 8 << 10;
    let small = encode_within("cache", &snapshot, taken(), limit).unwrap();
    let profiles: usize = small.profiles.iter().map(prost::Message::encoded_len).sum();
    assert!(profiles + small.dictionary.encoded_len() <= limit);
    let [bytes, blocks] = sums(&small);
    assert!((100..1_000).contains(&bytes.len()), "{}", bytes.len());
    assert_eq!(bytes.get("app.py:1000"), Some(&1_000));
    assert!(!bytes.contains_key("app.py:1"));
    assert_eq!(bytes.values().sum::<i64>(), 500_500);
    assert_eq!(blocks.values().sum::<i64>(), 1_000);
    // Even a limit that nothing fits has the sums.
    let least = encode_within("cache", &snapshot, taken(), 1).unwrap();
    assert_eq!(sums(&least)[0], of([(SMALLER_STACKS, 500_500)]));
}
