use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check};

use super::*;

#[test]
fn comes_once_and_goes() {
    let mut plugin = Driver::<OneOffSpike>::default();
    assert_eq!(plugin.requests(49).unwrap().bytes, 0);
    let spike = plugin.requests(1).unwrap();
    assert_eq!(spike.objects, 1000);
    let off = spike.bytes as f64 / OneOffSpike::PAYLOAD_BYTES as f64 - 1.0;
    assert!(off.abs() < 0.01, "{}", spike.bytes);
    assert_eq!(plugin.requests(50).unwrap().bytes, spike.bytes, "is held");
    for _ in 0..10 {
        assert_eq!(plugin.requests(100).unwrap().bytes, 0, "and never again");
    }
}

#[test]
fn reports_what_the_allocator_handed_out() {
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
fn fixed_never_holds_more_than_a_row() {
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
