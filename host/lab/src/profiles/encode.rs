//! One heap in the messages of the signal `v1development`.
//!
//! A heap gives two profiles, of live bytes and of live blocks: the signal has one sample type for
//! each profile. What was ever allocated is left out. It would be a sum since the start of the
//! plugin, and the signal cannot say so: a reader would add up what it gets.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use guest_heap::reading::Context;
use guest_heap::snapshot::{Entry, Snapshot};
use guest_heap::symbols::{Frame, Symbols};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::profiles::v1development::{
    Function, KeyValueAndUnit, Line, Link, Location, Mapping, Profile, ProfilesDictionary, Sample,
    Stack, ValueType,
};
use prost::Message as _;
use telemetry::profiles::ProfileBatch;

use super::table::Table;

/// The most bytes that one heap takes. By default a collector takes requests of 4 MiB over gRPC.
pub const MAX_BYTES: usize = 3 << 20;

/// The stack of all live blocks that do not fit.
const SMALLER_STACKS: &str = "(smaller stacks)";

/// The profiles of a heap: live bytes and live blocks by call stack. If they take more than
/// [`MAX_BYTES`], the smallest stacks become one, so that the sums stay. `None` for an empty heap.
pub fn encode(plugin: &str, snapshot: &Snapshot, taken: SystemTime) -> Option<ProfileBatch> {
    encode_within(plugin, snapshot, taken, MAX_BYTES)
}

pub(super) fn encode_within(
    plugin: &str,
    snapshot: &Snapshot,
    taken: SystemTime,
    max_bytes: usize,
) -> Option<ProfileBatch> {
    let live = snapshot.entries().iter();
    let mut live: Vec<&Entry> = live.filter(|e| e.usage.live_objects > 0).collect();
    if live.is_empty() {
        return None;
    }
    live.sort_by_key(|entry| std::cmp::Reverse(entry.usage.live_bytes));
    let mut kept = live.len();
    loop {
        let mut encoder = Encoder::new(plugin, snapshot.symbols());
        let (largest, rest) = live.split_at_checked(kept).unwrap_or((&live, &[]));
        for entry in largest {
            encoder.add(entry);
        }
        encoder.add_rest(rest);
        let batch = encoder.finish(plugin, taken);
        let profiles = batch.profiles.iter().map(|p| p.encoded_len());
        let bytes = batch.dictionary.encoded_len() + profiles.sum::<usize>();
        if kept == 0 || bytes <= max_bytes {
            return Some(batch);
        }
        kept /= 2;
    }
}

/// Live bytes and live blocks.
type Values = [i64; 2];

/// One of the two.
type ValueOf = fn(&Values) -> i64;

struct Encoder<'a> {
    symbols: &'a Symbols,
    strings: Table<String>,
    mappings: Table<Mapping>,
    functions: Table<Function>,
    locations: Table<Location>,
    stacks: Table<Stack>,
    attributes: Table<KeyValueAndUnit>,
    /// The index of the guest's mapping.
    mapping: i32,
    /// Locations by offset in the component.
    by_offset: HashMap<u32, i32>,
    /// By stack: several contexts can have the same frames.
    values: BTreeMap<i32, Values>,
}

impl<'a> Encoder<'a> {
    fn new(plugin: &str, symbols: &'a Symbols) -> Self {
        let mut strings = Table::new();
        let mut mappings = Table::new();
        let mapping = mappings.index(Mapping {
            // Addresses are offsets in the component's file.
            memory_limit: u64::from(u32::MAX),
            filename_strindex: strings.index(plugin.to_owned()),
            ..Mapping::default()
        });
        Self {
            symbols,
            strings,
            mappings,
            functions: Table::new(),
            locations: Table::new(),
            stacks: Table::new(),
            attributes: Table::new(),
            mapping,
            by_offset: HashMap::new(),
            values: BTreeMap::new(),
        }
    }

    fn add(&mut self, entry: &Entry) {
        let location_indices = match &entry.context {
            Context::Stack(stack) => stack.iter().map(|offset| self.at_offset(*offset)).collect(),
            // One location for each call of the program. They have no address.
            Context::Interpreted(_) => {
                let frames = self.symbols.frames(&entry.context);
                frames
                    .iter()
                    .map(|frame| self.location(0, std::slice::from_ref(frame)))
                    .collect()
            }
            Context::Synthetic(_) => vec![self.location(0, &self.symbols.frames(&entry.context))],
        };
        let values = [entry.usage.live_bytes, entry.usage.live_objects].map(signed);
        self.add_values(location_indices, values);
    }

    fn add_rest(&mut self, rest: &[&Entry]) {
        if rest.is_empty() {
            return;
        }
        let name_strindex = self.strings.index(SMALLER_STACKS.to_owned());
        let function_index = self.functions.index(Function {
            name_strindex,
            ..Function::default()
        });
        let line = Line {
            function_index,
            ..Line::default()
        };
        let location = self.locations.index(Location {
            mapping_index: self.mapping,
            lines: vec![line],
            ..Location::default()
        });
        let bytes = rest.iter().map(|entry| entry.usage.live_bytes).sum();
        let blocks = rest.iter().map(|entry| entry.usage.live_objects).sum();
        self.add_values(vec![location], [bytes, blocks].map(signed));
    }

    fn add_values(&mut self, location_indices: Vec<i32>, values: Values) {
        let stack = self.stacks.index(Stack { location_indices });
        let sums = self.values.entry(stack).or_default();
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = sum.saturating_add(value);
        }
    }

    fn at_offset(&mut self, offset: u32) -> i32 {
        if let Some(index) = self.by_offset.get(&offset) {
            return *index;
        }
        let frames = self.symbols.resolve(offset);
        let index = self.location(u64::from(offset), &frames);
        self.by_offset.insert(offset, index);
        index
    }

    fn location(&mut self, address: u64, frames: &[Frame]) -> i32 {
        let lines = frames.iter().map(|frame| self.line(frame)).collect();
        self.locations.index(Location {
            mapping_index: self.mapping,
            address,
            lines,
            attribute_indices: Vec::new(),
        })
    }

    fn line(&mut self, frame: &Frame) -> Line {
        let name_strindex = self.strings.index(frame.function.to_string());
        let file = frame.file.as_deref();
        let filename_strindex = file.map_or(0, |file| self.strings.index(file.to_owned()));
        let function_index = self.functions.index(Function {
            name_strindex,
            filename_strindex,
            ..Function::default()
        });
        Line {
            function_index,
            line: frame.line.map_or(0, i64::from),
            column: frame.column.map_or(0, i64::from),
        }
    }

    fn attribute(&mut self, key: &str, value: String) -> i32 {
        let key_strindex = self.strings.index(key.to_owned());
        self.attributes.index(KeyValueAndUnit {
            key_strindex,
            value: Some(AnyValue {
                value: Some(Value::StringValue(value)),
            }),
            unit_strindex: 0,
        })
    }

    fn value_type(&mut self, name: &str, unit: &str) -> Option<ValueType> {
        Some(ValueType {
            type_strindex: self.strings.index(name.to_owned()),
            unit_strindex: self.strings.index(unit.to_owned()),
        })
    }

    fn finish(mut self, plugin: &str, taken: SystemTime) -> ProfileBatch {
        let attribute_indices = vec![
            self.attribute("plugin", plugin.to_owned()),
            self.attribute("plugin.build", format!("{:016x}", self.symbols.build())),
        ];
        let since_epoch = taken.duration_since(SystemTime::UNIX_EPOCH);
        let nanos = since_epoch.unwrap_or_default().as_nanos();
        let template = Profile {
            time_unix_nano: u64::try_from(nanos).unwrap_or(u64::MAX),
            period_type: self.value_type("space", "bytes"),
            // Every byte is counted.
            period: 1,
            attribute_indices,
            ..Profile::default()
        };
        let values = std::mem::take(&mut self.values);
        let types: [(&str, &str, ValueOf); 2] = [
            ("inuse_space", "bytes", |[bytes, _]| *bytes),
            ("inuse_objects", "count", |[_, blocks]| *blocks),
        ];
        let profiles = types.map(|(name, unit, value)| Profile {
            sample_type: self.value_type(name, unit),
            samples: samples(&values, value),
            ..template.clone()
        });
        ProfileBatch {
            profiles: profiles.to_vec(),
            dictionary: ProfilesDictionary {
                mapping_table: self.mappings.into_items(),
                location_table: self.locations.into_items(),
                function_table: self.functions.into_items(),
                link_table: Table::<Link>::new().into_items(),
                string_table: self.strings.into_items(),
                attribute_table: self.attributes.into_items(),
                stack_table: self.stacks.into_items(),
            },
        }
    }
}

/// One sample for each stack.
fn samples(values: &BTreeMap<i32, Values>, value: ValueOf) -> Vec<Sample> {
    let sample = |(stack, values): (&i32, &Values)| Sample {
        stack_index: *stack,
        values: vec![value(values)],
        ..Sample::default()
    };
    values.iter().map(sample).collect()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
