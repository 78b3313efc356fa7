//! Maps offsets in the instrumented component back to offsets in the original.
//!
//! A backtrace of the instrumented component has offsets in that component. Line tables, names and
//! reports use offsets in the original. Instrumenting only inserts bytes, so the map is a list of
//! the offsets at which the distance between the two changes.

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

use super::error::MetaError;

/// The kind of a segment of the instrumented component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment {
    /// A copy of the original's bytes from this offset on.
    Copy(u32),
    /// Instructions inserted for the original instruction at this offset.
    Inserted(u32),
    /// Code of the profiler.
    Profiler,
    /// Code of the profiler that calls an export for the host: a call stack begins there.
    StackBase,
}

/// A map from instrumented to original offsets. Both count bytes from the start of the component,
/// like wasmtime's `FrameInfo::module_offset`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetMap {
    /// The instrumented offset at which each segment starts, ascending.
    segments: Vec<(u32, Segment)>,
}

impl OffsetMap {
    /// The original offset of the instruction at `offset` in the instrumented component.
    ///
    /// For an inserted instruction this is the offset of the instruction that it was inserted for.
    /// `None` in code of the profiler.
    pub fn original(&self, offset: u32) -> Option<u32> {
        let after = self.segments.partition_point(|(start, _)| *start <= offset);
        // Nothing is inserted before the first segment.
        let Some((start, segment)) = after.checked_sub(1).and_then(|at| self.segments.get(at))
        else {
            return Some(offset);
        };
        match segment {
            Segment::Copy(original) => original.checked_add(offset - start),
            Segment::Inserted(original) => Some(*original),
            Segment::Profiler | Segment::StackBase => None,
        }
    }

    /// Whether a call stack begins at `offset` in the instrumented component: the frames of its
    /// callers belong to the host or to other components.
    pub(crate) fn begins_stack(&self, offset: u32) -> bool {
        let after = self.segments.partition_point(|(start, _)| *start <= offset);
        let segment = after.checked_sub(1).and_then(|at| self.segments.get(at));
        matches!(segment, Some((_, Segment::StackBase)))
    }

    /// Bytes of memory that the map takes on the heap.
    pub fn memory_bytes(&self) -> usize {
        self.segments.capacity() * size_of::<(u32, Segment)>()
    }

    /// Frees the memory that further segments would take.
    pub(super) fn shrink(&mut self) {
        self.segments.shrink_to_fit();
    }

    /// Starts a copy at `offset`, of the original's bytes from `original` on.
    pub(super) fn push_copy(&mut self, offset: usize, original: usize) {
        self.push(offset, Segment::Copy(original as u32));
    }

    /// Starts bytes at `offset` that are inserted for the instruction at `original`.
    pub(super) fn push_inserted(&mut self, offset: usize, original: usize) {
        self.push(offset, Segment::Inserted(original as u32));
    }

    /// Starts code of the profiler at `offset`.
    pub(super) fn push_profiler(&mut self, offset: usize) {
        self.push(offset, Segment::Profiler);
    }

    /// Starts code at `offset` in which a call stack begins.
    pub(super) fn push_stack_base(&mut self, offset: usize) {
        self.push(offset, Segment::StackBase);
    }

    /// Appends the map of a part of the component. The part starts at `offset` in the instrumented
    /// component and at `original` in the original.
    pub(super) fn append(&mut self, part: &Self, offset: usize, original: usize) {
        for &(start, segment) in &part.segments {
            let start = start as usize + offset;
            match segment {
                Segment::Copy(at) => self.push_copy(start, at as usize + original),
                Segment::Inserted(at) => self.push_inserted(start, at as usize + original),
                Segment::Profiler => self.push_profiler(start),
                Segment::StackBase => self.push_stack_base(start),
            }
        }
    }

    fn push(&mut self, offset: usize, segment: Segment) {
        let offset = offset as u32;
        debug_assert!(self.segments.last().is_none_or(|(last, _)| *last <= offset));
        match self.segments.last_mut() {
            // The last segment is empty, so the new one replaces it.
            Some((last, before)) if *last == offset => *before = segment,
            _ => self.segments.push((offset, segment)),
        }
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        (self.segments.len() as u32).encode(bytes);
        let mut last = 0;
        for (start, segment) in &self.segments {
            (start - last).encode(bytes);
            last = *start;
            let (kind, original) = match segment {
                Segment::Copy(original) => (0, *original),
                Segment::Inserted(original) => (1, *original),
                Segment::Profiler => (2, 0),
                Segment::StackBase => (3, 0),
            };
            bytes.push(kind);
            // The original offset is near `start` in most segments, so the difference is short.
            (i64::from(original) - i64::from(*start)).encode(bytes);
        }
    }

    pub(super) fn decode(reader: &mut BinaryReader<'_>) -> Result<Self, MetaError> {
        let count = reader.read_var_u32()?;
        let mut segments = Vec::new();
        let mut last = 0u32;
        for _ in 0..count {
            let start = last
                .checked_add(reader.read_var_u32()?)
                .ok_or(MetaError::Malformed("an offset beyond 4 GiB"))?;
            last = start;
            let kind = reader.read_u8()?;
            let original = u32::try_from(i64::from(start) + reader.read_var_i64()?)
                .map_err(|_| MetaError::Malformed("an original offset beyond 4 GiB"));
            segments.push((
                start,
                match kind {
                    0 => Segment::Copy(original?),
                    1 => Segment::Inserted(original?),
                    2 => Segment::Profiler,
                    3 => Segment::StackBase,
                    _ => return Err(MetaError::Malformed("an unknown kind of segment")),
                },
            ));
        }
        Ok(Self { segments })
    }
}
