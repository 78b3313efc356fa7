use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check, request};

use super::*;

#[test]
fn each_request_without_a_cookie_opens_a_session() {
    let mut plugin = Driver::<Sessions>::default();
    assert_eq!(plugin.requests(1000).unwrap().objects, 1000);
}

#[test]
fn a_request_with_the_cookie_resumes_its_session() {
    let mut plugin = Driver::<Sessions>::default();
    plugin.requests(1).unwrap();
    let id = request(1).id;
    for _ in 0..100 {
        let cookie = format!("lang=en; session={id}");
        let resumed = plugin.request_as(|request| {
            request.headers.push(("Cookie".to_owned(), cookie));
        });
        assert!(!resumed.unwrap().triggered);
        let resumed = plugin.request_as(|request| request.query = format!("session={id}"));
        assert!(!resumed.unwrap().triggered);
    }
    assert_eq!(plugin.retained().objects, 1);
}

#[test]
fn an_unknown_session_id_opens_a_new_session() {
    let mut plugin = Driver::<Sessions>::default();
    let outcome = plugin.request_as(|request| request.query = "session=forged".to_owned());
    assert_eq!(outcome.unwrap().retained.objects, 1);
}

#[test]
fn each_request_retains_payload_bytes() {
    check::retains_payload_bytes(
        Driver::<Sessions>::default,
        &[4096, 20_480],
        &[1000, 1800, 3700],
        0.05,
    );
}

#[test]
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut plugin = Driver::<Sessions>::default();
    check::reports_what_is_allocated(
        &mut plugin,
        |plugin| {
            plugin.requests(777)?;
            // A repeated id.
            plugin.request_as(|request| request.id = "6f1c2d3e-0000-4000-8000-000000000001".into())
        },
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn fixed_ends_idle_sessions_and_keeps_used_ones() {
    let mut plugin = Driver::<Sessions>::default();
    plugin.variant("fixed").unwrap();
    plugin.set("idle_seconds", Value::Number(2.0)).unwrap();
    assert_eq!(plugin.requests(50).unwrap().objects, 50);
    let used = request(7).id;
    for _ in 0..5 {
        plugin.wait_ms(1500);
        plugin
            .request_as(|request| request.query = format!("session={used}"))
            .unwrap();
    }
    assert_eq!(
        plugin.retained().objects,
        1,
        "only the used session is left"
    );
}

#[test]
fn fixed_stays_within_max_sessions() {
    let mut plugin = Driver::<Sessions>::default();
    plugin.variant("fixed").unwrap();
    plugin.set("max_sessions", Value::Integer(10)).unwrap();
    assert_eq!(plugin.requests(1000).unwrap().objects, 10);
}

#[test]
fn a_switch_to_fixed_ends_the_leaked_sessions_in_steps() {
    let mut plugin = Driver::<Sessions>::default();
    assert_eq!(plugin.requests(1000).unwrap().objects, 1000);
    check::sheds_in_steps(&mut plugin);
    assert_eq!(plugin.requests(5).unwrap().objects, 100);
}

#[test]
fn clear_leaves_nothing() {
    let mut plugin = Driver::<Sessions>::default();
    assert_eq!(plugin.requests(100).unwrap().objects, 100);
    check::clear_leaves_nothing(&mut plugin);
}
