use std::time::Duration;

use super::*;

const KB: u64 = 1000;
const LIMIT: u64 = 32 << 20;

/// A buffer that doubles when it is full: its capacity with this many bytes in it.
fn capacity(filled: u64) -> u64 {
    filled.max(1).next_power_of_two().max(4096)
}

/// Linear memory of this buffer. Each new buffer gets fresh memory, because the old ones together
/// are too small for it.
fn linear(filled: u64) -> u64 {
    131_072 + 2 * capacity(filled)
}

fn sample(live: u64, linear: u64, requests: u64) -> StepSample {
    StepSample {
        instance: (1, 1),
        live_bytes: live,
        linear_bytes: linear,
        requests,
    }
}

/// Adds one sample per second and returns the growth after each.
fn growth(samples: impl IntoIterator<Item = StepSample>) -> Vec<Option<SteppedGrowth>> {
    let start = Instant::now();
    let mut tracker = StepTracker::default();
    let each = (0..).zip(samples).map(|(second, sample)| {
        tracker.add(start + Duration::from_secs(second), &sample);
        tracker.growth()
    });
    each.collect()
}

/// The interner of the examples: 50 names of 1,000 bytes in a second.
fn interner(second: u64) -> StepSample {
    let filled = second * 50 * KB;
    sample(capacity(filled), linear(filled), second * 50)
}

#[test]
fn the_end_of_a_buffer_that_doubles_is_known_minutes_ahead() {
    let dies = (0..).find(|s| interner(*s).linear_bytes > LIMIT).unwrap();
    let all = growth((0..dies).map(interner));
    let mut checked = 0;
    for (second, growth) in (0..).zip(&all).skip(24) {
        let growth = growth.unwrap_or_else(|| panic!("no steps at {second}"));
        let room = LIMIT - interner(second).linear_bytes;
        let seconds = growth.end_of_linear_memory(room).unwrap().requests / 50.0;
        let left = (dies - second) as f64;
        assert!(
            (seconds - left).abs() <= (left * 0.1).max(2.0),
            "{seconds}, {left} at {second}"
        );
        assert!(
            (growth.bytes_per_request - 1000.0).abs() < 100.0,
            "{growth:?}"
        );
        checked += 1;
    }
    assert!(checked > 100, "{checked}");
    let last = all.last().copied().flatten().unwrap();
    assert!(
        (last.piece_bytes as f64 / (16 << 20) as f64 - 1.0).abs() < 0.1,
        "{last:?}"
    );
    let end = last.end_of_linear_memory(LIMIT - interner(dies - 1).linear_bytes);
    assert!(end.unwrap().is_next, "{last:?}");
}

#[test]
fn a_pause_changes_nothing() {
    // Traffic for 10 of 30 seconds.
    let requests = |second: u64| (second / 30 * 10 + (second % 30).min(10)) * 50;
    let at = |second: u64| {
        let filled = requests(second) * KB;
        sample(capacity(filled), linear(filled), requests(second))
    };
    let dies = (0..).find(|s| at(*s).linear_bytes > LIMIT).unwrap();
    for (second, growth) in (0..).zip(growth((0..dies).map(at))).skip(100) {
        let growth = growth.unwrap_or_else(|| panic!("no steps at {second}"));
        let end = growth.end_of_linear_memory(LIMIT - at(second).linear_bytes);
        let left = (requests(dies) - requests(second)) as f64;
        let found = end.unwrap().requests;
        assert!(
            (found - left).abs() <= (left * 0.1).max(100.0),
            "{found}, {left} at {second}"
        );
    }
}

#[test]
fn resident_memory_grows_between_the_steps_too() {
    let growth = growth((0..100).map(interner))
        .last()
        .copied()
        .flatten()
        .unwrap();
    // Capacity 8 MiB, filled with 5 MB. The next step copies 8 MiB.
    let end = |room: u64| growth.end_of_resident_memory(room, 1000.0).unwrap();
    assert!((end(KB * KB).requests - 1000.0).abs() < 1.0);
    let left = growth.requests_left;
    let at_step = end((left * 1000.0) as u64 + (4 << 20));
    assert!(
        at_step.is_next && (at_step.requests - left).abs() < 1.0,
        "{at_step:?}"
    );
}

#[test]
fn other_shapes_have_no_steps() {
    let live = |of: fn(u64) -> u64| {
        let each = (0..600).map(move |second| sample(of(second), of(second), second * 50));
        growth(each).into_iter().flatten().count()
    };
    assert_eq!(live(|second| second * 250_000), 0, "a steady leak");
    assert_eq!(live(|second| second % 20 * 500_000), 0, "a sawtooth");
    assert_eq!(
        live(|second| 1 << (second / 30).min(32)),
        0,
        "steps at even intervals"
    );
    assert_eq!(
        live(|second| 40_000_000 - 40_000_000 / (second + 1)),
        0,
        "a warm-up"
    );
    let ended = growth((0..400).map(|second| interner(second.min(90))));
    assert!(ended[90].is_some() && ended[100].is_some());
    let goes_on = (0..400).map(|second: u64| StepSample {
        requests: second * 50,
        ..interner(second.min(90))
    });
    assert_eq!(
        growth(goes_on).last(),
        Some(&None),
        "the buffer is not filled any more"
    );
}

#[test]
fn a_clear_or_a_fresh_instance_ends_the_steps() {
    let cleared = (0..120)
        .map(interner)
        .chain((6000..6010).map(|n| sample(0, LIMIT, n)));
    assert_eq!(growth(cleared).last(), Some(&None));
    let fresh = (0..120).map(interner).chain([StepSample {
        instance: (1, 2),
        ..interner(120)
    }]);
    assert_eq!(growth(fresh).last(), Some(&None));
}
