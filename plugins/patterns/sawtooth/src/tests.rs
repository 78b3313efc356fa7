use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check};

use super::*;

#[test]
fn rises_and_falls_to_a_constant_floor() {
    let mut plugin = Driver::<Sawtooth>::default();
    for _ in 0..5 {
        let top = plugin.requests(99).unwrap();
        assert_eq!(top.objects, 99);
        let each = top.bytes as f64 / 99.0;
        assert!((each / 4096.0 - 1.0).abs() < 0.05, "{each}");
        let floor = plugin.requests(1).unwrap();
        assert_eq!((floor.objects, floor.bytes), (0, 0));
    }
}

#[test]
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut plugin = Driver::<Sawtooth>::default();
    plugin.set("batch_records", Value::Integer(1000)).unwrap();
    check::reports_what_is_allocated(
        &mut plugin,
        |plugin| plugin.requests(777),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn fixed_holds_nothing_between_requests() {
    let mut plugin = Driver::<Sawtooth>::default();
    plugin.requests(50).unwrap();
    plugin.variant("fixed").unwrap();
    for _ in 0..100 {
        assert_eq!(plugin.requests(1).unwrap().bytes, 0);
    }
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = Driver::<Sawtooth>::default();
    assert_eq!(plugin.requests(50).unwrap().objects, 50);
    check::clear_leaves_nothing(&mut plugin);
}
