//! What has to be kept beside an instrumented component.

use std::ops::Range;
use std::sync::Arc;

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

use super::Attribution;
use super::error::MetaError;
use super::offset_map::OffsetMap;

/// The first bytes of the encoded form, with its version.
const MAGIC: &[u8; 8] = b"gheap\0\0\x01";

/// An instrumented core module in the original component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleSpan {
    /// The core module's index in the component.
    pub index: u32,
    /// Its bytes in the original component.
    pub original: Range<u32>,
}

/// The side data of an instrumented component: what a [`Recorder`](crate::Recorder) needs to make
/// sense of what it is told. Made by [`instrument`](super::instrument()), or read back from a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstrumentedMeta {
    pub(super) attribution: Attribution,
    pub(super) offsets: OffsetMap,
    pub(super) specials: Vec<Arc<str>>,
    pub(super) modules: Vec<ModuleSpan>,
    pub(super) maximum_bytes: Option<u64>,
}

impl InstrumentedMeta {
    /// For a component that is left as it is.
    pub fn off(why: impl Into<String>) -> Self {
        Self {
            attribution: Attribution::Off { why: why.into() },
            offsets: OffsetMap::default(),
            specials: Vec::new(),
            modules: Vec::new(),
            maximum_bytes: None,
        }
    }

    /// How far the heap can be told by call stack.
    pub fn attribution(&self) -> &Attribution {
        &self.attribution
    }

    /// From the instrumented component's offsets to the original's.
    pub fn offsets(&self) -> &OffsetMap {
        &self.offsets
    }

    /// The instrumented core modules.
    pub fn modules(&self) -> &[ModuleSpan] {
        &self.modules
    }

    /// The name of a special context.
    pub(crate) fn special(&self, number: u64) -> Option<&Arc<str>> {
        self.specials.get(usize::try_from(number).ok()?)
    }

    /// Whether a memory is the profiler's own, by the maximum that a `ResourceLimiter` is told, in
    /// bytes. No memory of the component has this maximum. Such a memory is the host's expense: it
    /// must not count against the guest's limit. When its growth is refused the books lose blocks,
    /// and say how many; nothing else happens.
    pub fn is_profiler_memory(&self, maximum: Option<usize>) -> bool {
        self.maximum_bytes.is_some() && maximum.map(|bytes| bytes as u64) == self.maximum_bytes
    }

    /// For a cache beside the compiled component. [`from_bytes`](Self::from_bytes) reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let (kind, why) = match &self.attribution {
            Attribution::Exact => (0, ""),
            Attribution::Partial { why } => (1, why.as_str()),
            Attribution::Off { why } => (2, why.as_str()),
        };
        bytes.push(kind);
        why.encode(&mut bytes);
        (self.specials.len() as u32).encode(&mut bytes);
        self.specials
            .iter()
            .for_each(|name| name.encode(&mut bytes));
        (self.modules.len() as u32).encode(&mut bytes);
        for module in &self.modules {
            for number in [module.index, module.original.start, module.original.end] {
                number.encode(&mut bytes);
            }
        }
        self.maximum_bytes.unwrap_or_default().encode(&mut bytes);
        self.offsets.encode(&mut bytes);
        let sum = checksum(&bytes);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) has written.
    ///
    /// # Errors
    ///
    /// Another version wrote it, or it is damaged.
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
        let mut specials = Vec::new();
        for _ in 0..reader.read_var_u32()? {
            specials.push(reader.read_unlimited_string()?.into());
        }
        let mut modules = Vec::new();
        for _ in 0..reader.read_var_u32()? {
            modules.push(ModuleSpan {
                index: reader.read_var_u32()?,
                original: reader.read_var_u32()?..reader.read_var_u32()?,
            });
        }
        let maximum = reader.read_var_u64()?;
        let offsets = OffsetMap::decode(&mut reader)?;
        if !reader.eof() {
            return Err(MetaError::Malformed("more bytes than there should be"));
        }
        Ok(Self {
            attribution,
            offsets,
            specials,
            modules,
            maximum_bytes: (maximum != 0).then_some(maximum),
        })
    }
}

/// FNV-1a over words: against damage, not against malice.
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
