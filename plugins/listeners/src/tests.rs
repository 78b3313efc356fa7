use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check};

use super::*;

#[test]
fn every_request_adds_a_callback() {
    let mut listeners = Driver::<Listeners>::default();
    for n in 1..=1000 {
        let outcome = listeners.request().unwrap();
        assert!(outcome.triggered);
        assert_eq!(outcome.retained.objects, n);
    }
}

#[test]
fn each_request_retains_payload_bytes() {
    check::retains_payload_bytes(
        Driver::<Listeners>::default,
        &[1024, 7168, 20_480],
        &[1000, 1025, 3000],
        0.05,
    );
}

#[test]
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut listeners = Driver::<Listeners>::default();
    check::reports_what_is_allocated(
        &mut listeners,
        |listeners| listeners.requests(777),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn each_closure_holds_its_own_context() {
    let settings = ListenerSettings::default();
    let request = leak_plugin_sdk::testing::request(1);
    let results = [1, 2].map(|sequence| {
        let call = Call {
            request: &request,
            variant: Variant::Leaky,
            payload_bytes: 7168,
            settings: &settings,
            sequence,
        };
        let emitter = Emitter::default();
        emitter.subscribe(listener(&call)).forget();
        emitter.emit(ConfigurationChanged { version: 0 })
    });
    assert_ne!(
        results[0], results[1],
        "the result depends on the context, which differs"
    );
}

#[test]
fn fixed_retains_no_callback() {
    let mut listeners = Driver::<Listeners>::default();
    listeners.variant("fixed").unwrap();
    listeners.set("emit_every", Value::Integer(1)).unwrap();
    let retained = listeners.requests(1000).unwrap();
    assert_eq!(retained.objects, 0);
    assert!(retained.bytes < 1024, "{}", retained.bytes);
}

#[test]
fn a_switch_to_fixed_removes_the_leaked_callbacks_in_steps() {
    let mut listeners = Driver::<Listeners>::default();
    assert_eq!(listeners.requests(5000).unwrap().objects, 5000);
    check::sheds_in_steps(&mut listeners);
    let remaining = listeners.requests(5000 / SHRINK_STEP as u64 + 1).unwrap();
    assert_eq!(remaining.objects, 0);
    assert!(
        remaining.bytes < 4096,
        "the list must shrink too: {}",
        remaining.bytes
    );
}

#[test]
fn clear_leaves_nothing() {
    let mut listeners = Driver::<Listeners>::default();
    assert_eq!(listeners.requests(100).unwrap().objects, 100);
    check::clear_leaves_nothing(&mut listeners);
}
