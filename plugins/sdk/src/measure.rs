//! Measures how many bytes a value owns on the heap, as requested from the allocator.
//!
//! Capacity counts, not length: a `Vec` holds its spare capacity just as it holds its elements. The
//! numbers do not include the allocator's own header of each block.

use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash};
use std::rc::Rc;

use crate::Request;

/// The hash map for plugins. It is the standard library's table as a crate, because `std` does not
/// report the size of its allocation (its `capacity` shrinks with every removal). The hasher has no
/// random seed, so two runs behave the same.
pub type HashMap<K, V> = hashbrown::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// The heap memory that a value owns, including everything that its fields own.
///
/// A measurement takes time in proportion to the number of parts. So measure an object once when
/// you add it and once when you remove it, and keep the sum:
///
/// ```
/// use leak_plugin_sdk::HeapSize;
///
/// let name = String::with_capacity(100);
/// assert_eq!(name.heap_bytes(), 100);
/// assert_eq!(Box::new(7u64).heap_bytes(), 8);
/// ```
pub trait HeapSize {
    /// The bytes on the heap that are freed when this value is dropped. The value itself
    /// (`size_of_val`) is not included.
    fn heap_bytes(&self) -> usize;
}

/// A container that stores its elements in one block of heap memory.
pub trait Container {
    /// The size of the container's own block in bytes, without the heap memory that its elements
    /// own. Takes constant time.
    fn block_bytes(&self) -> usize;

    /// Shrinks the block when less than a quarter of its capacity is in use. Blocks for up to 64
    /// elements never shrink.
    ///
    /// If you call this after each removal, it takes constant time on average: after a shrink, half
    /// of the elements must go before the block shrinks again.
    fn shrink_sparse(&mut self);
}

/// Blocks with at most this capacity, in elements, never shrink.
const MAX_UNSHRUNK_CAPACITY: usize = 64;

/// The capacity to shrink to, or `None` if the block is not sparse.
fn shrink_target(len: usize, capacity: usize) -> Option<usize> {
    (capacity > MAX_UNSHRUNK_CAPACITY && len < capacity / 4).then_some(len * 2)
}

macro_rules! impl_heap_size_zero {
    ($($type:ty),+) => {
        $(impl HeapSize for $type {
            fn heap_bytes(&self) -> usize {
                0
            }
        })+
    };
}

impl_heap_size_zero!(
    bool,
    char,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    isize,
    u8,
    u16,
    u32,
    u64,
    usize,
    &'static str
);

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

/// Counts the shared block. Measure only one of the owners.
impl HeapSize for Rc<str> {
    fn heap_bytes(&self) -> usize {
        // The block starts with the two reference counts, and its size is a multiple of the word
        // size.
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

    fn shrink_sparse(&mut self) {
        if let Some(capacity) = shrink_target(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<T> Container for VecDeque<T> {
    fn block_bytes(&self) -> usize {
        self.capacity() * size_of::<T>()
    }

    fn shrink_sparse(&mut self) {
        if let Some(capacity) = shrink_target(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<K: Eq + Hash, V> Container for HashMap<K, V> {
    fn block_bytes(&self) -> usize {
        self.allocation_size()
    }

    fn shrink_sparse(&mut self) {
        if let Some(capacity) = shrink_target(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a measurement with the bytes that the allocator handed out.
    #[track_caller]
    fn check<T>(make: impl FnOnce() -> T, measure: impl FnOnce(&T) -> usize) {
        let mut value = None;
        let allocated = allocation_counter::measure(|| value = Some(make()));
        let value = value.unwrap();
        assert_eq!(measure(&value) as i64, allocated.bytes_current);
    }

    #[test]
    fn strings_and_boxes_are_measured_exactly() {
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
    fn vectors_count_their_spare_capacity() {
        check(|| Vec::<String>::with_capacity(100), HeapSize::heap_bytes);
        check(
            || {
                (0..50)
                    .map(|n| (n.to_string(), "x".repeat(n)))
                    .collect::<Vec<_>>()
            },
            HeapSize::heap_bytes,
        );
    }

    #[test]
    fn containers_of_every_size_are_measured_exactly() {
        for len in 0..2000usize {
            check(
                || {
                    (0..len).fold(VecDeque::new(), |mut all, n| {
                        all.push_back(n);
                        all
                    })
                },
                Container::block_bytes,
            );
            check(
                || {
                    (0..len).fold(Vec::new(), |mut all, n| {
                        all.push(n);
                        all
                    })
                },
                Container::block_bytes,
            );
            check(
                || (0..len).map(|n| (n, [0u32; 5])).collect::<HashMap<_, _>>(),
                Container::block_bytes,
            );
            check(
                || (0..len).map(|n| (n as u16, 0u8)).collect::<HashMap<_, _>>(),
                Container::block_bytes,
            );
        }
    }

    #[test]
    fn a_map_with_tombstones_is_measured_exactly() {
        let replace = |len: usize| {
            let mut map = HashMap::default();
            for n in 0..3000usize {
                map.insert(n, [0u64; 3]);
                if let Some(old) = n.checked_sub(len) {
                    map.remove(&old);
                }
            }
            map
        };
        for len in [1, 10, 100, 111, 112, 113, 200] {
            check(|| replace(len), Container::block_bytes);
        }
    }

    #[test]
    fn a_sparse_container_shrinks() {
        let mut queue: VecDeque<u64> = (0..10_000).collect();
        let mut shrinks = 0;
        while queue.pop_front().is_some() {
            let before = queue.capacity();
            queue.shrink_sparse();
            shrinks += usize::from(queue.capacity() < before);
            assert!(
                queue.capacity() <= (queue.len() * 4 + 4).max(MAX_UNSHRUNK_CAPACITY),
                "{} of {}",
                queue.len(),
                queue.capacity()
            );
        }
        assert!((2..=10).contains(&shrinks), "shrunk {shrinks} times");
    }

    #[test]
    fn a_cloned_request_is_measured_exactly() {
        let request = crate::testing::request(7);
        check(|| request.clone(), HeapSize::heap_bytes);
    }
}
