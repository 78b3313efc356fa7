use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check};

use super::*;

#[test]
fn each_request_retains_payload_bytes() {
    check::retains_payload_bytes(
        Driver::<UncancelledTimers>::default,
        &[1024, 4096, 20_480],
        &[1000],
        0.05,
    );
}

#[test]
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut plugin = Driver::<UncancelledTimers>::default();
    plugin.set("interval_seconds", Value::Number(0.1)).unwrap();
    check::reports_what_is_allocated(
        &mut plugin,
        |plugin| plugin.requests(777),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn ticks_neither_retain_nor_cancel_timers() {
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
fn a_switch_to_fixed_cancels_the_leaked_timers_in_steps() {
    let mut plugin = Driver::<UncancelledTimers>::default();
    assert_eq!(plugin.requests(1000).unwrap().objects, 1000);
    check::sheds_in_steps(&mut plugin);
    assert_eq!(plugin.requests(4).unwrap().objects, 0);
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = Driver::<UncancelledTimers>::default();
    assert_eq!(plugin.requests(100).unwrap().objects, 100);
    check::clear_leaves_nothing(&mut plugin);
}
