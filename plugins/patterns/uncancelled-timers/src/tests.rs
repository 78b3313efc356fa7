use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::Driver;

use super::*;

#[test]
fn a_request_retains_what_the_setting_says() {
    for payload_bytes in [1024, 4096, 20_480] {
        let mut plugin = Driver::<UncancelledTimers>::default();
        plugin
            .set("payload_bytes", Value::Integer(payload_bytes))
            .unwrap();
        let retained = plugin.requests(1000).unwrap();
        assert_eq!(retained.objects, 1000);
        let each = retained.bytes as f64 / 1000.0;
        assert!(
            (each / payload_bytes as f64 - 1.0).abs() < 0.05,
            "{each} for {payload_bytes}"
        );
    }
}

#[test]
fn reports_what_the_allocator_handed_out() {
    let mut plugin = Driver::<UncancelledTimers>::default();
    plugin.set("interval_seconds", Value::Number(0.1)).unwrap();
    for variant in ["leaky", "fixed"] {
        plugin.variant(variant).unwrap();
        let before = plugin.retained().bytes as i64;
        let allocated = allocation_counter::measure(|| {
            plugin.requests(777).unwrap();
        });
        assert_eq!(
            plugin.retained().bytes as i64 - before,
            allocated.bytes_current,
            "{variant}"
        );
    }
}

#[test]
fn ticking_retains_nothing_and_ends_nothing() {
    let mut plugin = Driver::<UncancelledTimers>::default();
    plugin.set("interval_seconds", Value::Number(1.0)).unwrap();
    plugin.requests(100).unwrap();
    plugin.wait_ms(5000);
    assert_eq!(plugin.requests(1).unwrap().objects, 101);
}

#[test]
fn fixed_retains_no_timer() {
    let mut plugin = Driver::<UncancelledTimers>::default();
    plugin.variant("fixed").unwrap();
    let retained = plugin.requests(1000).unwrap();
    assert_eq!(retained.objects, 0);
    assert!(retained.bytes < 1024, "{}", retained.bytes);
}

#[test]
fn switching_to_fixed_cancels_the_rest_in_steps() {
    let mut plugin = Driver::<UncancelledTimers>::default();
    plugin.requests(1000).unwrap();
    plugin.variant("fixed").unwrap();
    assert_eq!(
        plugin.requests(1).unwrap().objects,
        1000 - SHRINK_STEP as u64
    );
    assert_eq!(plugin.requests(4).unwrap().objects, 0);
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = Driver::<UncancelledTimers>::default();
    plugin.requests(100).unwrap();
    assert_eq!(plugin.clear().objects, 100);
    assert_eq!((plugin.retained().objects, plugin.retained().bytes), (0, 0));
}
