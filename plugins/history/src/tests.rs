use std::collections::HashSet;

use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, check, request};

use super::*;

#[test]
fn every_request_adds_a_record() {
    let mut history = Driver::<History>::default();
    for n in 1..=1000 {
        let outcome = history.request().unwrap();
        assert!(outcome.triggered);
        assert_eq!(outcome.retained.objects, n);
    }
}

#[test]
fn each_request_retains_payload_bytes() {
    check::retains_payload_bytes(
        Driver::<History>::default,
        &[1536, 8192, 20_480],
        &[1000, 1025, 3000],
        0.1,
    );
}

#[test]
fn reports_the_bytes_that_the_allocator_handed_out() {
    let mut history = Driver::<History>::default();
    check::reports_what_is_allocated(
        &mut history,
        |history| history.requests(777),
        |traffic| allocation_counter::measure(traffic).bytes_current,
    );
}

#[test]
fn a_record_keeps_the_complete_request_and_unique_padding() {
    let mut history = History::default();
    let settings = HistorySettings::default();
    let mut paddings = HashSet::new();
    for sequence in 1..=100 {
        let mut request = request(sequence);
        request.query = format!("page={sequence}");
        request.body_preview = "{}".to_owned();
        let call = Call {
            request: &request,
            variant: Variant::Leaky,
            payload_bytes: 1536,
            settings: &settings,
            sequence,
        };
        history.on_request(call).unwrap();
        let record = history.records.back().unwrap();
        assert_eq!(format!("{:?}", record.request), format!("{request:?}"));
        assert!(record.padding.as_bytes().len() >= 1024);
        assert!(
            paddings.insert(record.padding.as_bytes().to_vec()),
            "two records share their padding"
        );
    }
}

#[test]
fn fixed_keeps_only_the_last_records() {
    let mut history = Driver::<History>::default();
    history.variant("fixed").unwrap();
    history.set("keep_last", Value::Integer(10)).unwrap();
    let full = history.requests(10).unwrap();
    let later = history.requests(1000).unwrap();
    assert_eq!((full.objects, later.objects), (10, 10));
    assert!(
        later.bytes < full.bytes + 512,
        "{} after {}",
        later.bytes,
        full.bytes
    );
}

#[test]
fn fixed_keeps_the_newest_records() {
    let mut history = History::default();
    let settings = HistorySettings { keep_last: 3 };
    for sequence in 1..=10 {
        let request = request(sequence);
        let call = Call {
            request: &request,
            variant: Variant::Fixed,
            payload_bytes: 0,
            settings: &settings,
            sequence,
        };
        history.on_request(call).unwrap();
    }
    let kept: Vec<_> = history
        .records
        .iter()
        .map(|record| record.request.id.clone())
        .collect();
    assert_eq!(kept, [8, 9, 10].map(|n| request(n).id));
}

#[test]
fn a_switch_to_fixed_drops_the_leaked_records_in_steps() {
    let mut history = Driver::<History>::default();
    assert_eq!(history.requests(5000).unwrap().objects, 5000);
    check::sheds_in_steps(&mut history);
    let bounded = history.requests(5000 / SHRINK_STEP as u64 + 1).unwrap();
    assert_eq!(bounded.objects, 100);
    assert!(
        bounded.bytes < 110 * 1536,
        "the list must shrink too: {}",
        bounded.bytes
    );
}

#[test]
fn clear_leaves_nothing() {
    let mut history = Driver::<History>::default();
    assert_eq!(history.requests(100).unwrap().objects, 100);
    check::clear_leaves_nothing(&mut history);
}
