use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::Driver;

use super::*;

#[test]
fn a_request_retains_what_the_setting_says() {
    for payload_bytes in [1024, 4096, 20_480] {
        let mut plugin = Driver::<ReferenceCycle>::default();
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
    let mut plugin = Driver::<ReferenceCycle>::default();
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
fn a_tree_without_a_cycle_goes_by_itself() {
    let mut plugin = Driver::<ReferenceCycle>::default();
    plugin.variant("fixed").unwrap();
    let allocated = allocation_counter::measure(|| {
        plugin.requests(1000).unwrap();
    });
    assert_eq!((plugin.retained().objects, allocated.bytes_current), (0, 0));
}

#[test]
fn switching_to_fixed_breaks_up_the_rest_in_steps() {
    let mut plugin = Driver::<ReferenceCycle>::default();
    plugin.requests(1000).unwrap();
    plugin.variant("fixed").unwrap();
    assert_eq!(
        plugin.requests(1).unwrap().objects,
        1000 - SHRINK_STEP as u64
    );
    assert_eq!(plugin.requests(4).unwrap().objects, 0);
}

#[test]
fn clear_gives_every_byte_back() {
    let mut plugin = Driver::<ReferenceCycle>::default();
    let allocated = allocation_counter::measure(|| {
        plugin.requests(100).unwrap();
        assert_eq!(plugin.clear().objects, 100);
    });
    assert_eq!(allocated.bytes_current, 0);
    assert_eq!((plugin.retained().objects, plugin.retained().bytes), (0, 0));
}
