//! Random operations on the heap, under one of several global allocators.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::collections::BTreeMap;
use std::hint::black_box;
#[cfg(any(
    feature = "buddy",
    feature = "linked",
    feature = "embedded",
    feature = "emballoc",
    feature = "mini",
    feature = "span",
    feature = "arena",
    feature = "cache"
))]
mod in_array;

#[cfg(feature = "lol")]
#[global_allocator]
static A: lol_alloc::AssumeSingleThreaded<lol_alloc::FreeListAllocator> =
    unsafe { lol_alloc::AssumeSingleThreaded::new(lol_alloc::FreeListAllocator::new()) };
#[cfg(all(feature = "talc", not(feature = "span")))]
#[global_allocator]
static A: talc::Talck<talc::locking::AssumeUnlockable, talc::WasmHandler> =
    unsafe { talc::Talc::new(talc::WasmHandler::new()).lock() };
#[cfg(feature = "wee")]
#[global_allocator]
static A: wee_alloc::WeeAlloc<'static> = wee_alloc::WeeAlloc::INIT;
#[cfg(feature = "rlsf")]
#[global_allocator]
static A: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();
#[cfg(feature = "dl")]
#[global_allocator]
static A: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
#[cfg(feature = "bump")]
mod bump {
    use std::alloc::{GlobalAlloc, Layout};
    use std::sync::atomic::{AtomicUsize, Ordering};
    pub struct Bump;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    static END: AtomicUsize = AtomicUsize::new(0);
    unsafe impl GlobalAlloc for Bump {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let start = NEXT
                .load(Ordering::Relaxed)
                .next_multiple_of(layout.align());
            let end = start + layout.size();
            if end > END.load(Ordering::Relaxed) {
                let pages = layout.size() / 65536 + 2;
                let old = core::arch::wasm32::memory_grow(0, pages);
                if old == usize::MAX {
                    return std::ptr::null_mut();
                }
                END.store((old + pages) * 65536, Ordering::Relaxed);
                NEXT.store(old * 65536 + layout.size(), Ordering::Relaxed);
                return (old * 65536) as *mut u8;
            }
            NEXT.store(end, Ordering::Relaxed);
            start as *mut u8
        }
        unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    }
}
#[cfg(feature = "bump")]
#[global_allocator]
static A: bump::Bump = bump::Bump;

enum Slot {
    Empty,
    Raw(*mut u8, Layout),
    Numbers(Vec<u64>),
    Text(String),
    Boxed(Box<[u8; 100]>),
    Map(BTreeMap<u32, u32>),
}
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
fn release(slot: &mut Slot) {
    if let Slot::Raw(p, l) = std::mem::replace(slot, Slot::Empty) {
        unsafe { dealloc(p, l) }
    }
}
fn exercise(slots: &mut [Slot], operations: u32) {
    let mut random = Random(0x9E3779B97F4A7C15);
    for _ in 0..operations {
        let a = random.next();
        let at = (a >> 40) as usize % slots.len();
        let slot = &mut slots[at];
        let size = 1 + (a as usize & 0xFF) << (((a >> 8) & 3) * ((a >> 12) & 1));
        match (a >> 16) & 15 {
            0 | 1 => {
                release(slot);
                let l = Layout::from_size_align(size, 1 << ((a >> 24) & 5)).unwrap();
                *slot = Slot::Raw(unsafe { alloc(l) }, l);
            }
            2 => {
                release(slot);
                let l = Layout::from_size_align(size, 8).unwrap();
                *slot = Slot::Raw(unsafe { alloc_zeroed(l) }, l);
            }
            3 | 4 => {
                release(slot);
                *slot = Slot::Numbers(Vec::with_capacity(size));
            }
            5 => {
                release(slot);
                *slot = Slot::Text("x".repeat(size));
            }
            6 => {
                release(slot);
                *slot = Slot::Boxed(black_box(Box::new([a as u8; 100])));
            }
            7 => {
                release(slot);
                *slot = Slot::Numbers(vec![0; size]);
            }
            8..=11 => match slot {
                Slot::Raw(p, l) => unsafe {
                    *p = realloc(*p, *l, size);
                    *l = Layout::from_size_align(size, l.align()).unwrap();
                },
                Slot::Numbers(n) => {
                    n.extend(0..size as u64 / 3);
                    if a >> 63 == 1 {
                        n.shrink_to_fit()
                    }
                }
                Slot::Text(t) => t.push_str("longer and longer"),
                _ => {}
            },
            12 => {
                release(slot);
                let mut m = BTreeMap::new();
                for i in 0..9 {
                    m.insert(i, i);
                }
                m.clear();
                *slot = Slot::Map(m);
            }
            _ => release(slot),
        }
    }
}
fn sum(slots: &[Slot]) -> usize {
    slots
        .iter()
        .map(|slot| match slot {
            Slot::Empty => 0,
            Slot::Raw(_, l) => l.size(),
            Slot::Numbers(n) => n.capacity() * 8,
            Slot::Text(t) => t.capacity(),
            Slot::Boxed(_) => 100,
            Slot::Map(_) => 0,
        })
        .sum()
}
#[cfg(target_os = "unknown")]
#[unsafe(no_mangle)]
pub extern "C" fn run(operations: u32) -> u64 {
    static mut SLOTS: Vec<Slot> = Vec::new();
    let slots = unsafe { &mut *(&raw mut SLOTS) };
    // Both calls begin with the same empty slots.
    slots.resize_with(2000, || Slot::Empty);
    exercise(slots, operations);
    sum(slots) as u64
}
fn main() {
    let operations: u32 = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let mut slots = Vec::new();
    slots.resize_with(2000, || Slot::Empty);
    exercise(&mut slots, operations);
    println!("live {}", sum(&slots));
    std::mem::forget(slots);
}
