//! What a value really owns on the heap, in the bytes that were asked of the allocator.
//!
//! Capacity counts, not length: spare room in a `Vec` is held just as much as what is in it. What the
//! allocator adds to each block for itself is not in these numbers.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::Request;

/// The heap memory behind a value, down to the last string. Takes time in proportion to the parts:
/// call it once when an object is added or removed and keep the sum.
pub trait HeapSize {
    /// Bytes on the heap that go when this value is dropped; the value itself is not among them.
    fn heap_bytes(&self) -> usize;
}

/// The memory of a container's own block, without what its elements own. Takes constant time.
pub trait Container {
    /// Bytes of the container's block.
    fn block_bytes(&self) -> usize;
}

macro_rules! owns_nothing {
    ($($type:ty),+) => {
        $(impl HeapSize for $type {
            fn heap_bytes(&self) -> usize {
                0
            }
        })+
    };
}

owns_nothing!(bool, char, f32, f64, i8, i16, i32, i64, isize, u8, u16, u32, u64, usize, &'static str);

impl HeapSize for String {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl HeapSize for Box<str> {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

/// Counts the shared block: ask one of the owners only.
impl HeapSize for Rc<str> {
    fn heap_bytes(&self) -> usize {
        // The two reference counts stand before the text, and the block is a whole number of words.
        (2 * size_of::<usize>() + self.len()).next_multiple_of(size_of::<usize>())
    }
}

impl<T: HeapSize> HeapSize for Box<T> {
    fn heap_bytes(&self) -> usize {
        size_of::<T>() + (**self).heap_bytes()
    }
}

impl<T: HeapSize> HeapSize for Option<T> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, T::heap_bytes)
    }
}

impl<A: HeapSize, B: HeapSize> HeapSize for (A, B) {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.1.heap_bytes()
    }
}

impl<T: HeapSize> HeapSize for [T] {
    fn heap_bytes(&self) -> usize {
        self.iter().map(T::heap_bytes).sum()
    }
}

impl<T: HeapSize> HeapSize for Box<[T]> {
    fn heap_bytes(&self) -> usize {
        size_of_val(&**self) + (**self).heap_bytes()
    }
}

impl<T: HeapSize> HeapSize for Vec<T> {
    fn heap_bytes(&self) -> usize {
        self.block_bytes() + self.as_slice().heap_bytes()
    }
}

impl HeapSize for Request {
    fn heap_bytes(&self) -> usize {
        self.id.heap_bytes()
            + self.method.heap_bytes()
            + self.path.heap_bytes()
            + self.query.heap_bytes()
            + self.headers.heap_bytes()
            + self.body_preview.heap_bytes()
            + self.trace_id.heap_bytes()
    }
}

impl<T> Container for Vec<T> {
    fn block_bytes(&self) -> usize {
        self.capacity() * size_of::<T>()
    }
}

impl<T> Container for VecDeque<T> {
    fn block_bytes(&self) -> usize {
        self.capacity() * size_of::<T>()
    }
}

impl<K, V, S> Container for HashMap<K, V, S> {
    /// The standard library's map is a table with a power of two of places, at least four of them, at
    /// most seven eighths in use, with a byte beside each place and one group of bytes after them.
    fn block_bytes(&self) -> usize {
        let capacity = self.capacity();
        if capacity == 0 {
            return 0;
        }
        let places = if capacity < 8 { capacity + 1 } else { capacity / 7 * 8 };
        (places * size_of::<(K, V)>()).next_multiple_of(GROUP_BYTES) + places + GROUP_BYTES
    }
}

/// How many places the standard library's map looks at in one step.
const GROUP_BYTES: usize = if cfg!(target_feature = "sse2") { 16 } else { 8 };

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds the measure to what the allocator has really handed out.
    #[track_caller]
    fn check<T>(make: impl FnOnce() -> T, measure: impl FnOnce(&T) -> usize) {
        let mut value = None;
        let allocated = allocation_counter::measure(|| value = Some(make()));
        let value = value.unwrap();
        assert_eq!(measure(&value) as i64, allocated.bytes_current);
    }

    #[test]
    fn strings_and_boxes() {
        check(|| String::with_capacity(100), HeapSize::heap_bytes);
        check(|| Some("word".to_owned()), HeapSize::heap_bytes);
        check(|| "word".to_owned().into_boxed_str(), HeapSize::heap_bytes);
        check(|| Box::new((7u64, "word".to_owned())), HeapSize::heap_bytes);
        check(|| vec![1u32; 9].into_boxed_slice(), HeapSize::heap_bytes);
        for len in 0..20 {
            check(|| Rc::<str>::from("x".repeat(len)), HeapSize::heap_bytes);
        }
    }

    #[test]
    fn vectors_count_their_spare_room() {
        check(|| Vec::<String>::with_capacity(100), HeapSize::heap_bytes);
        check(|| (0..50).map(|n| (n.to_string(), "x".repeat(n))).collect::<Vec<_>>(), HeapSize::heap_bytes);
    }

    #[test]
    fn containers_of_every_size() {
        for len in 0..2000usize {
            check(|| (0..len).fold(VecDeque::new(), |mut all, n| { all.push_back(n); all }), Container::block_bytes);
            check(|| (0..len).fold(Vec::new(), |mut all, n| { all.push(n); all }), Container::block_bytes);
            check(|| (0..len).map(|n| (n, [0u32; 5])).collect::<HashMap<_, _>>(), Container::block_bytes);
            check(|| (0..len).map(|n| (n as u16, 0u8)).collect::<HashMap<_, _>>(), Container::block_bytes);
        }
    }

    #[test]
    fn a_copied_request() {
        let request = crate::testing::request(7);
        check(|| request.clone(), HeapSize::heap_bytes);
    }
}
