use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check};

use super::*;

fn server(connections: i64) -> Driver<PeakBuffers> {
    let mut plugin = Driver::default();
    plugin
        .set("connections", Value::Integer(connections))
        .unwrap();
    plugin
}

#[test]
fn grows_until_every_connection_had_its_large_message() {
    let mut plugin = server(100);
    assert_eq!(plugin.requests(50).unwrap().objects, 50);
    let peak = plugin.requests(50).unwrap();
    assert_eq!(peak.objects, 100);
    let later = plugin.requests(1000).unwrap();
    assert_eq!((later.objects, later.bytes), (peak.objects, peak.bytes));
}

#[test]
fn each_request_retains_payload_bytes() {
    check::retains_payload_bytes(|| server(1000), &[1024, 16_384], &[1000], 0.05);
}

#[test]
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut plugin = server(300);
    check::reports_what_is_allocated(
        &mut plugin,
        |plugin| plugin.requests(777),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn fixed_keeps_only_small_buffers() {
    let mut plugin = server(100);
    plugin.variant("fixed").unwrap();
    let first = plugin.requests(100).unwrap();
    assert_eq!(first.objects, 0, "large buffers are freed");
    let small = plugin.requests(1000).unwrap();
    assert_eq!(small.objects, 100);
    assert!(small.bytes - first.bytes <= 100 * 256, "{}", small.bytes);
}

#[test]
fn a_switch_to_fixed_frees_the_large_buffers_in_steps() {
    let mut plugin = server(10_000);
    assert_eq!(plugin.requests(1000).unwrap().objects, 1000);
    check::sheds_in_steps(&mut plugin);
    assert_eq!(plugin.requests(4).unwrap().objects, 0);
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = server(1000);
    assert_eq!(plugin.requests(100).unwrap().objects, 100);
    check::clear_leaves_nothing(&mut plugin);
}
