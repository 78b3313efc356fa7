//! The time to the limit against the time that is really left, on series of many shapes.

use super::*;

const LIMIT: u64 = 256 << 20;

/// What the forecast says each second until the limit, and what was left: pairs of seconds.
fn forecasts(of: impl Fn(u64) -> (f64, u64)) -> Vec<(Option<f64>, f64)> {
    let reaches = (0..3600)
        .find(|second| of(*second).0 as u64 >= LIMIT)
        .unwrap();
    let forecast = |now: u64| {
        let all = points(now + 1, &of);
        growth(&all).seconds_to_limit(Some(LIMIT))
    };
    let each = (5..=reaches).map(|now| (forecast(now), (reaches - now) as f64));
    each.collect()
}

/// Checks that each forecast is right within 20 %, and within two seconds at the end.
fn assert_right(forecasts: &[(Option<f64>, f64)]) {
    for (forecast, left) in forecasts {
        let seconds = forecast.unwrap_or_else(|| panic!("no forecast with {left} s left"));
        assert_close(seconds, *left, (left * 0.2).max(2.0));
    }
    assert_eq!(forecasts.last().unwrap().0, Some(0.0), "at the limit");
}

/// Resident memory of a leak: a start of 30 MiB with noise of 256 KiB.
fn resident(leaked: f64, second: u64) -> f64 {
    30.0 * MIB + leaked + noise(second) * 0.25 * MIB
}

#[test]
fn with_a_constant_leak() {
    for rate in [10, 40, 400] {
        let leak = |second| {
            let requests = second * rate;
            (resident((requests * 14_336) as f64, second), requests)
        };
        assert_right(&forecasts(leak)[5..]);
    }
}

#[test]
fn with_a_leak_that_begins_within_traffic() {
    let leak = |second: u64| {
        let leaked = second.saturating_sub(50) * 200 * 14_336;
        (resident(leaked as f64, second), second * 200)
    };
    let all = forecasts(leak);
    // It begins at second 50: index 45. Before that nothing grows.
    assert!(all[..45].iter().all(|(forecast, _)| forecast.is_none()));
    assert_right(&all[45 + 20..]);
}

#[test]
fn with_traffic_that_changes() {
    // 40 requests a second, then 200.
    let leak = |second: u64| {
        let requests = second * 40 + second.saturating_sub(60) * 160;
        (resident((requests * 14_336) as f64, second), requests)
    };
    let all = forecasts(leak);
    assert_right(&all[60 + 6 - 5..]);
}

#[test]
fn with_pauses() {
    // 20 s of traffic, 20 s of silence.
    let requests = |second: u64| second / 40 * 2000 + (second % 40).min(20) * 100;
    let leak = |second| {
        let requests = requests(second);
        (resident((requests * 14_336) as f64, second), requests)
    };
    let rate = 100.0 * 14_336.0;
    let mut checked = 0;
    for (index, (forecast, _)) in forecasts(leak).into_iter().enumerate() {
        let second = index as u64 + 5;
        let left = LIMIT as f64 - leak(second).0;
        match second % 40 {
            // While requests arrive: the time if they go on.
            6..=20 if second > 10 => {
                let seconds = forecast.unwrap_or_else(|| panic!("no forecast at {second}"));
                assert_close(seconds, left / rate, (left / rate * 0.2).max(2.0));
                checked += 1;
            }
            26..=39 if left > 0.0 => assert_eq!(forecast, None, "nothing grows at {second}"),
            _ => {}
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn with_a_leak_whose_rate_doubles() {
    for doubling in [8.0, 15.0, 30.0, 60.0, 120.0] {
        let leak = |second: u64| {
            let leaked = 2.0 * MIB * ((second as f64 / doubling).exp2() - 1.0);
            (resident(leaked, second), second * 50)
        };
        // With three doublings to go the growth is far above the noise.
        let all = forecasts(leak);
        let near = all.iter().filter(|(_, left)| *left < 3.0 * doubling);
        let mut checked = 0;
        for (forecast, left) in near {
            let seconds = forecast.unwrap_or_else(|| panic!("no forecast with {left} s left"));
            assert_close(seconds, *left, (left * 0.25).max(2.0));
            checked += 1;
        }
        assert!(f64::from(checked) > 2.0 * doubling, "{checked}");
    }
}

#[test]
fn with_a_rate_that_grows_steadily_but_not_exponentially() {
    // Each request retains a little more than the one before.
    let leak = |second: u64| {
        let leaked = 2_000.0 * (second * second) as f64;
        (resident(leaked, second), second * 50)
    };
    for (forecast, left) in forecasts(leak).iter().filter(|(_, left)| *left < 150.0) {
        let seconds = forecast.unwrap_or_else(|| panic!("no forecast with {left} s left"));
        assert_close(seconds, *left, (left * 0.3).max(2.0));
    }
}

#[test]
fn with_a_rate_that_changes_once() {
    // Not per request: as if the host leaked by itself.
    let leak = |second: u64| {
        let leaked = second as f64 * 0.2 * MIB + second.saturating_sub(100) as f64 * MIB;
        (resident(leaked, second), 7)
    };
    let all = forecasts(leak);
    assert_right(&all[100 + 25 - 5..]);
}

#[test]
fn a_sawtooth_never_has_a_forecast() {
    let saw = |second: u64| {
        let leaked = (second % 20) as f64 * 4.0 * MIB;
        (resident(leaked, second), second * 50)
    };
    for now in 40..200 {
        let all = points(now, saw);
        assert_eq!(growth(&all).seconds_to_limit(Some(LIMIT)), None, "{now}");
    }
}
