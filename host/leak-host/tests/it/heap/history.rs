//! Live bytes by line over time, from the host's own readings.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{cache_payload_line, rows};
use crate::components::LAB;
use crate::lab::{Lab, number};

fn points(series: &Value) -> Vec<(f64, f64)> {
    rows(series, "points")
        .iter()
        .map(|point| (number(point, "/0"), number(point, "/1")))
        .collect()
}

#[tokio::test]
async fn history_shows_how_each_line_grew() {
    let lab = Lab::with(&LAB).start().await;
    for leak in LAB {
        lab.enable(leak).await;
    }
    let started = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    for _ in 0..5 {
        lab.traffic(40).await;
        tokio::time::sleep(Duration::from_millis(1000)).await;
    }
    // The last reading is one of a lab that rests.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let history = lab.get("/admin/memory/history").await;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();

    let window = number(&history, "/window_seconds");
    assert!((3.0..=900.0).contains(&window), "{window}");
    assert!(number(&history, "/resolution_seconds") > 0.0);
    let memory = lab.get("/admin/memory").await;
    for leak in LAB {
        let of_plugin: Vec<_> = rows(&history, "series")
            .iter()
            .filter(|series| series["plugin"] == json!(leak))
            .collect();
        assert!(of_plugin.len() <= 11, "ten lines and the others");
        let mut last = 0.0;
        for series in &of_plugin {
            let points = points(series);
            assert!(points.len() >= 4, "one a second: {series}");
            assert!(points.len() <= 300, "{}", points.len());
            assert!(
                points.is_sorted_by(|a, b| a.0 < b.0),
                "time goes on: {points:?}"
            );
            assert!(points[0].0 > started - 5.0, "{points:?} {started}");
            last += points.last().unwrap().1;
            assert!(points.last().unwrap().0 <= now + 0.1, "{points:?} {now}");
        }
        assert_eq!(
            last,
            number(&memory, &format!("/plugins/{leak}/heap_live_bytes")),
            "{leak}: the last points are all that is live"
        );
        let others = of_plugin
            .iter()
            .filter(|series| series["location"] == json!("other"));
        assert_eq!(others.count(), 1, "{leak}");
    }
    let line = rows(&history, "series")
        .iter()
        .find(|series| series["location"] == json!(cache_payload_line()))
        .expect("the line that leaks has a series");
    let points = points(line);
    assert!(
        points.is_sorted_by(|a, b| a.1 <= b.1),
        "it only grows: {points:?}"
    );
    assert!(points.last().unwrap().1 >= 200.0 * 4500.0, "{points:?}");

    let one = lab.get("/admin/memory/history?plugin=cache&limit=1").await;
    let locations: Vec<_> = rows(&one, "series")
        .iter()
        .map(|s| &s["location"])
        .collect();
    assert_eq!(locations, [&json!(cache_payload_line()), &json!("other")]);
}
