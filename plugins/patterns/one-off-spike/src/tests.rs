use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check};

use super::*;

#[test]
fn the_spike_comes_once_and_goes() {
    let mut plugin = Driver::<OneOffSpike>::default();
    assert_eq!(plugin.requests(49).unwrap().bytes, 0);
    let spike = plugin.requests(1).unwrap();
    assert_eq!(spike.objects, 1000);
    let deviation = spike.bytes as f64 / OneOffSpike::PAYLOAD_BYTES as f64 - 1.0;
    assert!(deviation.abs() < 0.01, "{}", spike.bytes);
    assert_eq!(
        plugin.requests(50).unwrap().bytes,
        spike.bytes,
        "the report is held"
    );
    for _ in 0..10 {
        assert_eq!(plugin.requests(100).unwrap().bytes, 0, "no second report");
    }
}

#[test]
fn reports_the_bytes_that_the_allocator_handed_out() {
    for variant in ["leaky", "fixed"] {
        let mut plugin = Driver::<OneOffSpike>::default();
        plugin.variant(variant).unwrap();
        let allocated = allocation_counter::measure(|| {
            plugin.requests(60).unwrap();
        });
        assert_eq!(
            plugin.retained().bytes as i64,
            allocated.bytes_current,
            "{variant}"
        );
    }
}

#[test]
fn fixed_holds_at_most_one_row() {
    let mut plugin = Driver::<OneOffSpike>::default();
    plugin.variant("fixed").unwrap();
    plugin.set("rows", Value::Integer(1024)).unwrap();
    let allocated = allocation_counter::measure(|| {
        plugin.requests(100).unwrap();
    });
    assert!(
        allocated.bytes_max < 2 * 8192,
        "{} at a time",
        allocated.bytes_max
    );
    assert_eq!(plugin.retained().bytes, 0);
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = Driver::<OneOffSpike>::default();
    assert_eq!(plugin.requests(60).unwrap().objects, 1000);
    check::clear_leaves_nothing(&mut plugin);
}
