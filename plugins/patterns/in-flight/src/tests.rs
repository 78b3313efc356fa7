use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check};

use super::*;

/// Sends requests every `interval_ms` and returns how many are in flight at the end.
fn send_at_interval(plugin: &mut Driver<InFlight>, requests: u64, interval_ms: u64) -> u64 {
    for _ in 0..requests {
        plugin.wait_ms(interval_ms - 1);
        plugin.requests(1).unwrap();
    }
    plugin.retained().objects
}

#[test]
fn holds_the_rate_times_the_duration() {
    let mut plugin = Driver::<InFlight>::default();
    assert_eq!(send_at_interval(&mut plugin, 500, 10), 50);
    assert_eq!(
        send_at_interval(&mut plugin, 500, 10),
        50,
        "flat at a steady rate"
    );
    assert_eq!(
        send_at_interval(&mut plugin, 500, 5),
        100,
        "double at twice the rate"
    );
    assert_eq!(
        send_at_interval(&mut plugin, 500, 50),
        10,
        "lower at a lower rate"
    );
    let each = plugin.retained().bytes as f64 / 10.0;
    assert!((each / 16_384.0 - 1.0).abs() < 0.2, "{each}");
}

#[test]
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut plugin = Driver::<InFlight>::default();
    check::reports_what_is_allocated(
        &mut plugin,
        |plugin| plugin.requests(777),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn fixed_rejects_requests_above_the_limit() {
    let mut plugin = Driver::<InFlight>::default();
    plugin.variant("fixed").unwrap();
    plugin.set("max_in_flight", Value::Integer(10)).unwrap();
    assert_eq!(plugin.requests(100).unwrap().objects, 10);
    assert!(!plugin.request().unwrap().triggered);
    plugin.wait_ms(1000);
    assert!(plugin.request().unwrap().triggered);
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = Driver::<InFlight>::default();
    assert_eq!(plugin.requests(100).unwrap().objects, 100);
    check::clear_leaves_nothing(&mut plugin);
}
