//! The counts agree exactly with the guest's own.

use guest_heap::Attribution;

use crate::fixtures;
use crate::guest::Guest;

#[test]
fn the_counts_agree_with_the_guests_own_after_four_million_operations() {
    let mut guest = Guest::instrumented(&fixtures::rust("workload"));
    let before = guest.live();
    for seed in 1..=40_u64 {
        let mut expected: (u64, u64) = guest
            .call::<_, (_,)>("exercise", (seed * 7919, 100_000_u32, seed % 10 == 0))
            .unwrap()
            .0;
        for (count, length) in [(0, 0), (1, 0), (3, 17), (40, 1000), (500, 3)] {
            let texts = vec!["ä".repeat(length); count];
            expected = guest
                .call::<_, (_,)>("store-arguments", (texts, "y".repeat(length)))
                .unwrap()
                .0;
        }
        let live = guest.live();
        assert_eq!(
            (live.0 - before.0, live.1 - before.1),
            expected,
            "seed {seed}"
        );
    }
    let totals = guest.totals();
    assert!(totals.allocated_objects > 2_000_000, "{totals:?}");
    assert_eq!(
        (totals.lost, totals.overflowed, totals.unknown_frees),
        (0, 0, 0),
        "{totals:?}"
    );
}

#[test]
fn a_rust_guest_is_attributed_exactly() {
    let instrumented =
        guest_heap::instrument(&fixtures::rust("workload"), &Default::default()).unwrap();
    assert_eq!(*instrumented.attribution(), Attribution::Exact);
    println!("{:?}", instrumented.report);
}

#[test]
fn blocks_of_every_size_are_found_again_after_the_table_has_grown() {
    let mut guest = Guest::instrumented(&fixtures::rust("workload"));
    let before = guest.live();
    let small = (1..2000).step_by(37).map(|size| (12_000_u32, size));
    let large = [262_143_u32, 262_144, 300_000, 2_097_152].map(|size| (300, size));
    for (count, size) in small.chain([(700_000, 24)]).chain(large) {
        guest.call::<_, ()>("fill", (count, size)).unwrap();
        let live = guest.live();
        let pointers = u64::from(count) * 4;
        let (bytes, blocks) = (live.0 - before.0 - pointers, live.1 - before.1 - 1);
        assert_eq!(
            (bytes, blocks),
            (u64::from(count) * u64::from(size), count.into())
        );
        guest.call::<_, ()>("empty", ()).unwrap();
        assert_eq!(guest.live(), before, "size {size}");
    }
    let totals = guest.totals();
    assert_eq!((totals.lost, totals.unknown_frees), (0, 0), "{totals:?}");
}
