use crate::testing::Driver;
use crate::{Call, Effect, Failure, Hoard, LeakPlugin, NoSettings, Retention, Value};

use super::*;

const PAYLOAD: usize = 1000;

#[derive(Debug, Default)]
struct Buffers(Hoard);

impl LeakPlugin for Buffers {
    const TITLE: &'static str = "Buffers";
    const UNIT: &'static str = "buffers";
    const PAYLOAD_BYTES: usize = PAYLOAD;
    type Settings = NoSettings;

    fn on_request(&mut self, call: Call<'_, NoSettings>) -> Result<Effect, Failure> {
        self.0.keep(call.payload(call.payload_bytes));
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        self.0.retained()
    }
}

fn with_curve(curve: &str, every: i64) -> Driver<Buffers> {
    let mut plugin = Driver::default();
    plugin.set("curve", Value::Text(curve.to_owned())).unwrap();
    plugin.set("curve_every", Value::Integer(every)).unwrap();
    plugin
}

/// The retained objects and payload bytes after each of `requests` requests. The result does not
/// include the bytes of the list itself.
fn retained_after_each(plugin: &mut Driver<Buffers>, requests: usize) -> Vec<(u64, usize)> {
    (0..requests)
        .map(|_| {
            let retained = plugin.request().unwrap().retained;
            let payload = retained.bytes as usize / PAYLOAD * PAYLOAD;
            (retained.objects, payload)
        })
        .collect()
}

#[test]
fn the_default_curve_retains_the_same_with_each_request() {
    let mut plugin = Driver::<Buffers>::default();
    let objects: Vec<_> = retained_after_each(&mut plugin, 5)
        .iter()
        .map(|(n, _)| *n)
        .collect();
    assert_eq!(objects, [1, 2, 3, 4, 5]);
}

#[test]
fn a_step_retains_at_once_what_the_skipped_requests_would_have() {
    let mut plugin = with_curve("step", 3);
    let expected = [(0, 0), (0, 0), (1, 3000), (1, 3000), (1, 3000), (2, 6000)];
    assert_eq!(retained_after_each(&mut plugin, 6), expected);
}

#[test]
fn exponential_doubles_up_to_the_payload_limit() {
    let settings = CurveSettings {
        curve: Curve::Exponential,
        every: 10,
    };
    let request = crate::testing::request(1);
    let at = |n| settings.action(n, PAYLOAD, &request);
    assert_eq!(at(1), CurveAction::Retain(1000));
    assert_eq!(at(11), CurveAction::Retain(2000));
    assert_eq!(at(41), CurveAction::Retain(16_000));
    for far in [500, 100_000, u64::MAX] {
        assert_eq!(at(far), CurveAction::Retain(MAX_PAYLOAD_BYTES), "{far}");
    }
}

#[test]
fn a_sawtooth_falls_to_a_floor_that_rises() {
    let mut plugin = with_curve("sawtooth", 8);
    let objects: Vec<_> = retained_after_each(&mut plugin, 24)
        .iter()
        .map(|(n, _)| *n)
        .collect();
    let teeth: Vec<_> = objects.chunks(8).collect();
    assert_eq!(teeth[0], [1, 2, 3, 4, 5, 6, 7, 2]);
    assert_eq!(teeth[1], [3, 4, 5, 6, 7, 8, 9, 4]);
    assert_eq!(teeth[2][7], 6);
}

#[test]
fn a_change_of_curve_and_a_clear_both_drop_the_tooth() {
    let mut plugin = with_curve("sawtooth", 100);
    plugin.requests(50).unwrap();
    assert_eq!(plugin.retained().objects, 50);
    plugin
        .set("curve", Value::Text("linear".to_owned()))
        .unwrap();
    assert_eq!(plugin.retained().objects, 12, "a quarter is permanent");

    let mut plugin = with_curve("sawtooth", 100);
    plugin.requests(50).unwrap();
    assert_eq!(plugin.clear().objects, 50);
    assert_eq!((plugin.retained().objects, plugin.retained().bytes), (0, 0));
    plugin.requests(99).unwrap();
    assert_eq!(plugin.retained().objects, 99, "clear starts a new tooth");
}

#[test]
fn on_error_retains_only_requests_with_status_500_or_above() {
    let mut plugin = with_curve("on-error", 1);
    for (status, retained) in [(200, 0), (404, 0), (499, 0), (500, 1), (200, 1), (503, 2)] {
        let outcome = plugin.request_as(|request| request.status = status);
        let outcome = outcome.unwrap();
        assert_eq!(outcome.retained.objects, retained, "{status}");
        assert_eq!(outcome.triggered, status >= 500, "{status}");
    }
}

#[test]
fn one_tenant_retains_one_tenant_in_n() {
    let mut plugin = with_curve("one-tenant", 10);
    for tenant in 0..30 {
        plugin
            .request_as(|request| request.query = format!("a=b&tenant={tenant}"))
            .unwrap();
    }
    assert_eq!(plugin.retained().objects, 3, "tenants 0, 10 and 20");
    for _ in 0..5 {
        let header = ("X-Tenant".to_owned(), "20".to_owned());
        plugin
            .request_as(|request| request.headers.push(header))
            .unwrap();
    }
    assert_eq!(plugin.retained().objects, 8);

    let mut without_tenant = with_curve("one-tenant", 10);
    assert_eq!(without_tenant.requests(100).unwrap().objects, 10);
}

#[test]
fn a_tenant_name_always_maps_to_the_same_number() {
    let mut request = crate::testing::request(1);
    let mut leaking = 0;
    for n in 0..1000 {
        request.query = format!("tenant=customer-{n}");
        assert_eq!(tenant(&request, 1), tenant(&request, 2));
        leaking += u32::from(tenant(&request, 1).is_multiple_of(10));
    }
    assert!((50..=200).contains(&leaking), "{leaking} of 1000");
}

#[test]
fn values_out_of_range_are_rejected() {
    for (name, value, expected) in [
        (
            "curve",
            Value::Text("square".to_owned()),
            "one of linear, step",
        ),
        ("curve_every", Value::Integer(0), "from 1 to 100000"),
        ("curve_every", Value::Integer(100_001), "from 1 to 100000"),
    ] {
        let mut plugin = Driver::<Buffers>::default();
        let error = plugin.set(name, value).unwrap_err();
        assert_eq!(error.name, name);
        assert!(error.message.contains(expected), "{}", error.message);
    }
}
