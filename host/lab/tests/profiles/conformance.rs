//! The rules of `profiles.proto`, version `v1development`, as a check of one request.
//!
//! The comments of the file say what a message MUST be and what it SHOULD be. This check demands
//! both. The integration tests of the host include this file too.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;

use opentelemetry_proto::tonic::profiles::v1development::{Profile, ProfilesDictionary};
use prost::Message;

/// Indices into one table, as far as they occur.
struct Indices<'a> {
    table: &'a str,
    len: usize,
    used: BTreeSet<usize>,
}

impl<'a> Indices<'a> {
    /// Also checks the zero value and that no item occurs twice.
    fn of<T: Message + Default + PartialEq + Debug>(table: &'a str, items: &[T]) -> Self {
        assert_eq!(items.first(), Some(&T::default()), "zero value of {table}");
        let distinct: HashSet<Vec<u8>> = items.iter().map(Message::encode_to_vec).collect();
        assert_eq!(distinct.len(), items.len(), "{table} has an item twice");
        Self {
            table,
            len: items.len(),
            used: BTreeSet::from([0]),
        }
    }

    /// An index that occurs in a message.
    fn see(&mut self, index: i32) {
        let index = usize::try_from(index).expect("an index is not negative");
        assert!(index < self.len, "{} has no item {index}", self.table);
        self.used.insert(index);
    }

    fn all_used(&self) {
        assert_eq!(self.used.len(), self.len, "{} has orphans", self.table);
    }
}

/// Checks the profiles of one request and their dictionary.
///
/// # Panics
/// When a rule is broken.
pub(crate) fn check(profiles: &[Profile], dictionary: &ProfilesDictionary) {
    let mut strings = Indices::of("string_table", &dictionary.string_table);
    let mut mappings = Indices::of("mapping_table", &dictionary.mapping_table);
    let mut functions = Indices::of("function_table", &dictionary.function_table);
    let mut locations = Indices::of("location_table", &dictionary.location_table);
    let mut stacks = Indices::of("stack_table", &dictionary.stack_table);
    let mut attributes = Indices::of("attribute_table", &dictionary.attribute_table);
    let mut links = Indices::of("link_table", &dictionary.link_table);

    for mapping in &dictionary.mapping_table {
        strings.see(mapping.filename_strindex);
        mapping
            .attribute_indices
            .iter()
            .for_each(|i| attributes.see(*i));
        assert!(mapping.memory_start <= mapping.memory_limit, "{mapping:?}");
    }
    for function in &dictionary.function_table {
        strings.see(function.name_strindex);
        strings.see(function.system_name_strindex);
        strings.see(function.filename_strindex);
    }
    for location in &dictionary.location_table {
        mappings.see(location.mapping_index);
        location
            .attribute_indices
            .iter()
            .for_each(|i| attributes.see(*i));
        location
            .lines
            .iter()
            .for_each(|l| functions.see(l.function_index));
        let mapping = &dictionary.mapping_table[location.mapping_index as usize];
        let range = mapping.memory_start..=mapping.memory_limit;
        assert!(range.contains(&location.address), "{location:?}");
    }
    for stack in &dictionary.stack_table {
        stack
            .location_indices
            .iter()
            .for_each(|i| locations.see(*i));
    }
    for attribute in &dictionary.attribute_table {
        strings.see(attribute.key_strindex);
        strings.see(attribute.unit_strindex);
    }
    let mut keys = |indices: &[i32]| {
        let mut keys = HashSet::new();
        for index in indices {
            attributes.see(*index);
            let key = dictionary.attribute_table[*index as usize].key_strindex;
            assert!(key > 0 && keys.insert(key), "the key {key} is not unique");
        }
    };
    assert!(!profiles.is_empty());
    for profile in profiles {
        for kind in [profile.sample_type, profile.period_type] {
            let kind = kind.expect("a type");
            assert!(kind.type_strindex > 0 && kind.unit_strindex > 0, "{kind:?}");
            strings.see(kind.type_strindex);
            strings.see(kind.unit_strindex);
        }
        assert!(profile.time_unix_nano > 0);
        assert!(matches!(profile.profile_id.len(), 0 | 16));
        let format = profile.original_payload_format.is_empty();
        assert_eq!(format, profile.original_payload.is_empty());
        keys(&profile.attribute_indices);
        let mut identities = HashSet::new();
        for sample in &profile.samples {
            stacks.see(sample.stack_index);
            links.see(sample.link_index);
            keys(&sample.attribute_indices);
            let (values, times) = (sample.values.len(), sample.timestamps_unix_nano.len());
            assert!(values > 0 || times > 0, "{sample:?} is empty");
            assert!(values == 0 || times == 0 || values == times, "{sample:?}");
            let shape = profile.samples.first().map(|first| first.values.len());
            assert_eq!(shape, Some(values), "all samples have one shape");
            let identity = (
                sample.stack_index,
                sample.attribute_indices.clone(),
                sample.link_index,
            );
            assert!(identities.insert(identity), "{sample:?} occurs twice");
        }
    }
    for table in [
        strings, mappings, functions, locations, stacks, attributes, links,
    ] {
        table.all_used();
    }
}
