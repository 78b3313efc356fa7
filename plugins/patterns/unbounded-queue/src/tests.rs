use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check};

use super::*;

/// A driver sends one request per millisecond: 1,000 per second.
fn queue(jobs_per_second: f64) -> Driver<UnboundedQueue> {
    let mut plugin = Driver::default();
    plugin
        .set("jobs_per_second", Value::Number(jobs_per_second))
        .unwrap();
    plugin
}

#[test]
fn grows_by_the_jobs_that_the_consumer_does_not_finish() {
    assert_eq!(queue(0.0).requests(1000).unwrap().objects, 1000);
    let half = queue(500.0).requests(1000).unwrap().objects;
    assert!((495..=505).contains(&half), "{half}");
}

#[test]
fn a_fast_consumer_keeps_the_queue_empty() {
    assert!(queue(2000.0).requests(5000).unwrap().objects <= 2);
}

#[test]
fn the_backlog_shrinks_when_traffic_falls() {
    let mut plugin = queue(100.0);
    let backlog = plugin.requests(1000).unwrap().objects;
    assert!(backlog > 850, "{backlog}");
    for _ in 0..10 {
        plugin.wait_ms(2000);
        plugin.requests(1).unwrap();
    }
    assert!(plugin.retained().objects <= 2);
}

#[test]
fn each_request_retains_payload_bytes() {
    check::retains_payload_bytes(|| queue(0.0), &[1024, 4096, 20_480], &[1000], 0.05);
}

#[test]
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut plugin = queue(300.0);
    check::reports_what_is_allocated(
        &mut plugin,
        |plugin| plugin.requests(777),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn fixed_rejects_requests_when_the_queue_is_full() {
    let mut plugin = queue(0.0);
    plugin.variant("fixed").unwrap();
    plugin.set("max_jobs", Value::Integer(10)).unwrap();
    let accepted: Vec<bool> = (0..20)
        .map(|_| plugin.request().unwrap().triggered)
        .collect();
    assert_eq!(accepted, [[true; 10], [false; 10]].concat());
    assert_eq!(plugin.retained().objects, 10);
}

#[test]
fn a_switch_to_fixed_sheds_the_leaked_jobs_in_steps() {
    let mut plugin = queue(0.0);
    assert_eq!(plugin.requests(1000).unwrap().objects, 1000);
    check::sheds_in_steps(&mut plugin);
    assert_eq!(plugin.requests(10).unwrap().objects, 100);
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = queue(0.0);
    assert_eq!(plugin.requests(100).unwrap().objects, 100);
    check::clear_leaves_nothing(&mut plugin);
}
