//! What a value really owns on the heap, in the bytes that were asked of the allocator.
//!
//! Capacity counts, not length: spare room in a `Vec` is held just as much as what is in it. What the
//! allocator adds to each block for itself is not in these numbers.

use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash};
use std::rc::Rc;

use crate::Request;

/// The map for a plugin: the standard library's own table, as a crate, since `std` does not say how
/// large it is (its `capacity` sinks with every removal). It hashes without a random seed, so that two
/// runs do the same.
pub type HashMap<K, V> = hashbrown::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// The heap memory behind a value, down to the last string. Takes time in proportion to the parts:
/// call it once when an object is added or removed and keep the sum.
pub trait HeapSize {
    /// Bytes on the heap that go when this value is dropped; the value itself is not among them.
    fn heap_bytes(&self) -> usize;
}

/// The memory of a container's own block, without what its elements own.
pub trait Container {
    /// Bytes of the container's block, in constant time.
    fn block_bytes(&self) -> usize;

    /// Gives back most of the block when less than a quarter of it is in use. Called after each
    /// removal it costs constant time on average, since a block must empty by half before it shrinks
    /// again.
    fn shrink_sparse(&mut self);
}

/// Blocks with no more places than this are left as they are.
const KEPT_CAPACITY: usize = 64;

/// The capacity to shrink to, if the block is sparse.
fn shrunk(len: usize, capacity: usize) -> Option<usize> {
    (capacity > KEPT_CAPACITY && len < capacity / 4).then_some(len * 2)
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

owns_nothing!(
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

    fn shrink_sparse(&mut self) {
        if let Some(capacity) = shrunk(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<T> Container for VecDeque<T> {
    fn block_bytes(&self) -> usize {
        self.capacity() * size_of::<T>()
    }

    fn shrink_sparse(&mut self) {
        if let Some(capacity) = shrunk(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<K: Eq + Hash, V> Container for HashMap<K, V> {
    fn block_bytes(&self) -> usize {
        self.allocation_size()
    }

    fn shrink_sparse(&mut self) {
        if let Some(capacity) = shrunk(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

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
    fn containers_of_every_size() {
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
    fn a_map_that_is_worn_by_removals() {
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
    fn a_sparse_container_gives_its_block_back() {
        let mut queue: VecDeque<u64> = (0..10_000).collect();
        let mut shrinks = 0;
        while queue.pop_front().is_some() {
            let before = queue.capacity();
            queue.shrink_sparse();
            shrinks += usize::from(queue.capacity() < before);
            assert!(
                queue.capacity() <= (queue.len() * 4 + 4).max(KEPT_CAPACITY),
                "{} of {}",
                queue.len(),
                queue.capacity()
            );
        }
        assert!((2..=10).contains(&shrinks), "shrunk {shrinks} times");
    }

    #[test]
    fn a_copied_request() {
        let request = crate::testing::request(7);
        check(|| request.clone(), HeapSize::heap_bytes);
    }
}
