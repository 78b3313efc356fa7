use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check, request};

use super::*;

#[test]
fn every_request_adds_a_series() {
    let mut plugin = Driver::<MetricLabels>::default();
    assert_eq!(plugin.requests(1000).unwrap().objects, 1000);
}

#[test]
fn each_request_retains_payload_bytes() {
    check::retains_payload_bytes(
        Driver::<MetricLabels>::default,
        &[2048, 20_480],
        &[1000, 1800, 3700],
        0.1,
    );
}

#[test]
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut plugin = Driver::<MetricLabels>::default();
    check::reports_what_is_allocated(
        &mut plugin,
        |plugin| plugin.requests(777),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn a_route_contains_no_ids() {
    let mut request = request(1);
    for (path, expected) in [
        ("/api/data", "/api/data"),
        ("/users/42/orders/8f2c-11", "/users/{id}/orders/{id}"),
        ("/", "/"),
    ] {
        request.path = path.to_owned();
        assert_eq!(
            &*route(&request),
            format!("method=\"GET\",path={expected:?}")
        );
    }
}

#[test]
fn fixed_adds_one_series_per_route_up_to_max_series() {
    let mut plugin = Driver::<MetricLabels>::default();
    plugin.variant("fixed").unwrap();
    plugin.set("max_series", Value::Integer(3)).unwrap();
    assert_eq!(plugin.requests(100).unwrap().objects, 1);
    for path in ["/a", "/b", "/c", "/d", "/e"] {
        plugin
            .request_as(|request| request.path = path.to_owned())
            .unwrap();
    }
    assert_eq!(
        plugin.retained().objects,
        4,
        "three routes and one series for the others"
    );
}

#[test]
fn a_switch_to_fixed_drops_the_leaked_series_in_steps() {
    let mut plugin = Driver::<MetricLabels>::default();
    plugin.requests(1000).unwrap();
    plugin.variant("fixed").unwrap();
    assert_eq!(
        plugin.requests(1).unwrap().objects,
        1001 - SHRINK_STEP as u64
    );
    assert_eq!(
        plugin.requests(10).unwrap().objects,
        2,
        "one route and 'other'"
    );
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = Driver::<MetricLabels>::default();
    assert_eq!(plugin.requests(100).unwrap().objects, 100);
    check::clear_leaves_nothing(&mut plugin);
}
