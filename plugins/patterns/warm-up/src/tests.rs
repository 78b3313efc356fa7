use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check};

use super::*;

#[test]
fn grows_more_and_more_slowly_and_then_stops() {
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
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut plugin = Driver::<WarmUp>::default();
    plugin.set("items", Value::Integer(500)).unwrap();
    check::reports_what_is_allocated(
        &mut plugin,
        |plugin| plugin.requests(777),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn fixed_keeps_nothing_and_drops_the_cache_in_steps() {
    let mut plugin = Driver::<WarmUp>::default();
    plugin.set("items", Value::Integer(1000)).unwrap();
    plugin.requests(5000).unwrap();
    check::sheds_in_steps(&mut plugin);
    let remaining = plugin.requests(5).unwrap();
    assert_eq!(remaining.objects, 0);
    assert!(remaining.bytes < 4096, "{}", remaining.bytes);
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = Driver::<WarmUp>::default();
    plugin.requests(100).unwrap();
    check::clear_leaves_nothing(&mut plugin);
}
