use std::time::Duration;

use plugin_host::clock_reading::ClockReading;

use super::*;

const LIMIT: u64 = 1 << 30;

fn at(start: Instant, second: u64) -> ClockReading {
    ClockReading {
        instant: start + Duration::from_secs(second),
        unix_seconds: second as f64,
    }
}

fn sample(generation: u64, bytes: u64, requests: u64) -> PluginSample {
    PluginSample {
        generation,
        linear_bytes: bytes,
        retained_bytes: bytes,
        requests,
        ..PluginSample::default()
    }
}

#[test]
fn an_idle_plugin_has_the_growth_that_its_samples_give() {
    let start = Instant::now();
    let mut ring = SampleRing::new(900);
    for second in 0..100 {
        ring.push_change(at(start, second), sample(1, second, second));
    }
    assert!(ring.unchanged_for(GROWTH_WINDOW).is_none());
    for second in 100..161 {
        ring.push_change(at(start, second), sample(1, 7, 3));
    }
    let points = ring.each_second(GROWTH_WINDOW).map(|s| GrowthPoint {
        at: s.at,
        bytes: s.value.retained_bytes,
        requests: s.value.requests,
    });
    let expected = Growth::over(points, GROWTH_WINDOW, None);
    assert!(ring.unchanged_for(GROWTH_WINDOW).is_some());
    let forecast = Forecast::of_samples(&ring, None, LIMIT).unwrap();
    assert_eq!(forecast.growth, expected);
    assert_eq!(forecast.seconds_to_limit, None);
}

#[test]
fn a_fresh_instance_starts_a_fresh_window() {
    let start = Instant::now();
    let mut ring = SampleRing::new(900);
    for second in 0..30 {
        ring.push_change(at(start, second), sample(1, 1000 * second, second));
    }
    for second in 30..40 {
        ring.push_change(at(start, second), sample(2, 10 * second, 100 + second));
    }
    let forecast = Forecast::of_samples(&ring, None, LIMIT).unwrap();
    assert_eq!(forecast.growth.samples, 10);
    assert!((forecast.growth.bytes_per_second - 10.0).abs() < 1e-6);
    let seconds = (LIMIT - 390) as f64 / 10.0;
    assert!((forecast.seconds_to_limit.unwrap() - seconds).abs() < 1.0);
}

/// Ten requests per second. The heap falls every `period` seconds to a floor that rises by `kept`
/// bytes each time, and linear memory follows its peaks.
fn sawtooth(seconds: u64, period: u64, kept: u64) -> (Instant, SampleRing<PluginSample>) {
    let start = Instant::now();
    let mut ring = SampleRing::new(900);
    for second in 0..seconds {
        let live = |second: u64| 2_000_000 + second % period * 50_000 + second / period * kept;
        let sample = PluginSample {
            generation: 1,
            linear_bytes: (0..=second)
                .map(live)
                .max()
                .unwrap()
                .next_multiple_of(65_536),
            retained_bytes: live(second) - 1_000_000,
            heap_live_bytes: live(second),
            requests: second * 10,
            ..PluginSample::default()
        };
        ring.push_change(at(start, second), sample);
    }
    (start, ring)
}

#[test]
fn a_sawtooth_with_a_flat_floor_has_no_forecast() {
    // Also on the last slope, which is longer than the window of growth.
    for seconds in [205, 250, 299, 600] {
        let (_, ring) = sawtooth(seconds, 100, 0);
        let forecast = Forecast::of_samples(&ring, None, LIMIT).unwrap();
        assert_eq!(forecast.seconds_to_limit, None, "{seconds}");
        assert!(!forecast.growth.is_significant(), "{seconds}");
        assert_eq!(forecast.growth.bytes_per_second, 0.0, "{seconds}");
        assert_eq!(forecast.floor_bytes, Some(2_000_000), "{seconds}");
    }
}

#[test]
fn a_rising_floor_reaches_the_limit_at_its_own_rate() {
    for seconds in [305, 350, 399] {
        let (_, ring) = sawtooth(seconds, 100, 1_000_000);
        let linear = ring.latest().unwrap().value.linear_bytes;
        let forecast = Forecast::of_samples(&ring, None, LIMIT).unwrap();
        // 1,000 bytes per request, and ten requests per second.
        assert!((forecast.growth.bytes_per_second - 10_000.0).abs() < 1.0);
        let expected = (LIMIT - linear) as f64 / 10_000.0;
        let left = forecast.seconds_to_limit.unwrap();
        assert!(
            (left / expected - 1.0).abs() < 0.05,
            "{left} s instead of {expected} s"
        );
        let floor = 5_000_000 + (seconds - 301) * 10_000;
        let estimate = forecast.floor_bytes.unwrap();
        assert!(
            estimate.abs_diff(floor) < 20_000,
            "{estimate} instead of {floor}"
        );
    }
}

#[test]
fn before_the_first_collection_the_slope_counts_and_before_the_second_none() {
    let (_, ring) = sawtooth(99, 100, 0);
    let first = Forecast::of_samples(&ring, None, LIMIT).unwrap();
    assert!(first.growth.is_significant() && first.floor_bytes.is_none());
    let (_, ring) = sawtooth(190, 100, 0);
    let second = Forecast::of_samples(&ring, None, LIMIT).unwrap();
    assert!(!second.growth.is_significant());
    assert_eq!(
        (second.seconds_to_limit, second.floor_bytes),
        (None, Some(2_000_000))
    );
}

#[test]
fn a_clear_is_no_collection() {
    let (start, ring) = sawtooth(190, 100, 0);
    let cleared = start + Duration::from_secs(100);
    let forecast = Forecast::of_samples(&ring, Some(cleared), LIMIT).unwrap();
    assert_eq!(forecast.floor_bytes, None);
    assert!(forecast.growth.is_significant());
}
