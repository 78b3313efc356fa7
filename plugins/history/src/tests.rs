use std::collections::HashSet;

use leak_plugin_sdk::Value;
use leak_plugin_sdk::testing::{Driver, request};

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
fn a_request_retains_what_the_setting_says() {
    for payload_bytes in [1536, 8192, 20_480] {
        for requests in [1000, 1025, 3000] {
            let mut history = Driver::<History>::default();
            history
                .set("payload_bytes", Value::Integer(payload_bytes))
                .unwrap();
            let each = history.requests(requests).unwrap().bytes as f64 / requests as f64;
            assert!(
                (each / payload_bytes as f64 - 1.0).abs() < 0.1,
                "{each} for {payload_bytes}"
            );
        }
    }
}

#[test]
fn reports_what_the_allocator_handed_out() {
    let mut history = Driver::<History>::default();
    for variant in ["leaky", "fixed"] {
        history.variant(variant).unwrap();
        let before = history.retained().bytes as i64;
        let allocated = allocation_counter::measure(|| {
            history.requests(777).unwrap();
        });
        assert_eq!(
            history.retained().bytes as i64 - before,
            allocated.bytes_current,
            "{variant}"
        );
    }
}

#[test]
fn a_record_keeps_the_whole_request_and_padding_of_its_own() {
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
fn fixed_is_a_ring_of_the_last() {
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
fn the_ring_keeps_the_newest() {
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
fn switching_to_fixed_brings_the_rest_down_in_steps() {
    let mut history = Driver::<History>::default();
    let leaked = history.requests(5000).unwrap();
    history.variant("fixed").unwrap();
    assert_eq!(
        history.requests(1).unwrap().objects,
        leaked.objects - SHRINK_STEP as u64
    );
    let bounded = history.requests(5000 / SHRINK_STEP as u64 + 1).unwrap();
    assert_eq!(bounded.objects, 100);
    assert!(
        bounded.bytes < 110 * 1536,
        "the list shrinks too: {}",
        bounded.bytes
    );
}

#[test]
fn clear_leaves_nothing() {
    let mut history = Driver::<History>::default();
    let held = history.requests(100).unwrap();
    let dropped = history.clear();
    assert_eq!((dropped.objects, dropped.bytes), (held.objects, held.bytes));
    assert_eq!(
        (history.retained().objects, history.retained().bytes),
        (0, 0)
    );
}
