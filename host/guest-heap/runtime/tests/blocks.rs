//! All blocks together, natively: young or not, each is found with what it was given.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests stop at the first surprise"
)]
#![allow(unsafe_code, reason = "the table's memory is the test's")]

mod common;

use std::collections::HashMap;

use common::{Memory, Random, bytes_for};
use guest_heap_runtime::blocks::Blocks;
use guest_heap_runtime::live::{Block, FIRST_BYTES, MAX_PACKED_SIZE, Spill};

fn blocks(count: u32, limit: usize) -> Blocks<Memory> {
    let spill = Box::leak(Box::new(Spill::new()));
    // SAFETY: the spill is leaked, and nobody else has it.
    unsafe { Blocks::new(Memory::new(bytes_for(count), limit), spill) }
}

/// Returns what was lost for it.
fn insert(blocks: &mut Blocks<Memory>, pointer: u32, block: Block) -> Option<Block> {
    if blocks.insert(pointer, block.size, block.context) {
        return None;
    }
    blocks.insert_slowly(pointer, block.size, block.context)
}

#[test]
fn short_lives_never_reach_the_table() {
    let mut blocks = blocks(1000, usize::MAX);
    for call in 0..10_000_u32 {
        // A call's blocks lie side by side, a little further on each time.
        let pointer = |i: u32| 0x1000 + call * 48 + i * 48;
        for i in 0..12 {
            let block = Block {
                size: 40,
                context: i,
            };
            assert_eq!(insert(&mut blocks, pointer(i), block), None);
        }
        for i in (0..12).rev() {
            assert_eq!(blocks.remove(pointer(i)).unwrap().context, i);
        }
    }
    assert_eq!(blocks.table().bytes(), FIRST_BYTES);
}

#[test]
fn random_operations_agree_with_a_map() {
    let mut blocks = blocks(400_000, usize::MAX);
    let mut model: HashMap<u32, Block> = HashMap::new();
    let mut live = Vec::new();
    let mut random = Random::default();
    for round in 0..2_000_000_u32 {
        let fills = if round / 250_000 % 2 == 0 { 5 } else { 3 };
        let size = match random.below(64) {
            0 => MAX_PACKED_SIZE - 1 + random.below(3),
            _ => random.below(5000),
        };
        let block = Block {
            size,
            context: random.below(1 << 14),
        };
        if random.below(8) < fills {
            let pointer = 0x1000 + random.below(1 << 20) * 16;
            if !model.contains_key(&pointer) {
                assert_eq!(insert(&mut blocks, pointer, block), None);
                model.insert(pointer, block);
                live.push(pointer);
            }
        } else if !live.is_empty() {
            // Often one of the last.
            let span = if random.below(2) == 0 { 20 } else { u32::MAX };
            let back = random.below(span.min(live.len() as u32)) as usize;
            let pointer = live.swap_remove(live.len() - 1 - back);
            if random.below(4) == 0 {
                let old = blocks.replace(pointer, block.size, block.context);
                let old = old.or_else(|| {
                    let old = blocks.remove(pointer);
                    assert_eq!(insert(&mut blocks, pointer, block), None);
                    old
                });
                assert_eq!(old, model.insert(pointer, block));
                live.push(pointer);
            } else {
                assert_eq!(blocks.remove(pointer), model.remove(&pointer));
                assert_eq!(blocks.remove(pointer), None);
            }
        }
    }
    assert_eq!(blocks.table().dropped(), 0);
    for (pointer, block) in model {
        assert_eq!(blocks.remove(pointer), Some(block));
    }
}

#[test]
fn what_is_lost_is_said_and_the_rest_stays_right() {
    let mut blocks = blocks(100_000, FIRST_BYTES);
    let mut lost = Vec::new();
    for i in 0..20_000 {
        let block = Block {
            size: i,
            context: 7,
        };
        lost.extend(insert(&mut blocks, 0x1000 + i * 48, block).map(|block| block.size));
    }
    assert!((15_000..19_800).contains(&lost.len()), "{}", lost.len());
    for i in 0..20_000 {
        let found = blocks.remove(0x1000 + i * 48).map(|block| block.size);
        let expected = (!lost.contains(&i)).then_some(i);
        assert_eq!(found, expected);
    }
}
