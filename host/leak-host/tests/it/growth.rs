//! How fast a leak grows: growth curves and the growth target.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::lab::{Answer, Lab, MIB, assert_close, number};

/// A lab whose only leak is the cache with these settings.
async fn cache_with(settings: Value) -> Lab {
    let lab = Lab::with(&["cache"]).start().await;
    lab.configure("cache", settings).await;
    lab
}

async fn count(lab: &Lab) -> f64 {
    number(&lab.leak("cache").await, "/count")
}

#[tokio::test]
async fn a_growth_target_is_reached_in_time_and_not_before() {
    let target = json!({"enabled": true, "target_mb": 4, "target_minutes": 0.1});
    let lab = cache_with(target).await;
    let started = Instant::now();
    loop {
        lab.data().await;
        let retained = number(&lab.leak("cache").await, "/estimated_size_bytes");
        let seconds = started.elapsed().as_secs_f64();
        // The straight line to the target, and one object that may be ahead of it.
        let allowed = (seconds / 6.0).min(1.0) * 4.0 * MIB;
        assert!(
            retained <= allowed + 64.0 * 1024.0,
            "{retained} at {seconds} s"
        );
        if retained > 3.9 * MIB {
            break;
        }
        assert!(seconds < 60.0, "only {retained} bytes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    lab.traffic(50).await;
    let end = lab.leak("cache").await;
    assert_close(
        "end",
        number(&end, "/estimated_size_bytes"),
        4.0 * MIB,
        0.05,
    );
    assert!(number(&end, "/count") < 1000.0, "few large objects: {end}");

    // Without a target, a request retains `payload_bytes` again.
    lab.configure("cache", json!({"target_mb": null})).await;
    lab.clear("cache").await;
    lab.traffic(100).await;
    let plain = lab.leak("cache").await;
    assert_eq!(plain["count"], json!(100));
    let retained = number(&plain, "/estimated_size_bytes");
    assert_close("plain", retained / 100.0, 5120.0, 0.1);
}

#[tokio::test]
async fn the_on_error_curve_grows_with_failed_requests_only() {
    let lab = cache_with(json!({"enabled": true, "curve": "on-error"})).await;
    lab.traffic(20).await;
    assert_eq!(count(&lab).await, 0.0);
    for (status, retained) in [(500, 1.0), (502, 2.0), (503, 3.0), (504, 4.0)] {
        let answer =
            Answer::of(lab.request(Method::GET, &format!("/api/data?fail={status}"))).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.error_code("fail"), "asked_to_fail");
        assert_eq!(count(&lab).await, retained);
    }
    for refused in ["404", "200", "599", "yes", ""] {
        let answer =
            Answer::of(lab.request(Method::GET, &format!("/api/data?fail={refused}"))).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        assert_eq!(answer.error_code("fail"), "invalid_value");
    }
    assert_eq!(count(&lab).await, 4.0, "a refused request changes nothing");
}

#[tokio::test]
async fn the_one_tenant_curve_grows_with_that_tenant_only() {
    let tenant = json!({"enabled": true, "curve": "one-tenant", "curve_every": 10});
    let lab = cache_with(tenant).await;
    for n in 0..40 {
        lab.get(&format!("/api/data?tenant={}", n % 20)).await;
    }
    assert_eq!(count(&lab).await, 4.0, "tenants 0 and 10, twice");
}

#[tokio::test]
async fn the_sawtooth_curve_has_a_rising_floor() {
    let lab = cache_with(json!({"enabled": true, "curve": "sawtooth", "curve_every": 40})).await;
    let mut floors = Vec::new();
    for _ in 0..3 {
        lab.traffic(39).await;
        let top = count(&lab).await;
        lab.traffic(1).await;
        let floor = count(&lab).await;
        assert!(top > floor + 25.0, "{top} to {floor}");
        floors.push(floor);
    }
    assert_eq!(floors, [10.0, 20.0, 30.0]);
    lab.clear("cache").await;
    assert_eq!(count(&lab).await, 0.0);
}
