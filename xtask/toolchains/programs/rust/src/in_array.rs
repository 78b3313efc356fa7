//! Global allocators whose blocks are in an array of the program.

#![allow(unused)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::{NonNull, addr_of_mut, null_mut};

const BYTES: usize = 32 << 20;

#[repr(align(4096))]
pub struct Arena(pub [u8; BYTES]);
pub static mut ARENA: Arena = Arena([0; BYTES]);

fn arena() -> *mut u8 {
    addr_of_mut!(ARENA).cast()
}

/// An allocator that needs its memory when it is first used.
pub struct Lazy<T>(UnsafeCell<Option<T>>);
unsafe impl<T> Sync for Lazy<T> {}
impl<T> Lazy<T> {
    fn get(&self, make: impl FnOnce() -> T) -> &mut T {
        unsafe { (*self.0.get()).get_or_insert_with(make) }
    }
}

#[cfg(feature = "buddy")]
mod chosen {
    use super::*;
    use buddy_alloc::{BuddyAllocParam, FastAllocParam, NonThreadsafeAlloc};
    static mut FAST: [u8; 32 << 10] = [0; 32 << 10];
    #[global_allocator]
    static A: NonThreadsafeAlloc = unsafe {
        NonThreadsafeAlloc::new(
            FastAllocParam::new(addr_of_mut!(FAST).cast(), 32 << 10),
            BuddyAllocParam::new(addr_of_mut!(ARENA).cast(), BYTES, 64),
        )
    };
}

#[cfg(feature = "linked")]
mod chosen {
    use super::*;
    use linked_list_allocator::Heap;
    unsafe impl GlobalAlloc for Lazy<Heap> {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let heap = self.get(|| unsafe { Heap::new(arena(), BYTES) });
            let block = heap.allocate_first_fit(layout);
            block.map_or(null_mut(), NonNull::as_ptr)
        }
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            let heap = self.get(|| unreachable!());
            unsafe { heap.deallocate(NonNull::new_unchecked(block), layout) }
        }
    }
    #[global_allocator]
    static A: Lazy<Heap> = Lazy(UnsafeCell::new(None));
}

#[cfg(feature = "embedded")]
mod chosen {
    use super::*;
    use embedded_alloc::LlffHeap;
    struct Single;
    critical_section::set_impl!(Single);
    unsafe impl critical_section::Impl for Single {
        unsafe fn acquire() {}
        unsafe fn release(_: ()) {}
    }
    static HEAP: LlffHeap = LlffHeap::empty();
    struct Started;
    static READY: Lazy<()> = Lazy(UnsafeCell::new(None));
    unsafe impl GlobalAlloc for Started {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            READY.get(|| unsafe { HEAP.init(arena() as usize, BYTES) });
            unsafe { HEAP.alloc(layout) }
        }
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            unsafe { HEAP.dealloc(block, layout) }
        }
    }
    #[global_allocator]
    static A: Started = Started;
}

#[cfg(feature = "emballoc")]
#[global_allocator]
static A: emballoc::Allocator<BYTES> = emballoc::Allocator::new();

#[cfg(feature = "mini")]
#[global_allocator]
static A: mini_alloc::MiniAlloc = mini_alloc::MiniAlloc::INIT;

#[cfg(feature = "span")]
mod chosen {
    use super::*;
    use talc::{ClaimOnOom, Span, Talc, Talck, locking::AssumeUnlockable};
    #[global_allocator]
    static A: Talck<AssumeUnlockable, ClaimOnOom> = Talc::new(unsafe {
        ClaimOnOom::new(Span::from_array(addr_of_mut!(ARENA.0)))
    })
    .lock();
}

/// Free lists of sixteen sizes over an array. Larger blocks are never used again.
#[cfg(any(feature = "arena", feature = "cache"))]
struct Lists {
    free: [*mut u8; 16],
    next: usize,
}

#[cfg(any(feature = "arena", feature = "cache"))]
impl Lists {
    const fn new() -> Self {
        Self {
            free: [null_mut(); 16],
            next: 0,
        }
    }

    #[inline(always)]
    fn take(&mut self, layout: Layout) -> *mut u8 {
        let class = layout.size().max(8).next_power_of_two().trailing_zeros() as usize;
        if class < 16 && !self.free[class].is_null() && layout.align() <= 8 {
            let block = self.free[class];
            self.free[class] = unsafe { *block.cast() };
            return block;
        }
        let size = 1 << class;
        let start = self.next.next_multiple_of(layout.align().max(8));
        if start + size > BYTES {
            return null_mut();
        }
        self.next = start + size;
        unsafe { arena().add(start) }
    }

    #[inline(always)]
    fn put(&mut self, block: *mut u8, layout: Layout) {
        let class = layout.size().max(8).next_power_of_two().trailing_zeros() as usize;
        if class < 16 {
            unsafe { *block.cast() = self.free[class] };
            self.free[class] = block;
        }
    }
}

#[cfg(feature = "arena")]
mod chosen {
    use super::*;
    struct Inlined;
    static mut LISTS: Lists = Lists::new();
    unsafe impl GlobalAlloc for Inlined {
        #[inline(always)]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            unsafe { (*addr_of_mut!(LISTS)).take(layout) }
        }
        #[inline(always)]
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            unsafe { (*addr_of_mut!(LISTS)).put(block, layout) }
        }
    }
    #[global_allocator]
    static A: Inlined = Inlined;
}

/// Small blocks in an array, large ones from the default allocator.
#[cfg(feature = "cache")]
mod chosen {
    use super::*;
    struct Cache;
    static mut LISTS: Lists = Lists::new();
    unsafe impl GlobalAlloc for Cache {
        #[inline(always)]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            if layout.size() > 256 {
                return unsafe { System.alloc(layout) };
            }
            unsafe { (*addr_of_mut!(LISTS)).take(layout) }
        }
        #[inline(always)]
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            if layout.size() > 256 {
                return unsafe { System.dealloc(block, layout) };
            }
            unsafe { (*addr_of_mut!(LISTS)).put(block, layout) }
        }
    }
    #[global_allocator]
    static A: Cache = Cache;
}
