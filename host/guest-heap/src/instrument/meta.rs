//! The side data of an instrumented component.

use std::ops::Range;
use std::sync::Arc;

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

use super::attribution::{Attribution, Missing};
use super::error::MetaError;
use super::offset_map::OffsetMap;
use crate::interpreter::Interpreter;

/// The first bytes of the encoded form. The last one is its version.
const MAGIC: &[u8; 8] = b"gheap\0\0\x06";

/// An instrumented core module in the original component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleSpan {
    /// Position of the core module among all core modules of the component, those of nested
    /// components included, in the order of the file.
    pub index: u32,
    /// The module that holds the heap tables of this one: itself, or one with which it shares a
    /// memory.
    pub tables: u32,
    /// Byte range of the module in the original component.
    pub original: Range<u32>,
    /// The allocator entry points that hooks replace, such as `malloc`. Empty in a module whose
    /// allocator is not known: the profiler counts only the pages by which its memory grows.
    pub entry_points: Vec<String>,
    /// Whether its functions are in call stacks. Those of an interpreter are not if the lines of
    /// its program are known.
    pub tracks_calls: bool,
    /// Calls that leave the calling context as it is, because the context of their caller
    /// identifies them. Offsets in the module, in ascending order.
    pub pass_through: Arc<[u32]>,
}

/// The side data of an instrumented component, which a [`Recorder`](crate::Recorder) needs.
///
/// [`instrument`](crate::instrument()) makes it, and a cache can store it: see
/// [`to_bytes`](Self::to_bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstrumentedMeta {
    pub(super) attribution: Attribution,
    pub(super) missing: Missing,
    pub(super) offsets: OffsetMap,
    /// Names of the synthetic contexts, by their numbers.
    pub(super) synthetic_names: Vec<Arc<str>>,
    pub(super) modules: Vec<ModuleSpan>,
    /// Declared maximum of the profiler's memories; `None` if nothing is instrumented.
    pub(super) maximum_bytes: Option<u64>,
    /// The interpreters whose frames are known, by the module that holds the heap tables.
    pub(super) interpreters: Vec<(u32, Interpreter)>,
    /// Why the program of an interpreter has no source lines.
    pub(super) without_lines: Option<String>,
    pub(super) handles: HandleMeta,
}

/// The handles of the component model that a component may hold, as far as they are known before it
/// runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandleMeta {
    /// Whether handles are counted. If not, and `gaps` is empty, the component has no handles.
    pub are_counted: bool,
    /// Names of the types of handles, such as `wasi:io/poll.pollable`. Records have their numbers.
    pub types: Vec<Arc<str>>,
    /// What is not counted, as clauses such as `handles that travel in streams and futures`.
    pub gaps: Arc<[Arc<str>]>,
}

impl InstrumentedMeta {
    /// The side data of a component that is not instrumented, with the reason.
    pub fn off(why: impl Into<String>) -> Self {
        Self {
            attribution: Attribution::Off { why: why.into() },
            missing: Missing::MEMORIES,
            offsets: OffsetMap::default(),
            synthetic_names: Vec::new(),
            modules: Vec::new(),
            maximum_bytes: None,
            interpreters: Vec::new(),
            without_lines: None,
            handles: HandleMeta::default(),
        }
    }

    /// How precisely the heap is attributed to call stacks, as far as it is known before the
    /// component runs. [`Reading::attribution`](crate::Reading::attribution) also considers what
    /// has happened since.
    pub fn attribution(&self) -> &Attribution {
        &self.attribution
    }

    /// What the profiler may miss, as far as it is known before the component runs.
    pub fn missing(&self) -> Missing {
        self.missing
    }

    #[cfg(test)]
    pub(crate) fn set_attribution(&mut self, attribution: Attribution, missing: Missing) {
        self.attribution = attribution;
        self.missing = missing;
    }

    /// The map from offsets in the instrumented component to offsets in the original.
    pub fn offsets(&self) -> &OffsetMap {
        &self.offsets
    }

    /// The instrumented core modules.
    pub fn modules(&self) -> &[ModuleSpan] {
        &self.modules
    }

    /// Whether the profiler counts blocks: an instrumented module has allocator entry points. If
    /// not, readings have only growths of memory by call stack.
    pub fn counts_blocks(&self) -> bool {
        self.modules
            .iter()
            .any(|module| !module.entry_points.is_empty())
    }

    /// The interpreter of the instances whose heap tables this module holds.
    pub(crate) fn interpreter(&self, module: u32) -> Option<&Interpreter> {
        let of_module = |(tables, _): &&(u32, Interpreter)| *tables == module;
        Some(&self.interpreters.iter().find(of_module)?.1)
    }

    /// The interpreter whose program has source lines, such as `CPython 3.14.0`.
    pub fn interpreter_name(&self) -> Option<String> {
        Some(self.interpreters.first()?.1.name())
    }

    /// Why the program of an interpreter has no source lines, in a sentence. `None` if it has, or
    /// if no interpreter is known.
    pub fn without_lines(&self) -> Option<&str> {
        self.without_lines.as_deref()
    }

    /// The handles that the component may hold.
    pub fn handles(&self) -> &HandleMeta {
        &self.handles
    }

    /// The name of the synthetic context with this number.
    pub(crate) fn synthetic_name(&self, number: u64) -> Option<&Arc<str>> {
        self.synthetic_names.get(usize::try_from(number).ok()?)
    }

    /// Whether a memory belongs to the profiler.
    ///
    /// `maximum` is the maximum in bytes that wasmtime passes to a `ResourceLimiter`. No memory of
    /// the component itself has the profiler's maximum.
    ///
    /// The profiler's memory is an expense of the host, so do not count it against the guest's
    /// limit. When a limiter refuses its growth, the profiler loses blocks and counts them in
    /// [`Totals::lost`](crate::Totals::lost). The guest is not affected.
    pub fn is_profiler_memory(&self, maximum: Option<usize>) -> bool {
        self.maximum_bytes.is_some() && maximum.map(|bytes| bytes as u64) == self.maximum_bytes
    }

    /// Encodes the side data, so that a cache can store it together with the compiled component.
    /// [`from_bytes`](Self::from_bytes) decodes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let (kind, why) = match &self.attribution {
            Attribution::Exact => (0, ""),
            Attribution::Partial { why } => (1, why.as_str()),
            Attribution::Off { why } => (2, why.as_str()),
        };
        bytes.push(kind);
        why.encode(&mut bytes);
        let Missing {
            frees,
            allocations,
            memories,
        } = self.missing;
        bytes.extend([frees, allocations, memories].map(u8::from));
        (self.synthetic_names.len() as u32).encode(&mut bytes);
        self.synthetic_names
            .iter()
            .for_each(|name| name.encode(&mut bytes));
        (self.modules.len() as u32).encode(&mut bytes);
        for module in &self.modules {
            for number in [
                module.index,
                module.tables,
                module.original.start,
                module.original.end,
            ] {
                number.encode(&mut bytes);
            }
            (module.entry_points.len() as u32).encode(&mut bytes);
            module
                .entry_points
                .iter()
                .for_each(|name| name.encode(&mut bytes));
            bytes.push(u8::from(module.tracks_calls));
            encode_ascending(&module.pass_through, &mut bytes);
        }
        (self.interpreters.len() as u32).encode(&mut bytes);
        for (module, interpreter) in &self.interpreters {
            module.encode(&mut bytes);
            interpreter.encode(&mut bytes);
        }
        self.without_lines
            .as_deref()
            .unwrap_or_default()
            .encode(&mut bytes);
        bytes.push(u8::from(self.handles.are_counted));
        for names in [&self.handles.types[..], &self.handles.gaps] {
            (names.len() as u32).encode(&mut bytes);
            names.iter().for_each(|name| name.encode(&mut bytes));
        }
        self.maximum_bytes.unwrap_or_default().encode(&mut bytes);
        self.offsets.encode(&mut bytes);
        let sum = checksum(&bytes);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    /// Decodes the bytes of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    ///
    /// Another version of this library has encoded the bytes, or they are damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MetaError> {
        let Some((body, sum)) = bytes.split_last_chunk::<8>() else {
            return Err(MetaError::Malformed("too short"));
        };
        let Some(rest) = body.strip_prefix(MAGIC) else {
            return Err(MetaError::OtherVersion);
        };
        if checksum(body) != u64::from_le_bytes(*sum) {
            return Err(MetaError::Malformed("the checksum differs"));
        }
        let mut reader = BinaryReader::new(rest, 0);
        let kind = reader.read_u8()?;
        let why = reader.read_unlimited_string()?.to_owned();
        let attribution = match kind {
            0 => Attribution::Exact,
            1 => Attribution::Partial { why },
            2 => Attribution::Off { why },
            _ => return Err(MetaError::Malformed("an unknown attribution")),
        };
        let mut flag = || reader.read_u8().map(|byte| byte != 0);
        let missing = Missing {
            frees: flag()?,
            allocations: flag()?,
            memories: flag()?,
        };
        let synthetic_names = read_names(&mut reader)?;
        let mut modules = Vec::new();
        for _ in 0..reader.read_var_u32()? {
            let index = reader.read_var_u32()?;
            let tables = reader.read_var_u32()?;
            let original = reader.read_var_u32()?..reader.read_var_u32()?;
            let mut entry_points = Vec::new();
            for _ in 0..reader.read_var_u32()? {
                entry_points.push(reader.read_unlimited_string()?.to_owned());
            }
            modules.push(ModuleSpan {
                index,
                tables,
                original,
                entry_points,
                tracks_calls: reader.read_u8()? != 0,
                pass_through: read_ascending(&mut reader)?.into(),
            });
        }
        let mut interpreters = Vec::new();
        for _ in 0..reader.read_var_u32()? {
            interpreters.push((reader.read_var_u32()?, Interpreter::decode(&mut reader)?));
        }
        let without_lines = reader.read_unlimited_string()?.to_owned();
        let handles = HandleMeta {
            are_counted: reader.read_u8()? != 0,
            types: read_names(&mut reader)?,
            gaps: read_names(&mut reader)?.into(),
        };
        let maximum = reader.read_var_u64()?;
        let offsets = OffsetMap::decode(&mut reader)?;
        if !reader.eof() {
            return Err(MetaError::Malformed("more bytes than expected"));
        }
        Ok(Self {
            attribution,
            missing,
            offsets,
            synthetic_names,
            modules,
            maximum_bytes: (maximum != 0).then_some(maximum),
            interpreters,
            without_lines: Some(without_lines).filter(|why| !why.is_empty()),
            handles,
        })
    }
}

fn read_names(reader: &mut BinaryReader<'_>) -> wasmparser::Result<Vec<Arc<str>>> {
    let mut names = Vec::new();
    for _ in 0..reader.read_var_u32()? {
        names.push(reader.read_unlimited_string()?.into());
    }
    Ok(names)
}

/// Numbers in ascending order, each as its distance from the one before.
fn encode_ascending(numbers: &[u32], bytes: &mut Vec<u8>) {
    (numbers.len() as u32).encode(bytes);
    let mut before = 0;
    for number in numbers {
        number.wrapping_sub(before).encode(bytes);
        before = *number;
    }
}

fn read_ascending(reader: &mut BinaryReader<'_>) -> Result<Vec<u32>, MetaError> {
    let mut numbers = Vec::new();
    let mut before = 0_u32;
    for _ in 0..reader.read_var_u32()? {
        let number = before.checked_add(reader.read_var_u32()?);
        before = number.ok_or(MetaError::Malformed("an offset is too large"))?;
        numbers.push(before);
    }
    Ok(numbers)
}

/// A variant of FNV-1a over 64-bit words. It detects damage, but not a deliberate change.
fn checksum(bytes: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| {
        (hash ^ word)
            .wrapping_mul(0x0000_0100_0000_01B3)
            .rotate_left(23)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let rest = rest.iter().map(|byte| u64::from(*byte));
    words.chain(rest).fold(0xCBF2_9CE4_8422_2325, step)
}
