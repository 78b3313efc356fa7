//! Tests of the live table, on the native target: it returns every block, for any layout of
//! addresses.
//!
//! Long because all tests share one model of the table.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]
#![allow(unsafe_code, reason = "the test provides the table's memory")]

use std::collections::HashMap;

use guest_heap_runtime::block::Block;
use guest_heap_runtime::live::{Bucket, FIRST_BYTES, LiveTable, Region, Spill};

/// A memory region that grows up to a limit in bytes.
struct TestMemory {
    bytes: Vec<Aligned>,
    limit: usize,
}

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Aligned(#[allow(dead_code)] [u8; 64]);

impl TestMemory {
    /// Allocates all of the memory at once, since a vector that grows would move.
    fn new(max_bytes: usize, limit: usize) -> Self {
        Self {
            bytes: vec![Aligned([0; 64]); max_bytes / 64],
            limit,
        }
    }
}

// SAFETY: the vector is never resized, and only the table uses it.
unsafe impl Region for TestMemory {
    fn base(&self) -> *mut Bucket {
        self.bytes.as_ptr().cast_mut().cast()
    }

    fn ensure(&mut self, bytes: usize) -> bool {
        bytes <= self.limit && bytes <= self.bytes.len() * 64
    }
}

/// A table, and a map of the blocks that it must hold.
struct Model {
    table: LiveTable<TestMemory>,
    blocks: HashMap<u32, Block>,
    refused: u32,
}

fn bytes_for(blocks: u32) -> usize {
    FIRST_BYTES
        .max(blocks as usize * 16 + 2048)
        .next_power_of_two()
        * 2
}

impl Model {
    /// The table's memory has room for about `blocks` blocks.
    fn new(blocks: u32, limit: usize) -> Self {
        let spill = Box::leak(Box::new(Spill::new()));
        // SAFETY: the spill is leaked, and nothing else uses it.
        let table = unsafe { LiveTable::new(TestMemory::new(bytes_for(blocks), limit), spill) };
        Self {
            table,
            blocks: HashMap::new(),
            refused: 0,
        }
    }

    fn insert(&mut self, pointer: u32, size: u32, context: u32) {
        if self.table.insert(pointer, size, context)
            || self.table.insert_slow(pointer, size, context)
        {
            self.blocks.insert(pointer, Block { size, context });
        } else {
            self.refused += 1;
        }
    }

    fn remove(&mut self, pointer: u32) {
        assert_eq!(
            self.table.remove(pointer),
            self.blocks.remove(&pointer),
            "{pointer:#x}"
        );
    }
}

#[test]
fn every_block_is_found_again_for_every_distance_of_blocks() {
    for stride in 1..=2000_u32 {
        // Like malloc: blocks are aligned to 8 and have a header. The table doubles four times.
        let step = (stride + 4).next_multiple_of(8);
        let count = 24_000;
        let pointer = |i| 0x0011_0008 + i * step;
        let block = |i| Block {
            size: stride,
            context: i & 0x3FFF,
        };
        let mut table = Model::new(count, usize::MAX).table;
        let mut max_waiting = 0;
        for i in 0..count {
            let kept = table.insert(pointer(i), stride, block(i).context);
            assert!(kept || table.insert_slow(pointer(i), stride, block(i).context));
            max_waiting = max_waiting.max(table.waiting());
        }
        // Removes half of them in order and the other half in reverse order.
        for i in (0..count)
            .step_by(2)
            .chain((0..count).rev().filter(|i| i % 2 == 1))
        {
            assert_eq!(table.remove(pointer(i)), Some(block(i)), "stride {stride}");
        }
        assert_eq!(
            (table.take_dropped(), max_waiting),
            (0, 0),
            "stride {stride}"
        );
    }
}

#[test]
fn large_tables_lose_nothing() {
    for step in [16, 24, 40, 104, 136, 1024, 2048] {
        let count = 1_500_000.min((u32::MAX - 0x0020_0000) / step);
        let mut model = Model::new(count, usize::MAX);
        for i in 0..count {
            model.insert(0x0011_0000 + i * step, i & 0xFFFF, i & 0x3FFF);
        }
        for i in 0..count {
            model.remove(0x0011_0000 + i * step);
        }
        assert_eq!(
            (model.refused, model.table.take_dropped()),
            (0, 0),
            "step {step}"
        );
    }
}

#[test]
fn the_table_keeps_sizes_up_to_four_gibibytes() {
    let mut model = Model::new(4096, usize::MAX);
    let sizes = [0, 1, 262_142, 262_143, 262_144, 300_000, 1 << 21, u32::MAX];
    for (i, size) in (0..).zip(sizes) {
        model.insert(0x1000 + i * 0x4_0000, size, i);
    }
    for i in 0..sizes.len() as u32 {
        assert_eq!(
            model
                .table
                .replace(0x1000 + i * 0x4_0000, u32::MAX - i, 7)
                .unwrap()
                .size,
            sizes[i as usize]
        );
    }
    for i in 0..sizes.len() as u32 {
        let block = model.table.remove(0x1000 + i * 0x4_0000).unwrap();
        assert_eq!(
            block,
            Block {
                size: u32::MAX - i,
                context: 7
            }
        );
    }
    assert_eq!(model.table.remove(0x1000), None);
    assert_eq!(model.table.replace(0x1000, 1, 1), None);
}

/// A small size, or a large one in one of 256 cases: an address space has no room for more of them.
fn size(random: u64) -> u32 {
    let size = (random >> 36) as u32;
    if random >> 56 == 0 {
        size & 0x7_FFFF
    } else {
        size & 0xFFFF
    }
}

#[test]
fn random_operations_agree_with_a_map() {
    let mut model = Model::new(1_500_000, usize::MAX);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut live = Vec::new();
    for round in 0..3_000_000_u32 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Alternates between phases that fill the table and phases that empty it.
        if state & 7 < if round / 500_000 % 2 == 0 { 5 } else { 3 } {
            let pointer = ((state >> 20) as u32 & 0x00FF_FFFF) * 16 + 16;
            if !model.blocks.contains_key(&pointer) {
                model.insert(pointer, size(state), state as u32 >> 18);
                live.push(pointer);
            }
        } else if !live.is_empty() {
            let pointer = live.swap_remove((state >> 33) as usize % live.len());
            if state & 0x100 == 0 {
                let (size, context) = (size(!state), state as u32 >> 18);
                let old = model.table.replace(pointer, size, context);
                let old = old.or_else(|| {
                    let old = model.table.remove(pointer);
                    assert!(
                        model.table.insert(pointer, size, context)
                            || model.table.insert_slow(pointer, size, context)
                    );
                    old
                });
                assert_eq!(old, model.blocks.insert(pointer, Block { size, context }));
                live.push(pointer);
            } else {
                model.remove(pointer);
            }
        }
    }
    assert_eq!((model.refused, model.table.take_dropped()), (0, 0));
    for pointer in live {
        model.remove(pointer);
    }
}

#[test]
fn a_refused_growth_refuses_new_blocks_and_keeps_the_old_ones() {
    let mut model = Model::new(100_000, FIRST_BYTES);
    for i in 0..100_000 {
        model.insert(0x1000 + i * 48, 40, i & 0x3FFF);
    }
    assert!(model.refused > 98_000, "{}", model.refused);
    assert_eq!(model.table.take_dropped(), 0);
    assert!(model.blocks.len() > 600, "{}", model.blocks.len());
    for i in 0..100_000 {
        let pointer = 0x1000 + i * 48;
        assert_eq!(model.table.remove(pointer), model.blocks.remove(&pointer));
    }
    // New blocks use the freed places.
    model.insert(0x1000, 1, 1);
    assert_eq!(model.blocks.len(), 1);
    model.remove(0x1000);
}

#[test]
fn only_recent_small_blocks_change_their_context_in_place() {
    let mut model = Model::new(4096, usize::MAX);
    for i in 0..1000_u32 {
        model.insert(0x1000 + i * 16, 9, 3);
    }
    let last = 0x1000 + 999 * 16;
    let small = |context| Some(Block { size: 9, context });
    assert_eq!(model.table.set_context_of_recent(last, 4), small(3));
    assert_eq!(model.table.remove(last), small(4));
    assert_eq!(model.table.set_context_of_recent(last, 5), None);
    // A block that is no longer recent, and a large one.
    assert_eq!(model.table.set_context_of_recent(0x1000, 4), None);
    assert_eq!(model.table.remove(0x1000), small(3));
    model.insert(last, 9, 3);
    let large = u32::MAX;
    assert_eq!(model.table.replace(last, large, 7), small(3));
    assert_eq!(model.table.set_context_of_recent(last, 4), None);
    let block = Block {
        size: large,
        context: 7,
    };
    assert_eq!(model.table.remove(last), Some(block));
}

#[test]
fn a_hundred_thousand_blocks_take_at_most_24_bytes_each() {
    let mut model = Model::new(100_000, usize::MAX);
    for i in 0..100_000 {
        model.insert(0x1000 + i * 5136, 5120, 1);
    }
    let each = model.table.bytes() as f64 / 100_000.0;
    println!("{each:.1} bytes per block");
    assert!(each <= 24.0, "{each}");
}

#[test]
fn a_table_moves_in_small_steps_and_finds_every_block_meanwhile() {
    let mut model = Model::new(400_000, usize::MAX);
    let pointer = |i: u32| 0x1000 + i * 40;
    let (mut max_moved, mut doublings) = (0, 0);
    let mut insert = |model: &mut Model, pointer, context| {
        let (bytes, unmoved) = (model.table.bytes(), model.table.unmoved());
        let prefaulted = model.table.prefaulted();
        model.insert(pointer, 33, context);
        if model.table.bytes() == bytes {
            max_moved = max_moved.max(unmoved - model.table.unmoved());
        } else {
            assert_eq!(unmoved, 0, "the table doubled before its move had ended");
            assert_eq!(
                prefaulted,
                model.table.bytes(),
                "the table doubled before all of it was prefaulted"
            );
            doublings += 1;
        }
    };
    for i in 0..300_000 {
        insert(&mut model, pointer(i), i & 0x3FFF);
        // Replaces an old block, which may have moved or not.
        let old = i.wrapping_mul(0x9E37_79B1) % (i + 1);
        if i % 3 == 0 {
            model.remove(pointer(old));
            insert(&mut model, pointer(old), 1);
        }
    }
    assert!(doublings > 8, "{doublings}");
    assert!(max_moved <= 512, "{max_moved} buckets moved for one block");
    for i in (0..300_000).rev() {
        model.remove(pointer(i));
    }
    assert_eq!((model.refused, model.table.take_dropped()), (0, 0));
}

#[test]
fn frees_alone_end_the_move_of_a_table() {
    let mut model = Model::new(400_000, usize::MAX);
    let mut count = 0;
    while model.table.unmoved() == 0 || count < 100_000 {
        model.insert(0x1000 + count * 40, 33, 1);
        count += 1;
    }
    for i in 0..count {
        model.remove(0x1000 + i * 40);
    }
    assert_eq!(model.table.unmoved(), 0);
}

#[test]
fn clustered_blocks_find_a_place() {
    // Sixteen adjacent small blocks, then a gap: some chunks of addresses are full, the others are
    // empty.
    for gap in [1_u32, 2, 3, 5, 8, 13, 16, 21, 34, 64, 89, 144, 256] {
        let mut model = Model::new(200_000, usize::MAX);
        let pointer = |i: u32| 0x1000 + i / 16 * 256 * gap + i % 16 * 16;
        let mut max_waiting = 0;
        for i in 0..100_000 {
            model.insert(pointer(i), 9, i & 0x3FFF);
            max_waiting = max_waiting.max(model.table.waiting());
        }
        let each = model.table.bytes() as f64 / 100_000.0;
        println!("gap {gap}: {max_waiting} waiting, {each:.1} bytes per block");
        assert!(max_waiting <= 512, "gap {gap}: {max_waiting} waiting");
        for i in 0..100_000 {
            model.remove(pointer(i));
        }
        assert_eq!((model.refused, model.table.take_dropped()), (0, 0));
    }
}

#[test]
fn the_table_keeps_new_blocks_again_once_its_growth_is_granted() {
    let mut model = Model::new(200_000, FIRST_BYTES);
    for i in 0..20_000 {
        model.insert(0x1000 + i * 48, 40, 1);
    }
    assert!(model.refused > 15_000, "{}", model.refused);
    model.table.region_mut().limit = usize::MAX;
    for i in 20_000..60_000 {
        model.insert(0x1000 + i * 48, 40, 1);
    }
    let kept_again = (50_000..60_000).all(|i| model.blocks.contains_key(&(0x1000 + i * 48)));
    assert!(kept_again, "{} refused", model.refused);
    for i in 0..60_000 {
        model.remove(0x1000 + i * 48);
    }
    assert_eq!(model.table.take_dropped(), 0);
}

#[test]
fn a_block_whose_address_is_inserted_again_is_reused() {
    // The distance between the two inserts decides where the older block is found: among the
    // recent blocks, in the batch, or in its bucket.
    for between in [0, 1, 40, 100, 1000] {
        let mut table = Model::new(5000, usize::MAX);
        let pointer = |number: u32| 4096 + number * 48;
        let mut insert = |pointer, size| {
            if !table.table.insert(pointer, size, 7) {
                assert!(table.table.insert_slow(pointer, size, 7));
            }
            std::iter::from_fn(|| table.table.take_reused()).collect::<Vec<_>>()
        };
        let mut reused = insert(pointer(0), 10);
        for number in 1..=between {
            reused.extend(insert(pointer(number), 20));
        }
        reused.extend(insert(pointer(0), 30));
        // The newer block leaves the recent ones.
        for number in between + 1..between + 300 {
            reused.extend(insert(pointer(number), 40));
        }
        let older = Block {
            size: 10,
            context: 7,
        };
        assert_eq!(reused, [older], "{between}");
        let newer = Block {
            size: 30,
            context: 7,
        };
        assert_eq!(table.table.remove(pointer(0)), Some(newer), "{between}");
        assert_eq!(table.table.remove(pointer(0)), None, "{between}");
    }
}

#[test]
fn a_large_block_whose_address_is_inserted_again_is_reused() {
    let mut table = Model::new(5000, usize::MAX);
    for size in [1 << 20, 1 << 21] {
        assert!(!table.table.insert(4096, size, 3));
        assert!(table.table.insert_slow(4096, size, 3));
    }
    let block = |size| Some(Block { size, context: 3 });
    assert_eq!(table.table.take_reused(), block(1 << 20));
    assert_eq!(table.table.take_reused(), None);
    assert_eq!(table.table.remove(4096), block(1 << 21));
    assert_eq!(table.table.remove(4096), None);
}
