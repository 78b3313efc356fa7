use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check, request};

use super::*;

#[test]
fn every_request_adds_an_entry() {
    let mut cache = Driver::<Cache>::default();
    for n in 1..=1000 {
        let outcome = cache.request().unwrap();
        assert!(outcome.triggered);
        assert_eq!(outcome.retained.objects, n);
    }
}

#[test]
fn each_request_retains_payload_bytes() {
    let requests = [1000, 1800, 2000, 3700];
    check::retains_payload_bytes(Driver::<Cache>::default, &[5120, 20_480], &requests, 0.05);
    // A map that has just doubled is half empty. With small entries this raises the bytes per
    // request noticeably.
    check::retains_payload_bytes(Driver::<Cache>::default, &[1024], &requests, 0.2);
}

#[test]
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut cache = Driver::<Cache>::default();
    check::reports_what_is_allocated(
        &mut cache,
        |cache| cache.requests(777),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn a_repeated_request_misses_too() {
    let mut cache = Cache::default();
    let settings = CacheSettings::default();
    for sequence in 1..=10 {
        let request = request(1);
        let call = Call {
            request: &request,
            variant: Variant::Leaky,
            payload_bytes: 100,
            settings: &settings,
            sequence,
        };
        assert_eq!(cache.on_request(call), Ok(Effect::Triggered));
    }
    assert_eq!(cache.retained().objects, 10);
}

#[test]
fn fixed_stays_within_max_entries() {
    let mut cache = Driver::<Cache>::default();
    cache.variant("fixed").unwrap();
    cache.set("max_entries", Value::Integer(10)).unwrap();
    let full = cache.requests(10).unwrap();
    let later = cache.requests(1000).unwrap();
    assert_eq!((full.objects, later.objects), (10, 10));
    assert!(
        later.bytes < full.bytes + 1024,
        "{} after {}",
        later.bytes,
        full.bytes
    );
}

#[test]
fn fixed_evicts_expired_entries() {
    let mut cache = Driver::<Cache>::default();
    cache.variant("fixed").unwrap();
    cache.set("entry_ttl_seconds", Value::Number(2.0)).unwrap();
    assert_eq!(cache.requests(50).unwrap().objects, 50);
    cache.wait_ms(1000);
    assert_eq!(cache.requests(1).unwrap().objects, 51);
    cache.wait_ms(1500);
    assert_eq!(cache.requests(1).unwrap().objects, 2);
}

#[test]
fn a_switch_to_fixed_evicts_the_leaked_entries_in_steps() {
    let mut cache = Driver::<Cache>::default();
    assert_eq!(cache.requests(5000).unwrap().objects, 5000);
    check::sheds_in_steps(&mut cache);
    let bounded = cache.requests(5000 / SHRINK_STEP as u64 + 1).unwrap();
    assert_eq!(bounded.objects, 100);
    assert!(
        bounded.bytes < 110 * 5120,
        "the containers must shrink too: {}",
        bounded.bytes
    );
}

#[test]
fn clear_leaves_nothing() {
    let mut cache = Driver::<Cache>::default();
    assert_eq!(cache.requests(100).unwrap().objects, 100);
    check::clear_leaves_nothing(&mut cache);
    assert_eq!(cache.requests(1).unwrap().objects, 1);
}
