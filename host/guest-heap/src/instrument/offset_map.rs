//! From offsets in the instrumented component back to those in the original.
//!
//! A backtrace of the instrumented component has its offsets; line tables, names and what is shown
//! to people have the original's. Since instrumenting only inserts bytes, the map is a list of
//! places where the distance between the two changes.

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

use super::error::MetaError;

/// What the bytes from a place on are, up to the next place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A copy of the original's bytes from this offset on.
    Copy(u32),
    /// Inserted, on behalf of the original instruction at this offset.
    Inserted(u32),
    /// The profiler's own.
    Profiler,
}

/// Instrumented offset → original offset, both counted from the start of the component, as
/// wasmtime's `FrameInfo::module_offset` counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetMap {
    /// Sorted by the first field.
    places: Vec<(u32, Origin)>,
}

impl OffsetMap {
    /// The original offset of the instruction at `offset` of the instrumented component; of the
    /// instruction that an inserted one serves; `None` in the profiler's own code.
    pub fn original(&self, offset: u32) -> Option<u32> {
        let after = self.places.partition_point(|(start, _)| *start <= offset);
        // Before the first place nothing has been inserted.
        let Some((start, origin)) = after.checked_sub(1).and_then(|at| self.places.get(at)) else {
            return Some(offset);
        };
        match origin {
            Origin::Copy(original) => original.checked_add(offset - start),
            Origin::Inserted(original) => Some(*original),
            Origin::Profiler => None,
        }
    }

    /// Bytes that the map takes.
    pub fn memory_bytes(&self) -> usize {
        self.places.capacity() * size_of::<(u32, Origin)>()
    }

    /// From `offset` on, bytes of the original from `original` on.
    pub(super) fn copy(&mut self, offset: usize, original: usize) {
        self.push(offset, Origin::Copy(original as u32));
    }

    /// From `offset` on, bytes inserted for the instruction at `original`.
    pub(super) fn inserted(&mut self, offset: usize, original: usize) {
        self.push(offset, Origin::Inserted(original as u32));
    }

    /// From `offset` on, the profiler's own code.
    pub(super) fn profiler(&mut self, offset: usize) {
        self.push(offset, Origin::Profiler);
    }

    /// Appends the places of a part, whose offsets start at `offset` in the instrumented component
    /// and at `original` in the original.
    pub(super) fn append(&mut self, part: &Self, offset: usize, original: usize) {
        for &(start, origin) in &part.places {
            let moved = |at: u32| Some(at as usize + original);
            let start = start as usize + offset;
            match origin {
                Origin::Copy(at) => moved(at).map(|at| self.copy(start, at)),
                Origin::Inserted(at) => moved(at).map(|at| self.inserted(start, at)),
                Origin::Profiler => {
                    self.profiler(start);
                    None
                }
            };
        }
    }

    fn push(&mut self, offset: usize, origin: Origin) {
        let offset = offset as u32;
        debug_assert!(self.places.last().is_none_or(|(last, _)| *last <= offset));
        match self.places.last_mut() {
            // Nothing lies between: the later word holds.
            Some((last, before)) if *last == offset => *before = origin,
            _ => self.places.push((offset, origin)),
        }
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        (self.places.len() as u32).encode(bytes);
        let mut last = 0;
        for (start, origin) in &self.places {
            (start - last).encode(bytes);
            last = *start;
            let (kind, original) = match origin {
                Origin::Copy(original) => (0, *original),
                Origin::Inserted(original) => (1, *original),
                Origin::Profiler => (2, 0),
            };
            bytes.push(kind);
            // Mostly near `start`, so that the distance is short.
            (i64::from(original) - i64::from(*start)).encode(bytes);
        }
    }

    pub(super) fn decode(reader: &mut BinaryReader<'_>) -> Result<Self, MetaError> {
        let count = reader.read_var_u32()?;
        let mut places = Vec::new();
        let mut last = 0u32;
        for _ in 0..count {
            let start = last
                .checked_add(reader.read_var_u32()?)
                .ok_or(MetaError::Malformed("an offset beyond 4 GiB"))?;
            last = start;
            let kind = reader.read_u8()?;
            let original = u32::try_from(i64::from(start) + reader.read_var_i64()?)
                .map_err(|_| MetaError::Malformed("an original offset beyond 4 GiB"));
            places.push((
                start,
                match kind {
                    0 => Origin::Copy(original?),
                    1 => Origin::Inserted(original?),
                    2 => Origin::Profiler,
                    _ => return Err(MetaError::Malformed("an unknown kind of place")),
                },
            ));
        }
        Ok(Self { places })
    }
}
