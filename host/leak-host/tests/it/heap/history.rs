//! Live bytes by line over time, from the readings of the host's sampler.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{cache_payload_line, rows};
use crate::components::LAB;
use crate::lab::{Lab, number};

/// Unix time in seconds and live bytes of each point.
fn points(series: &Value) -> Vec<(f64, f64)> {
    rows(series, "points")
        .iter()
        .map(|point| (number(point, "/0"), number(point, "/1")))
        .collect()
}

fn unix_seconds() -> f64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.unwrap().as_secs_f64()
}

#[tokio::test]
async fn the_history_shows_the_growth_of_each_line() {
    let lab = Lab::with(&LAB).start().await;
    for leak in LAB {
        lab.enable(leak).await;
    }
    let started = unix_seconds();
    for _ in 0..5 {
        lab.traffic(40).await;
        tokio::time::sleep(Duration::from_millis(1000)).await;
    }
    // After a pause the last reading is later than the last request.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let history = lab.get("/admin/memory/history").await;
    let now = unix_seconds();

    let window = number(&history, "/window_seconds");
    assert!((3.0..=900.0).contains(&window), "{window}");
    assert!(number(&history, "/resolution_seconds") > 0.0);
    let memory = lab.get("/admin/memory?all=true").await;
    for leak in LAB {
        let of_plugin: Vec<_> = rows(&history, "series")
            .iter()
            .filter(|series| series["plugin"] == json!(leak))
            .collect();
        assert!(of_plugin.len() <= 11, "ten lines and `other`");
        let mut last_total = 0.0;
        for series in &of_plugin {
            let points = points(series);
            assert!(points.len() >= 4, "one point a second: {series}");
            assert!(points.len() <= 300, "{}", points.len());
            assert!(
                points.is_sorted_by(|a, b| a.0 < b.0),
                "points are in the order of time: {points:?}"
            );
            assert!(points[0].0 > started - 5.0, "{points:?} {started}");
            last_total += points.last().unwrap().1;
            assert!(points.last().unwrap().0 <= now + 0.1, "{points:?} {now}");
        }
        assert_eq!(
            last_total,
            number(&memory, &format!("/plugins/{leak}/heap_live_bytes")),
            "{leak}: the sum of the last points"
        );
        let other = of_plugin
            .iter()
            .filter(|series| series["location"] == json!("other"));
        assert_eq!(other.count(), 1, "{leak}");
    }
    let line = rows(&history, "series")
        .iter()
        .find(|series| series["location"] == json!(cache_payload_line()))
        .expect("the leaking line has a series");
    let points = points(line);
    assert!(
        points.is_sorted_by(|a, b| a.1 <= b.1),
        "the line only grows: {points:?}"
    );
    assert!(points.last().unwrap().1 >= 200.0 * 4500.0, "{points:?}");

    let one = lab.get("/admin/memory/history?plugin=cache&limit=1").await;
    let locations: Vec<_> = rows(&one, "series")
        .iter()
        .map(|s| &s["location"])
        .collect();
    assert_eq!(locations, [&json!(cache_payload_line()), &json!("other")]);
}
