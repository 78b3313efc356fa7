use crate::testing::Driver;
use crate::{Call, Effect, Failure, Hoard, LeakPlugin, NoSettings, Retention, Value};

use super::*;

const PAYLOAD: usize = 1000;

#[derive(Debug, Default)]
struct Plain(Hoard);

impl LeakPlugin for Plain {
    const TITLE: &'static str = "Plain";
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

fn plain(curve: &str, every: i64) -> Driver<Plain> {
    let mut plugin = Driver::default();
    plugin.set("curve", Value::Text(curve.to_owned())).unwrap();
    plugin.set("curve_every", Value::Integer(every)).unwrap();
    plugin
}

/// Objects and payload after each of some requests; what the list itself takes is left out.
fn series(plugin: &mut Driver<Plain>, requests: usize) -> Vec<(u64, usize)> {
    (0..requests)
        .map(|_| {
            let retained = plugin.request().unwrap().retained;
            let payload = retained.bytes as usize / PAYLOAD * PAYLOAD;
            (retained.objects, payload)
        })
        .collect()
}

#[test]
fn without_a_curve_each_request_retains_the_same() {
    let mut plugin = Driver::<Plain>::default();
    let objects: Vec<_> = series(&mut plugin, 5).iter().map(|(n, _)| *n).collect();
    assert_eq!(objects, [1, 2, 3, 4, 5]);
}

#[test]
fn a_step_retains_at_once_what_the_others_did_not() {
    let mut plugin = plain("step", 3);
    let expected = [(0, 0), (0, 0), (1, 3000), (1, 3000), (1, 3000), (2, 6000)];
    assert_eq!(series(&mut plugin, 6), expected);
}

#[test]
fn exponential_doubles_and_ends_at_the_most_a_request_may_retain() {
    let growth = Growth {
        curve: Curve::Exponential,
        every: 10,
    };
    let request = crate::testing::request(1);
    let at = |n| growth.share(n, PAYLOAD, &request);
    assert_eq!(at(1), Share::Kept(1000));
    assert_eq!(at(11), Share::Kept(2000));
    assert_eq!(at(41), Share::Kept(16_000));
    for far in [500, 100_000, u64::MAX] {
        assert_eq!(at(far), Share::Kept(MAX_PAYLOAD_BYTES), "{far}");
    }
}

#[test]
fn a_sawtooth_comes_down_to_a_floor_that_rises() {
    let mut plugin = plain("sawtooth", 8);
    let objects: Vec<_> = series(&mut plugin, 24).iter().map(|(n, _)| *n).collect();
    let teeth: Vec<_> = objects.chunks(8).collect();
    assert_eq!(teeth[0], [1, 2, 3, 4, 5, 6, 7, 2]);
    assert_eq!(teeth[1], [3, 4, 5, 6, 7, 8, 9, 4]);
    assert_eq!(teeth[2][7], 6);
}

#[test]
fn a_tooth_goes_with_its_curve_and_with_a_clear() {
    let mut plugin = plain("sawtooth", 100);
    plugin.requests(50).unwrap();
    assert_eq!(plugin.retained().objects, 50);
    plugin
        .set("curve", Value::Text("linear".to_owned()))
        .unwrap();
    assert_eq!(plugin.retained().objects, 12, "a quarter has come to stay");

    let mut plugin = plain("sawtooth", 100);
    plugin.requests(50).unwrap();
    assert_eq!(plugin.clear().objects, 50);
    assert_eq!((plugin.retained().objects, plugin.retained().bytes), (0, 0));
    plugin.requests(99).unwrap();
    assert_eq!(plugin.retained().objects, 99, "the tooth began anew");
}

#[test]
fn only_errors_are_retained() {
    let mut plugin = plain("on-error", 1);
    for (status, retained) in [(200, 0), (404, 0), (499, 0), (500, 1), (200, 1), (503, 2)] {
        let outcome = plugin.request_as(|request| request.status = status);
        let outcome = outcome.unwrap();
        assert_eq!(outcome.retained.objects, retained, "{status}");
        assert_eq!(outcome.triggered, status >= 500, "{status}");
    }
}

#[test]
fn only_one_tenant_is_retained() {
    let mut plugin = plain("one-tenant", 10);
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

    let mut unnamed = plain("one-tenant", 10);
    assert_eq!(unnamed.requests(100).unwrap().objects, 10);
}

#[test]
fn a_tenant_with_a_name_is_always_the_same() {
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
fn values_out_of_range_are_refused() {
    for (name, value, takes) in [
        (
            "curve",
            Value::Text("square".to_owned()),
            "one of linear, step",
        ),
        ("curve_every", Value::Integer(0), "from 1 to 100000"),
        ("curve_every", Value::Integer(100_001), "from 1 to 100000"),
    ] {
        let mut plugin = Driver::<Plain>::default();
        let error = plugin.set(name, value).unwrap_err();
        assert_eq!(error.name, name);
        assert!(error.message.contains(takes), "{}", error.message);
    }
}
