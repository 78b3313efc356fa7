//! Tests of the map of starts, on the native target: with it, a model of live blocks never keeps a
//! block that overlaps a newer one.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use guest_heap_runtime::starts::Starts;

/// A map, and the live blocks: start → size.
struct Model {
    starts: Box<Starts>,
    blocks: BTreeMap<u32, u32>,
}

impl Model {
    fn new() -> Self {
        Self {
            starts: Box::new(Starts::new()),
            blocks: BTreeMap::new(),
        }
    }

    /// Adds a block. Returns the starts of the blocks that it overlaps, which are removed.
    fn allocate(&mut self, pointer: u32, size: u32) -> Vec<u32> {
        let mut removed = Vec::new();
        let blocks = &self.blocks;
        let is_gone = |start: &u32, removed: &[u32]| removed.contains(start);
        while let Some(start) = self.starts.overlapped(pointer, size, |start| {
            blocks
                .get(&start)
                .filter(|_| !is_gone(&start, &removed))
                .copied()
        }) {
            self.starts.remove(start);
            removed.push(start);
        }
        removed.iter().for_each(|start| {
            self.blocks.remove(start);
        });
        self.starts.insert(pointer, size);
        self.blocks.insert(pointer, size);
        removed.sort_unstable();
        removed
    }

    fn free(&mut self, pointer: u32) {
        self.starts.remove(pointer);
        self.blocks.remove(&pointer).unwrap();
    }
}

#[test]
fn blocks_that_a_new_block_overlaps_are_found() {
    type Case<'a> = (&'a [(u32, u32)], (u32, u32), &'a [u32]);
    let cases: &[Case<'_>] = &[
        (&[(4096, 64)], (4096, 64), &[4096]),
        (&[(4096, 64)], (4096, 8), &[4096]),
        (&[(4096, 64)], (4160, 64), &[]),
        (&[(4096, 64)], (4032, 64), &[]),
        // In front, inside and behind.
        (&[(4096, 64)], (4032, 65), &[4096]),
        (&[(4096, 64)], (4120, 8), &[4096]),
        (&[(4096, 64)], (4152, 100), &[4096]),
        (
            &[(4096, 64), (4160, 64), (4224, 64)],
            (4150, 20),
            &[4096, 4160],
        ),
        (&[(4096, 8), (4104, 8), (8192, 8)], (0, 8192), &[4096, 4104]),
        (&[(4096, 3_000_000)], (2_000_000, 16), &[4096]),
        (
            &[(4096, 3_000_000), (1_000_000_000, 16)],
            (999_999_992, 16),
            &[1_000_000_000],
        ),
        // A block without bytes takes its address.
        (&[(4096, 0)], (4096, 0), &[4096]),
        (&[(4096, 16)], (u32::MAX - 7, 8), &[]),
    ];
    for (blocks, (pointer, size), expected) in cases {
        let mut model = Model::new();
        for (pointer, size) in *blocks {
            assert_eq!(model.allocate(*pointer, *size), []);
        }
        assert_eq!(model.allocate(*pointer, *size), *expected, "{blocks:?}");
    }
}

#[test]
fn a_freed_block_is_not_overlapped() {
    let mut model = Model::new();
    model.allocate(4096, 100);
    model.free(4096);
    assert_eq!(model.allocate(4100, 8), []);
}

#[test]
fn no_live_block_overlaps_a_newer_one() {
    let mut model = Model::new();
    let mut random = 0x9E37_79B9_u32;
    let mut next = |bound: u32| {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random % bound
    };
    for round in 0..200_000 {
        let pointer = 4096 + next(8192) * 8;
        let size = 1 + next(if round % 64 == 0 { 20_000 } else { 100 });
        model.allocate(pointer, size);
        if next(3) == 0 {
            let at = 4096 + next(65_536);
            let free = model.blocks.range(at..).next().map(|(start, _)| *start);
            free.into_iter().for_each(|start| model.free(start));
        }
    }
    let mut end = 0;
    for (start, size) in &model.blocks {
        assert!(
            *start >= end,
            "the block at {start} overlaps the one before"
        );
        end = start + size;
    }
}
