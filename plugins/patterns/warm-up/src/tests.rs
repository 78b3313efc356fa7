use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::Driver;

use super::*;

#[test]
fn grows_ever_more_slowly_and_then_stays() {
    let mut plugin = Driver::<WarmUp>::default();
    let early = plugin.requests(50).unwrap().objects;
    let warm = plugin.requests(150).unwrap().objects;
    let full = plugin.requests(1800).unwrap();
    assert!((30..=50).contains(&early), "{early}");
    assert!((75..=99).contains(&warm), "{warm}");
    assert_eq!(full.objects, 100);
    assert_eq!(plugin.requests(1000).unwrap().bytes, full.bytes);
    let each = full.bytes as f64 / 100.0;
    assert!((each / 5120.0 - 1.0).abs() < 0.05, "{each}");
}

#[test]
fn reports_what_the_allocator_handed_out() {
    let mut plugin = Driver::<WarmUp>::default();
    plugin.set("items", Value::Integer(500)).unwrap();
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
fn fixed_keeps_nothing_and_lets_go_in_steps() {
    let mut plugin = Driver::<WarmUp>::default();
    plugin.set("items", Value::Integer(1000)).unwrap();
    let held = plugin.requests(5000).unwrap().objects;
    plugin.variant("fixed").unwrap();
    assert_eq!(
        plugin.requests(1).unwrap().objects,
        held - SHRINK_STEP as u64
    );
    let left = plugin.requests(5).unwrap();
    assert_eq!(left.objects, 0);
    assert!(left.bytes < 4096, "{}", left.bytes);
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = Driver::<WarmUp>::default();
    let held = plugin.requests(100).unwrap().objects;
    assert_eq!(plugin.clear().objects, held);
    assert_eq!((plugin.retained().objects, plugin.retained().bytes), (0, 0));
}
