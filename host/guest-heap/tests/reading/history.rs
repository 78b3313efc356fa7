//! A history covers 15 minutes by line in at most 2 MiB, whatever the guest does.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use guest_heap::diff::Diff;
use guest_heap::history::{History, MAX_LINES, OTHER, Series, WINDOW};
use guest_heap::snapshot::GroupBy;

use crate::synthetic::{no_symbols, snapshot};

const MAX_HISTORY_BYTES: usize = 2 * 1024 * 1024;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The points of one line.
fn points<'a>(series: &'a [Series], location: &str) -> &'a [(Duration, u64)] {
    &series
        .iter()
        .find(|series| &*series.site.location == location)
        .unwrap_or_else(|| panic!("no {location}"))
        .points
}

/// A deterministic sequence of pseudo-random numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn growth_since_any_second_is_available_without_a_baseline() {
    let symbols = no_symbols();
    let mut history = History::new();
    assert!(history.since(seconds(5), GroupBy::Line, 10).is_none());
    for second in 0..600 {
        let late = second >= 300;
        let places = [
            ("leak", 1000 + second * 10, 1 + second),
            ("flat", 5000, 5),
            ("late", u64::from(late) * 400, u64::from(late)),
        ];
        history.push(seconds(second), &snapshot(&symbols, &places));
    }
    let growth = |ago: u64| {
        let (diff, covered) = history.since(seconds(ago), GroupBy::Line, 10).unwrap();
        let growing: HashMap<String, i64> = diff
            .growing
            .iter()
            .map(|change| (change.location.to_string(), change.bytes))
            .collect();
        (growing, covered, diff.bytes)
    };
    let expected = |pairs: &[(&str, i64)]| {
        pairs
            .iter()
            .map(|(place, bytes)| (place.to_string(), *bytes))
            .collect::<HashMap<_, _>>()
    };
    assert_eq!(growth(60), (expected(&[("leak", 600)]), seconds(60), 600));
    assert_eq!(
        growth(300),
        (
            expected(&[("leak", 3000), ("late", 400)]),
            seconds(300),
            3400
        )
    );
    assert_eq!(
        growth(3600),
        (
            expected(&[("leak", 5990), ("late", 400)]),
            seconds(599),
            6390
        ),
        "the diff covers no more than the history"
    );
    assert_eq!(history.resolution(), seconds(1));
}

#[test]
fn series_are_the_lines_that_grew_most_and_one_for_the_rest() {
    let symbols = no_symbols();
    let mut history = History::new();
    for second in 0..100 {
        let late = if second < 50 { 0 } else { second * 100 };
        let places = [
            ("leak", second * 10, 1),
            ("late", late, u64::from(late > 0)),
            ("flat", 9000, 1),
            ("down", 1000 - second, 1),
        ];
        history.push(seconds(second), &snapshot(&symbols, &places));
    }
    let series = history.series(2, usize::MAX);
    let names: Vec<&str> = series.iter().map(|series| &*series.site.location).collect();
    assert_eq!(names, ["late", "leak", OTHER]);
    assert_eq!(
        points(&series, "late")[49],
        (seconds(49), 0),
        "a series is zero before its line appears"
    );
    assert_eq!(points(&series, "late")[99], (seconds(99), 9900));
    assert_eq!(points(&series, OTHER)[99], (seconds(99), 9000 + 901));

    let few = history.series(2, 10);
    assert!(
        few.iter()
            .all(|series| series.points.len() == 10 && series.points[9].0 == seconds(99))
    );
}

#[test]
fn only_the_window_is_kept() {
    let symbols = no_symbols();
    let mut history = History::new();
    for second in 0..2000 {
        history.push(seconds(second), &snapshot(&symbols, &[("leak", second, 1)]));
    }
    assert_eq!(history.covered(), WINDOW);
    let series = history.series(1, usize::MAX);
    assert_eq!(points(&series, "leak").len() as u64, WINDOW.as_secs() + 1);
    assert_eq!(
        points(&series, "leak")[0],
        (seconds(1999) - WINDOW, 1999 - WINDOW.as_secs())
    );
    // A reading with an earlier time adds nothing.
    history.push(seconds(1000), &snapshot(&symbols, &[("leak", 1, 1)]));
    assert_eq!(
        history
            .since(seconds(1), GroupBy::Line, 1)
            .unwrap()
            .0
            .growing[0]
            .current_bytes,
        1999
    );
}

#[test]
fn a_new_instance_appears_as_a_reduction_to_its_size() {
    let symbols = no_symbols();
    let mut history = History::new();
    history.push(
        seconds(1),
        &snapshot(&symbols, &[("leak", 5000, 50), ("flat", 100, 1)]),
    );
    history.push(seconds(2), &snapshot(&symbols, &[("flat", 100, 1)]));
    let (diff, _) = history.since(seconds(1), GroupBy::Line, 9).unwrap();
    assert_eq!(
        (diff.bytes, diff.shrinking.len(), diff.growing.len()),
        (-5000, 1, 0)
    );
}

#[test]
fn call_stacks_are_kept_once_a_minute() {
    let symbols = no_symbols();
    let mut history = History::new();
    for second in 0..=400 {
        history.push(
            seconds(second),
            &snapshot(&symbols, &[("leak", second * 10, 1)]),
        );
    }
    let now = snapshot(&symbols, &[("leak", 4000, 1)]);
    let (baseline, ago) = history.baseline(seconds(300)).unwrap();
    assert!(ago.abs_diff(seconds(300)) <= seconds(30), "{ago:?}");
    let diff = Diff::new(&baseline, &now, GroupBy::Trace, 9);
    assert_eq!(diff.bytes, ago.as_secs() as i64 * 10);
}

/// Pushes one reading for each of `readings` seconds. Checks the bound, the sums and the covered
/// time, and prints the cost.
fn check_bounds(
    name: &str,
    readings: u64,
    mut places: impl FnMut(u64) -> Vec<(String, u64, u64)>,
) -> History {
    let symbols = no_symbols();
    let mut history = History::new();
    let mut largest = 0;
    let mut spent = Duration::ZERO;
    for second in 0..readings {
        let snapshot = snapshot(&symbols, &places(second));
        let started = Instant::now();
        history.push(seconds(second), &snapshot);
        spent += started.elapsed();
        largest = largest.max(history.memory_bytes());
        if second % 300 == 299 {
            let series = history.series(20, usize::MAX);
            let sum: u64 = series
                .iter()
                .map(|series| series.points.last().unwrap().1)
                .sum();
            assert_eq!(sum, snapshot.totals().live_bytes, "{name}, second {second}");
            let covered = history.covered();
            assert!(
                covered <= WINDOW && covered >= seconds(second).min(WINDOW - history.resolution()),
                "{name}: {covered:?}"
            );
        }
    }
    println!(
        "{name}: at most {largest} bytes, {:?} resolution, {} µs a reading",
        history.resolution(),
        spent.as_micros() / u128::from(readings)
    );
    assert!(largest <= MAX_HISTORY_BYTES, "{name}: {largest} bytes");
    history
}

#[test]
fn thousands_of_lines_that_all_change_stay_within_the_bound() {
    let mut numbers = Numbers(1);
    let history = check_bounds("3,000 lines at random", 1000, |_| {
        (0..3000)
            .map(|line| {
                (
                    format!("plugins/noise/src/lib.rs:{line}"),
                    numbers.below(1 << 31),
                    1 + numbers.below(1 << 20),
                )
            })
            .collect()
    });
    assert!(
        history.resolution() > seconds(1) && history.resolution() <= seconds(30),
        "a merge must reduce the resolution: {:?}",
        history.resolution()
    );
}

#[test]
fn lines_that_are_new_each_second_stay_within_the_bound() {
    check_bounds("300 new lines a second", 1000, |second| {
        (0..300)
            .map(|line| (format!("{second}/{line}"), 1 + second * 1000 + line, 1))
            .collect()
    });
}

#[test]
fn names_of_any_length_stay_within_the_bound() {
    check_bounds("names of 40 KB", 200, |second| {
        (0..600)
            .map(|line| {
                (
                    format!("{}{line}{}", second / 100, "ä".repeat(20_000)),
                    second + line,
                    1,
                )
            })
            .collect()
    });
}

#[test]
fn the_smallest_lines_are_merged_and_a_leak_among_them_gets_a_series() {
    let history = check_bounds("a leak among 2,000 lines", 900, |second| {
        let mut places: Vec<_> = (0..2000)
            .map(|line| (format!("steady:{line}"), 2000 + line, 1))
            .collect();
        places.push(("leak:1".to_owned(), 1 + second * 100, 1));
        places
    });
    let series = history.series(3, usize::MAX);
    assert_eq!(&*series[0].site.location, "leak:1");
    assert_eq!(points(&series, "leak:1").last().unwrap().1, 1 + 899 * 100);
    let (diff, covered) = history
        .since(seconds(300), GroupBy::Line, MAX_LINES)
        .unwrap();
    assert_eq!(
        (
            covered,
            &*diff.growing[0].location,
            diff.growing[0].bytes,
            diff.bytes
        ),
        (seconds(300), "leak:1", 30_000, 30_000)
    );
}

#[test]
fn the_history_of_a_quiet_guest_is_small() {
    let history = check_bounds("20 lines, 3 of them change", 1800, |second| {
        (0..20)
            .map(|line| {
                (
                    format!("line:{line}"),
                    if line < 3 { second * 5000 } else { 777 },
                    1,
                )
            })
            .collect()
    });
    assert!(
        history.memory_bytes() < 150_000,
        "{}",
        history.memory_bytes()
    );
    assert_eq!(history.resolution(), seconds(1));
}

#[test]
fn since_is_exact_for_lines_that_rise_and_fall() {
    let symbols = no_symbols();
    let mut history = History::new();
    let mut numbers = Numbers(7);
    let names = ["cache", "listeners", "history", "sawtooth", "flat"];
    let mut held = [0_u64; 5];
    let mut truth: Vec<[u64; 5]> = Vec::new();
    for second in 0..300 {
        for (line, bytes) in held.iter_mut().enumerate() {
            *bytes = match numbers.below(12) {
                // A reset, and a burst.
                0 => 0,
                1 => *bytes + 1_000_000,
                _ if line == 4 => 5000,
                _ => *bytes + numbers.below(500),
            };
        }
        truth.push(held);
        let places: Vec<_> = names
            .into_iter()
            .zip(held.map(|bytes| (bytes, bytes.div_ceil(100))))
            .map(|(name, (bytes, objects))| (name, bytes, objects))
            .collect();
        history.push(seconds(second), &snapshot(&symbols, &places));
    }
    for ago in 1..299 {
        let (diff, covered) = history.since(seconds(ago), GroupBy::Line, 10).unwrap();
        assert_eq!(covered, seconds(ago));
        let then = truth[299 - ago as usize];
        let mut sum = 0;
        for (line, name) in names.into_iter().enumerate() {
            let expected = held[line] as i64 - then[line] as i64;
            sum += expected;
            let found = diff.growing.iter().chain(&diff.shrinking);
            let found = found
                .filter(|change| &*change.location == name)
                .map(|change| change.bytes)
                .sum::<i64>();
            assert_eq!(found, expected, "{name}, {ago} s ago");
        }
        assert_eq!(diff.bytes, sum, "{ago} s ago");
    }
}

#[test]
fn the_floor_of_a_line_is_its_smallest_size_in_a_window() {
    let symbols = no_symbols();
    let mut history = History::new();
    assert!(history.floors(&[seconds(0)]).is_empty());
    for second in 0..40 {
        let places = [
            ("leak", 1000 + second * 10, 1 + second),
            ("flat", 5000, 5),
            ("sawtooth", 100 + second % 7, 1),
        ];
        history.push(seconds(second), &snapshot(&symbols, &places));
    }
    let floors = |starts: &[u64]| -> HashMap<String, Vec<u64>> {
        let starts: Vec<_> = starts.iter().copied().map(seconds).collect();
        let lines = history.floors(&starts).into_iter();
        lines
            .map(|line| (line.site.location.to_string(), line.bytes.0))
            .collect()
    };
    let all = floors(&[0, 10, 20, 30]);
    assert_eq!(all["leak"], [1000, 1100, 1200, 1300]);
    assert!(!all.contains_key("flat") && !all.contains_key("sawtooth"));
    let recent = floors(&[35, 37]);
    assert_eq!(recent["leak"], [1350, 1370]);
    // A window between two readings repeats the one before it.
    let starts = [
        seconds(35),
        Duration::from_millis(36_500),
        Duration::from_millis(36_600),
    ];
    assert_eq!(history.floors(&starts)[0].bytes.0, [1350, 1360, 1370]);
    let leak = &history.floors(&starts)[0];
    assert_eq!(leak.blocks.0, [36, 37, 38]);
    assert_eq!(leak.bytes.growth(), 20);
}
