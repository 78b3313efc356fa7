use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check};

use super::*;

/// In both variants: once the store is full, the live bytes change by at most a few records.
#[test]
fn the_retained_bytes_stay_the_same() {
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
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut plugin = Driver::<Fragmentation>::default();
    plugin.set("live_mb", Value::Integer(1)).unwrap();
    check::reports_what_is_allocated(
        &mut plugin,
        |plugin| plugin.requests(200),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn a_lower_live_mb_takes_effect_within_a_few_requests() {
    let mut plugin = Driver::<Fragmentation>::default();
    plugin.set("live_mb", Value::Integer(16)).unwrap();
    plugin.requests(300).unwrap();
    plugin.set("live_mb", Value::Integer(1)).unwrap();
    let remaining = plugin.requests(20).unwrap();
    assert!(remaining.bytes < 2 << 20, "{}", remaining.bytes);
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = Driver::<Fragmentation>::default();
    assert!(plugin.requests(100).unwrap().objects > 100);
    check::clear_leaves_nothing(&mut plugin);
}
