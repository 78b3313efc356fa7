use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check};

use super::*;

/// Once it is full, whatever the variant: what is live moves by no more than a few records.
#[test]
fn what_is_retained_stays_the_same() {
    for variant in ["leaky", "fixed"] {
        let mut plugin = Driver::<Fragmentation>::default();
        plugin.variant(variant).unwrap();
        let full = plugin.requests(70).unwrap().bytes as f64;
        for _ in 0..8 {
            let now = plugin.requests(50).unwrap().bytes as f64;
            assert!((now / full - 1.0).abs() < 0.1, "{variant}: {full}, {now}");
        }
    }
}

#[test]
fn reports_what_the_allocator_handed_out() {
    let mut plugin = Driver::<Fragmentation>::default();
    plugin.set("live_mb", Value::Integer(1)).unwrap();
    check::reports_what_is_allocated(
        &mut plugin,
        |plugin| plugin.requests(200),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn less_to_hold_comes_down_within_some_requests() {
    let mut plugin = Driver::<Fragmentation>::default();
    plugin.set("live_mb", Value::Integer(16)).unwrap();
    plugin.requests(300).unwrap();
    plugin.set("live_mb", Value::Integer(1)).unwrap();
    let left = plugin.requests(20).unwrap();
    assert!(left.bytes < 2 << 20, "{}", left.bytes);
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = Driver::<Fragmentation>::default();
    assert!(plugin.requests(100).unwrap().objects > 100);
    check::clear_leaves_nothing(&mut plugin);
}
