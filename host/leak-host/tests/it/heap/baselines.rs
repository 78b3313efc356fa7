//! Baselines with and without a name: whose they are, how many, and what they outlive.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{payloads_gained, put_baseline, refused, rows};
use crate::lab::{Answer, Lab, number};

#[tokio::test]
async fn two_people_compare_without_disturbing_each_other() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    lab.traffic(10).await;
    let anna = put_baseline(&lab, "anna").await;
    assert_eq!(anna["name"], json!("anna"));
    lab.traffic(50).await;
    put_baseline(&lab, "ben_2").await;
    assert_eq!(
        lab.get("/admin/memory/diff").await["status"],
        json!("baseline_set"),
        "a named baseline is not the one without a name"
    );
    lab.traffic(30).await;

    // Whoever asks, and however often, gets the same.
    for _ in 0..3 {
        let anna = lab.get("/admin/memory/diff?baseline=anna").await;
        assert_eq!(payloads_gained(&anna), 80.0, "{anna}");
        assert_eq!(anna["requests_since_baseline"], json!(80));
        let ben = lab.get("/admin/memory/diff?baseline=ben_2").await;
        assert_eq!(payloads_gained(&ben), 30.0, "{ben}");
    }
    let unnamed = lab.get("/admin/memory/diff").await;
    assert_eq!(payloads_gained(&unnamed), 30.0, "nobody has moved it");
    lab.traffic(5).await;
    let unnamed = lab.get("/admin/memory/diff").await;
    assert_eq!(payloads_gained(&unnamed), 5.0, "each call moves it");
    let anna = lab.get("/admin/memory/diff?baseline=anna").await;
    assert_eq!(payloads_gained(&anna), 85.0, "{anna}");

    // Taken again it starts from now.
    put_baseline(&lab, "anna").await;
    let anna = lab.get("/admin/memory/diff?baseline=anna").await;
    assert_eq!(payloads_gained(&anna), 0.0, "{anna}");
}

#[tokio::test]
async fn baselines_are_listed_and_forgotten() {
    let lab = Lab::with(&["cache"]).start().await;
    let list = lab.get("/admin/memory/baselines").await;
    assert_eq!(list["baselines"], json!([]));
    lab.enable("cache").await;
    lab.traffic(7).await;
    for name in ["b", "a"] {
        put_baseline(&lab, name).await;
    }
    let list = lab.get("/admin/memory/baselines").await;
    let names: Vec<_> = rows(&list, "baselines")
        .iter()
        .map(|b| &b["name"])
        .collect();
    assert_eq!(names, [&json!("a"), &json!("b")]);
    for baseline in rows(&list, "baselines") {
        assert_eq!(baseline["requests"], json!(7), "{baseline}");
        assert!(baseline["taken_at"].as_str().unwrap().ends_with('Z'));
        assert!(number(baseline, "/heap_live_mb") > 0.0, "{baseline}");
    }
    let deleted = Answer::of(lab.request(Method::DELETE, "/admin/memory/baselines/a")).await;
    assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.text);
    let missing = [
        (Method::DELETE, "/admin/memory/baselines/a"),
        (Method::GET, "/admin/memory/diff?baseline=a"),
        (Method::GET, "/admin/memory/flamegraph?baseline=a"),
    ];
    for (method, path) in missing {
        refused(&lab, method, path, 404, "unknown_baseline").await;
    }
    lab.get("/admin/memory/diff?baseline=b").await;

    lab.post("/admin/reset", json!({})).await;
    let list = lab.get("/admin/memory/baselines").await;
    assert_eq!(list["baselines"], json!([]), "all baselines are gone");
    let first = lab.get("/admin/memory/diff").await;
    assert_eq!(first["status"], json!("baseline_set"), "{first}");
}

#[tokio::test]
async fn a_name_is_a_word_and_there_are_32_of_them() {
    let lab = Lab::with(&["cache"]).start().await;
    let long = "a".repeat(41);
    for bad in ["two%20words", "a.b", "a%2Fb", "%C3%A4", &long] {
        let path = format!("/admin/memory/baselines/{bad}");
        refused(&lab, Method::PUT, &path, 422, "invalid_value").await;
    }
    put_baseline(&lab, &"a".repeat(40)).await;
    for n in 1..32 {
        put_baseline(&lab, &format!("n-{n}")).await;
    }
    let more = "/admin/memory/baselines/one-more";
    refused(&lab, Method::PUT, more, 429, "too_many_baselines").await;
    let list = lab.get("/admin/memory/baselines").await;
    assert_eq!(rows(&list, "baselines").len(), 32, "nothing has changed");
    put_baseline(&lab, "n-1").await;
    Answer::of(lab.request(Method::DELETE, "/admin/memory/baselines/n-1")).await;
    put_baseline(&lab, "one-more").await;
}

#[tokio::test]
async fn a_baseline_outlives_the_instance_it_was_taken_from() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    lab.traffic(100).await;
    put_baseline(&lab, "before").await;
    lab.get("/admin/memory/diff").await;

    lab.post("/admin/leaks/cache/reset", json!({})).await;
    assert_eq!(lab.leak("cache").await["enabled"], json!(true));
    lab.traffic(40).await;
    for path in ["/admin/memory/diff?baseline=before", "/admin/memory/diff"] {
        let diff = lab.get(path).await;
        assert_eq!(payloads_gained(&diff), 40.0 - 100.0, "{path}: {diff}");
        assert_eq!(diff["plugins"]["cache"]["restarted"], json!(true));
        assert_eq!(
            number(&diff, "/total_growth_bytes"),
            number(&diff, "/plugins/cache/heap_live_diff_bytes"),
            "{diff}"
        );
    }

    // Once more by way of an empty plugin that is given back.
    lab.post("/admin/leaks/clear", json!({})).await;
    let collected = lab.post("/admin/gc", json!({})).await;
    assert_eq!(collected["gc_results"][0]["recycled"], json!(true));
    lab.traffic(120).await;
    let diff = lab.get("/admin/memory/diff?baseline=before").await;
    assert_eq!(payloads_gained(&diff), 20.0, "{diff}");
    let diff = lab.get("/admin/memory/diff").await;
    assert_eq!(payloads_gained(&diff), 80.0, "{diff}");
}
