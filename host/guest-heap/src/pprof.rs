//! Encodes snapshots as a pprof profile, which `go tool pprof`, Pyroscope and speedscope open.
//!
//! A profile shows a snapshot, or what has changed between two of them. [`text`] is the same for
//! people.
//!
//! One profile can hold several guests. Each guest is a mapping of its own, and every sample has
//! the label `plugin`. The stacks in the profile are complete, but `drop_frames` names the
//! functions of the allocator, so that a report begins at the code that allocates.

mod difference;
mod proto;
pub mod text;

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;

use crate::reading::Context;
use crate::snapshot::{Snapshot, Usage};
use crate::source_stack::SourceFrame;
use crate::symbols::{Frame, FrameKind, Symbols};
use proto::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};

/// Which numbers a reader of the profile sees first. A profile of either kind has all of them, as
/// the profiles `heap` and `allocs` of Go have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileKind {
    /// Live bytes.
    Heap,
    /// Bytes ever allocated.
    Allocs,
}

impl ProfileKind {
    /// `heap` or `allocs`.
    pub fn name(self) -> &'static str {
        match self {
            ProfileKind::Heap => "heap",
            ProfileKind::Allocs => "allocs",
        }
    }

    fn default_sample_type(self) -> &'static str {
        match self {
            ProfileKind::Heap => "inuse_space",
            ProfileKind::Allocs => "alloc_space",
        }
    }
}

/// The numbers of one sample, in the order of the profile's sample types.
type Values = [i64; 4];

/// Builds a profile, guest by guest.
#[derive(Debug)]
pub struct ProfileBuilder {
    profile: Profile,
    strings: HashMap<String, i64>,
    functions: HashMap<(Arc<str>, Option<Arc<str>>), u64>,
    /// Names of the allocator's functions, for `drop_frames`.
    allocators: Vec<String>,
    /// Names of all other functions. A function of the same name must not be dropped.
    others: HashSet<Arc<str>>,
}

impl ProfileBuilder {
    /// An empty profile of snapshots that were taken at this time. Its readers show live bytes.
    pub fn new(taken: SystemTime) -> Self {
        Self::of_kind(ProfileKind::Heap, taken)
    }

    /// An empty profile of snapshots that were taken at this time.
    pub fn of_kind(kind: ProfileKind, taken: SystemTime) -> Self {
        let mut builder = Self {
            profile: Profile::default(),
            strings: HashMap::new(),
            functions: HashMap::new(),
            allocators: Vec::new(),
            others: HashSet::new(),
        };
        // The format requires that the empty string comes first.
        builder.string("");
        let types = [
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
        ];
        for (name, unit) in types {
            let sample_type = builder.value_type(name, unit);
            builder.profile.sample_type.push(sample_type);
        }
        builder.profile.default_sample_type = builder.string(kind.default_sample_type());
        builder.profile.period_type = Some(builder.value_type("space", "bytes"));
        // A period of 1: the profile counts every byte.
        builder.profile.period = 1;
        let since_epoch = taken
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        builder.profile.time_nanos = i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX);
        builder
    }

    /// The time that the profile covers, for a profile of differences.
    pub fn set_duration(&mut self, duration: Duration) {
        self.profile.duration_nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    }

    /// Adds one guest under its name: its live and its ever allocated blocks and bytes.
    pub fn add(&mut self, plugin: &str, snapshot: &Snapshot) {
        let samples = snapshot.entries().iter();
        let samples = samples.map(|entry| (&entry.context, values(&entry.usage)));
        self.add_samples(plugin, snapshot.symbols(), samples);
    }

    /// Adds the samples of one guest, whose contexts `symbols` resolves.
    fn add_samples<'a>(
        &mut self,
        plugin: &str,
        symbols: &Symbols,
        samples: impl Iterator<Item = (&'a Context, Values)>,
    ) {
        let mapping_id = self.profile.mapping.len() as u64 + 1;
        let filename = self.string(plugin);
        let build_id = self.string(&format!("{:016x}", symbols.build()));
        self.profile.mapping.push(Mapping {
            id: mapping_id,
            memory_start: 0,
            // All guests use the same address range. Addresses are offsets in a file, so the ranges
            // of different mappings may overlap.
            memory_limit: u64::from(u32::MAX),
            filename,
            build_id,
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
        });
        let label = Label {
            key: self.string("plugin"),
            str: filename,
        };
        let mut locations = GuestLocations {
            mapping_id,
            by_offset: HashMap::new(),
            by_source: HashMap::new(),
        };
        for (context, values) in samples {
            let location_id = match context {
                Context::Stack(stack) => stack
                    .iter()
                    .map(|offset| locations.for_offset(self, symbols, *offset))
                    .collect(),
                Context::Interpreted(stack) => {
                    let frames = symbols.frames(context);
                    let sources = stack.frames().iter().map(Some).chain([None]);
                    frames
                        .iter()
                        .zip(sources)
                        .map(|(frame, source)| locations.for_source(self, source, frame))
                        .collect()
                }
                synthetic => vec![locations.push(self, 0, &symbols.frames(synthetic))],
            };
            self.profile.sample.push(Sample {
                location_id,
                value: values.to_vec(),
                label: vec![label],
            });
        }
    }

    /// Encodes the profile as gzipped protobuf, by pprof's `profile.proto`.
    pub fn encode(mut self) -> Vec<u8> {
        let others = &self.others;
        self.allocators
            .retain(|name| !others.contains(name.as_str()));
        self.allocators.sort_unstable();
        self.allocators.dedup();
        if !self.allocators.is_empty() {
            let pattern = self
                .allocators
                .iter()
                .map(|name| regex_escaped(name))
                .collect::<Vec<_>>()
                .join("|");
            self.profile.drop_frames = self.string(&pattern);
        }
        let plain = self.profile.encode_to_vec();
        let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
        // Writing to memory cannot fail. If it did, a reader would report an incomplete profile.
        let _ = encoder.write_all(&plain);
        encoder.finish().unwrap_or_default()
    }

    fn value_type(&mut self, name: &str, unit: &str) -> ValueType {
        ValueType {
            r#type: self.string(name),
            unit: self.string(unit),
        }
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(index) = self.strings.get(text) {
            return *index;
        }
        let index = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), index);
        index
    }

    fn function(&mut self, frame: &Frame) -> u64 {
        if frame.kind != FrameKind::Allocator {
            self.others.insert(Arc::clone(&frame.function));
        }
        let key = (Arc::clone(&frame.function), frame.file.clone());
        if let Some(id) = self.functions.get(&key) {
            return *id;
        }
        let id = self.profile.function.len() as u64 + 1;
        let name = self.string(&frame.function);
        let filename = frame.file.as_deref().map_or(0, |file| self.string(file));
        // If the system name equals the name, pprof demangles it as C++ and removes everything in
        // angle brackets.
        self.profile.function.push(Function {
            id,
            name,
            system_name: 0,
            filename,
        });
        self.functions.insert(key, id);
        if frame.kind == FrameKind::Allocator {
            self.allocators.push(frame.function.to_string());
        }
        id
    }
}

/// The locations of one guest.
struct GuestLocations {
    mapping_id: u64,
    by_offset: HashMap<u32, u64>,
    /// Calls of an interpreted program. They have no address.
    by_source: HashMap<Option<Arc<SourceFrame>>, u64>,
}

impl GuestLocations {
    fn for_offset(&mut self, builder: &mut ProfileBuilder, symbols: &Symbols, offset: u32) -> u64 {
        if let Some(id) = self.by_offset.get(&offset) {
            return *id;
        }
        let id = self.push(builder, u64::from(offset), &symbols.resolve(offset));
        self.by_offset.insert(offset, id);
        id
    }

    fn for_source(
        &mut self,
        builder: &mut ProfileBuilder,
        source: Option<&Arc<SourceFrame>>,
        frame: &Frame,
    ) -> u64 {
        let source = source.cloned();
        if let Some(id) = self.by_source.get(&source) {
            return *id;
        }
        let id = self.push(builder, 0, std::slice::from_ref(frame));
        self.by_source.insert(source, id);
        id
    }

    fn push(&self, builder: &mut ProfileBuilder, address: u64, frames: &[Frame]) -> u64 {
        let line = frames
            .iter()
            .map(|frame| Line {
                function_id: builder.function(frame),
                line: frame.line.map_or(0, i64::from),
                column: frame.column.map_or(0, i64::from),
            })
            .collect();
        let id = builder.profile.location.len() as u64 + 1;
        builder.profile.location.push(Location {
            id,
            mapping_id: self.mapping_id,
            address,
            line,
        });
        id
    }
}

/// The numbers of a context, as a sample has them.
fn values(usage: &Usage) -> Values {
    let value = [
        usage.live_objects,
        usage.live_bytes,
        usage.allocated_objects,
        usage.allocated_bytes,
    ];
    value.map(|value| i64::try_from(value).unwrap_or(i64::MAX))
}

/// A regular expression that matches only this function name. pprof removes the arguments at the
/// end of a name before it compares.
fn regex_escaped(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if !(c.is_alphanumeric() || matches!(c, '_' | ':' | ' ')) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
