use super::*;

const MIB: f64 = 1_048_576.0;

/// One point per second. `of` returns bytes and requests of a second.
fn points(seconds: u64, of: impl Fn(u64) -> (f64, u64)) -> Vec<GrowthPoint> {
    let start = Instant::now();
    (0..seconds)
        .map(|second| {
            let (bytes, requests) = of(second);
            let at = ClockReading {
                instant: start + Duration::from_secs(second),
                unix_seconds: 1e9 + second as f64,
            };
            GrowthPoint {
                at,
                bytes: bytes as u64,
                requests,
            }
        })
        .collect()
}

fn growth(points: &[GrowthPoint]) -> Growth {
    Growth::over(points.iter().copied(), GROWTH_WINDOW, None)
}

/// A pseudo-random number in −0.5..0.5 that depends only on the second.
fn noise(second: u64) -> f64 {
    let mut x = second.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (x >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
}

fn assert_close(actual: f64, expected: f64, tolerance: f64) {
    assert!(
        (actual - expected).abs() <= tolerance,
        "{actual} is not {expected} ± {tolerance}"
    );
}

#[test]
fn without_two_samples_there_is_no_growth() {
    let none = growth(&[]);
    assert_eq!(
        (none.samples, none.bytes_per_second, none.bytes_per_request),
        (0, 0.0, None)
    );
    assert_eq!(none.seconds_to_limit(Some(1)), None);
    let one = growth(&points(1, |_| (10.0 * MIB, 7)));
    assert_eq!(
        (one.samples, one.bytes_per_second, one.bytes_per_request),
        (1, 0.0, None)
    );
    assert_eq!((one.confidence, one.window_seconds), (0.0, 0.0));
    assert_eq!(one.seconds_to_limit(Some(u64::MAX)), None);
}

#[test]
fn constant_memory_has_no_growth_and_full_confidence() {
    let flat = growth(&points(100, |second| (100.0 * MIB, second * 50)));
    assert_eq!(flat.bytes_per_second, 0.0);
    assert_eq!(flat.bytes_per_request, Some(0.0));
    assert_eq!(flat.confidence, 1.0);
    assert_eq!((flat.samples, flat.window_seconds), (61, 60.0));
    assert_eq!(flat.seconds_to_limit(Some(256 << 20)), None);
}

#[test]
fn a_steady_leak_has_its_exact_slope() {
    // 50 requests a second, 5 KiB each.
    let leak = growth(&points(100, |second| {
        (20.0 * MIB + (second * 50 * 5120) as f64, second * 50)
    }));
    assert_close(leak.bytes_per_second, 256_000.0, 1e-6);
    assert_close(leak.bytes_per_request.unwrap(), 5120.0, 1e-9);
    assert_close(leak.confidence, 1.0, 1e-12);
    let left = 256.0 * MIB - (20.0 * MIB + 99.0 * 256_000.0);
    assert_close(
        leak.seconds_to_limit(Some(256 << 20)).unwrap(),
        left / 256_000.0,
        1e-6,
    );
}

#[test]
fn a_half_full_window_halves_the_confidence() {
    let leak = growth(&points(31, |second| (second as f64 * MIB, second)));
    assert_close(leak.confidence, 0.5, 1e-12);
    assert_eq!((leak.samples, leak.window_seconds), (31, 30.0));
}

#[test]
fn bytes_per_request_does_not_depend_on_an_even_rate() {
    // Nothing for 30 s, then a burst: a line over requests, but not over time.
    let burst = growth(&points(61, |second| {
        (
            MIB + second.saturating_sub(30) as f64 * 7168.0 * 90.0,
            second.saturating_sub(30) * 90,
        )
    }));
    assert_close(burst.bytes_per_request.unwrap(), 7168.0, 1e-6);
    assert_close(burst.requests_per_second, 90.0, 1e-9);
    assert_close(burst.bytes_per_second, 7168.0 * 90.0, 1e-3);
}

#[test]
fn noise_is_not_growth() {
    let noisy = growth(&points(300, |second| {
        (100.0 * MIB + noise(second) * MIB, second)
    }));
    assert!(
        noisy.bytes_per_second.abs() < 0.01 * MIB,
        "{}",
        noisy.bytes_per_second
    );
    assert!(noisy.confidence < 0.2, "{}", noisy.confidence);
    assert_eq!(noisy.seconds_to_limit(Some(256 << 20)), None);
}

#[test]
fn a_leak_is_found_in_noise() {
    let leak = growth(&points(300, |second| {
        (
            20.0 * MIB + second as f64 * 0.1 * MIB + noise(second) * MIB,
            second,
        )
    }));
    assert_close(leak.bytes_per_second, 0.1 * MIB, 0.01 * MIB);
    assert!(leak.confidence > 0.9, "{}", leak.confidence);
    let left = (256.0 - 50.0) / 0.1;
    assert_close(
        leak.seconds_to_limit(Some(256 << 20)).unwrap(),
        left,
        left * 0.12,
    );
}

#[test]
fn a_sawtooth_is_not_growth() {
    let saw = growth(&points(300, |second| {
        (100.0 * MIB + (second % 15) as f64 * MIB, second)
    }));
    assert!(saw.confidence < 0.2, "{}", saw.confidence);
    assert_eq!(saw.seconds_to_limit(Some(256 << 20)), None);
}

#[test]
fn a_step_is_no_growth_once_it_is_over() {
    let step = |second: u64| {
        (
            if second < 30 {
                100.0 * MIB
            } else {
                110.0 * MIB
            },
            second,
        )
    };
    let within = growth(&points(36, step));
    assert!(within.bytes_per_second > 0.0);
    assert!(within.confidence < 0.5, "{}", within.confidence);
    let after = growth(&points(76, step));
    assert_eq!(after.bytes_per_second, 0.0);
    assert_eq!(after.seconds_to_limit(Some(256 << 20)), None);
}

#[test]
fn without_requests_there_are_no_bytes_per_request() {
    let idle = growth(&points(100, |second| (second as f64 * MIB, 1234)));
    assert_eq!(idle.bytes_per_request, None);
    assert_close(idle.bytes_per_second, MIB, 1e-6);
}

#[test]
fn a_falling_request_count_restarts_the_window() {
    // A reset at second 50: memory and count start from zero, then the leak continues.
    let all = points(80, |second| {
        let since = second % 50;
        (20.0 * MIB + since as f64 * MIB, since * 10)
    });
    let growth = growth(&all);
    assert_eq!((growth.samples, growth.window_seconds), (30, 29.0));
    assert_close(growth.bytes_per_second, MIB, 1e-6);
    assert_close(growth.bytes_per_request.unwrap(), MIB / 10.0, 1e-6);
}

#[test]
fn a_deliberate_clear_does_not_count_as_shrinking() {
    // Memory falls at second 50, the request count continues.
    let all = points(80, |second| {
        (20.0 * MIB + (second % 50) as f64 * MIB, second * 10)
    });
    let with_drop = growth(&all);
    assert!(with_drop.confidence < 0.5);
    let cleared_at = all[50].at.instant;
    let growth = Growth::over(all.iter().copied(), GROWTH_WINDOW, Some(cleared_at));
    assert_eq!(growth.samples, 30);
    assert_close(growth.bytes_per_second, MIB, 1e-6);
    let none_yet = Growth::over(
        all.iter().copied(),
        GROWTH_WINDOW,
        Some(cleared_at + Duration::from_secs(60)),
    );
    assert_eq!(none_yet.samples, 0);
}

#[test]
fn shrinking_memory_has_no_forecast_and_at_the_limit_no_time_is_left() {
    let shrinking = growth(&points(61, |second| ((100 - second) as f64 * MIB, second)));
    assert_close(shrinking.bytes_per_second, -MIB, 1e-6);
    assert_eq!(shrinking.seconds_to_limit(Some(256 << 20)), None);
    let growing = growth(&points(61, |second| ((100 + second) as f64 * MIB, second)));
    assert_eq!(growing.seconds_to_limit(None), None);
    for limit in [1, 159 << 20, 160 << 20] {
        assert_eq!(growing.seconds_to_limit(Some(limit)), Some(0.0), "{limit}");
        assert_eq!(shrinking.seconds_to_limit(Some(1)), Some(0.0));
    }
    assert_close(
        growing.seconds_to_limit(Some(161 << 20)).unwrap(),
        1.0,
        1e-9,
    );
}

#[test]
fn few_samples_have_a_slope_but_no_forecast() {
    let few = growth(&points(4, |second| (second as f64 * MIB, second)));
    assert_close(few.bytes_per_second, MIB, 1e-6);
    assert_eq!(few.seconds_to_limit(Some(256 << 20)), None);
}

#[test]
fn noise_has_no_rate() {
    let flat = growth(&points(61, |second| {
        (50.0 * MIB + noise(second) * MIB, second)
    }));
    let shown = flat.without_noise();
    assert_eq!(shown.bytes_per_second, 0.0);
    assert_eq!(shown.bytes_per_request, None);
    let leak = growth(&points(61, |second| (second as f64 * MIB, second)));
    assert_eq!(leak.without_noise(), leak);
    assert_eq!(leak.as_noise().seconds_to_limit(Some(256 << 20)), None);
}

mod keeps_up;
