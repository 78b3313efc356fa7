//! Exercise 4, step by step, and the sums of its numbers.

use serde_json::json;

use super::{ALL_LINES, at, cache_payload_line, rows, sum};
use crate::components::LAB;
use crate::lab::{Lab, MIB, assert_close, number};

/// The default `payload_bytes` of the cache.
const PAYLOAD_BYTES: f64 = 5.0 * 1024.0;

#[tokio::test]
async fn exercise_4_the_diff_points_at_the_line_that_leaks() {
    let lab = Lab::with(&LAB).start().await;
    lab.enable("cache").await;
    lab.traffic(100).await;

    let first = lab.get("/admin/memory/diff").await;
    assert_eq!(first["status"], json!("baseline_set"), "{first}");
    assert!(!first["message"].as_str().unwrap().is_empty());
    assert!(
        number(&first, "/baseline_size_mb") > 100.0 * 0.9 * PAYLOAD_BYTES / MIB,
        "{first}"
    );

    lab.traffic(200).await;
    let diff = lab.get("/admin/memory/diff").await;
    assert_eq!(diff["status"], json!("diff_computed"), "{diff}");
    let growing = rows(&diff, "growing_allocations");
    let top = &growing[0];
    assert_eq!(top["location"], json!(cache_payload_line()), "{diff}");
    assert_eq!(top["plugin"], json!("cache"));
    let function = top["function"].as_str().unwrap();
    assert!(function.contains("on_request"), "{function}");
    assert_eq!(top["count_diff"], json!(200), "{top}");
    let grown = number(top, "/size_diff_kb") * 1024.0;
    assert_close("growth of the top line", grown, 200.0 * PAYLOAD_BYTES, 0.05);
    assert_close(
        "size of the top line",
        number(top, "/current_size_kb") * 1024.0,
        300.0 * PAYLOAD_BYTES,
        0.05,
    );
    let sizes: Vec<_> = growing
        .iter()
        .map(|row| number(row, "/size_diff_bytes"))
        .collect();
    assert!(
        sizes.is_sorted_by(|a, b| a >= b),
        "largest first: {sizes:?}"
    );

    assert_eq!(diff["requests_since_baseline"], json!(200), "{diff}");
    let total = number(&diff, "/total_growth_bytes");
    assert_eq!(number(&diff, "/bytes_per_request"), total / 200.0, "{diff}");
    assert_close("per request", total / 200.0, PAYLOAD_BYTES, 0.10);
    let cache = &diff["plugins"]["cache"];
    assert_eq!(cache["requests"], json!(200), "{cache}");
    assert_eq!(cache["retained_objects_diff"], json!(200), "{cache}");
    assert_eq!(number(cache, "/heap_live_diff_bytes"), total, "{diff}");
    assert!(number(cache, "/linear_memory_diff_mb") >= total / MIB - 1.0);
    for idle in ["history", "listeners"] {
        assert_eq!(
            number(&diff["plugins"][idle], "/heap_live_diff_bytes"),
            0.0,
            "{idle} is disabled"
        );
    }

    // The second diff is the baseline of the third, and there was no request since.
    let third = lab.get("/admin/memory/diff").await;
    assert_eq!(third["growing_allocations"], json!([]), "{third}");
    assert_eq!(third["shrinking_allocations"], json!([]), "{third}");
    assert_eq!(number(&third, "/total_growth_bytes"), 0.0);
    assert!(third["bytes_per_request"].is_null(), "no requests: {third}");
}

#[tokio::test]
async fn exercise_4_the_snapshot_names_the_largest_lines() {
    let lab = Lab::with(&LAB).start().await;
    lab.enable("cache").await;
    lab.traffic(200).await;
    let snapshot = lab.get("/admin/memory/snapshot").await;

    let by_line = rows(&snapshot, "by_line");
    assert!(by_line.len() <= 20, "{}", by_line.len());
    assert_eq!(by_line[0]["location"], json!(cache_payload_line()));
    assert_eq!(by_line[0]["count"], json!(200));
    assert_eq!(by_line[0]["plugin"], json!("cache"));
    assert_close(
        "by_line",
        number(&by_line[0], "/size_mb"),
        200.0 * PAYLOAD_BYTES / MIB,
        0.05,
    );
    let by_file = rows(&snapshot, "by_file");
    assert!(by_file.len() <= 15, "{}", by_file.len());
    assert_eq!(by_file[0]["filename"], json!("plugins/cache/src/lib.rs"));
    assert!(number(&by_file[0], "/size_mb") >= number(&by_line[0], "/size_mb"));
    for list in [by_line, by_file] {
        let sizes: Vec<_> = list.iter().map(|row| number(row, "/size_bytes")).collect();
        assert!(
            sizes.is_sorted_by(|a, b| a >= b),
            "largest first: {sizes:?}"
        );
    }
    let total = number(&snapshot, "/total_traced_mb");
    assert!(number(&snapshot, "/peak_traced_mb") >= total);
    assert!(!snapshot["tip"].as_str().unwrap().is_empty());
    assert!(snapshot["timestamp"].as_str().unwrap().ends_with('Z'));

    let top = lab.get("/admin/memory?all=true").await["heap"].clone();
    assert_eq!(top["attribution"], json!("exact"), "{top}");
    let rows = rows(&top, "top_allocations");
    assert!(rows.len() <= 10);
    let first = at(rows, &cache_payload_line()).expect("the leaking line is listed");
    assert_eq!(first, &rows[0], "the leaking line is the largest");
    assert_eq!(first["count"], json!(200));
}

#[tokio::test]
async fn every_view_has_the_same_total() {
    let lab = Lab::with(&LAB).start().await;
    for leak in LAB {
        lab.enable(leak).await;
    }
    lab.traffic(1000).await;

    let snapshot = lab.get(ALL_LINES).await;
    let total = number(&snapshot, "/total_traced_bytes");
    let memory = lab.get("/admin/memory?all=true").await;
    let live: f64 = LAB
        .iter()
        .map(|leak| number(&memory, &format!("/plugins/{leak}/heap_live_bytes")))
        .sum();
    assert_eq!(total, live, "live bytes of all plugins");
    assert_eq!(total, number(&memory, "/heap/current_bytes"));
    let objects: f64 = LAB
        .iter()
        .map(|leak| number(&snapshot, &format!("/plugins/{leak}/objects")))
        .sum();
    for by in ["line", "function", "file", "trace"] {
        let snapshot = lab.get(&format!("{ALL_LINES}&group_by={by}")).await;
        let groups = rows(&snapshot, "by_line");
        assert_eq!(sum(groups, "size_bytes"), total, "by {by}");
        assert_eq!(sum(groups, "count"), objects, "by {by}");
    }
    for leak in LAB {
        let of_plugin = lab.get(&format!("{ALL_LINES}&plugin={leak}")).await;
        let plugin = &of_plugin["plugins"][leak];
        assert_eq!(
            sum(rows(&of_plugin, "by_line"), "size_bytes"),
            number(plugin, "/heap_live_bytes"),
            "{leak}"
        );
        assert_eq!(
            (&plugin["lost"], &plugin["overflowed"]),
            (&json!(0), &json!(0))
        );

        // Three measures of the same memory: the bytes that the pattern counts, the bytes that its
        // allocator has allocated, and the linear memory that contains them.
        let memory = &memory["plugins"][leak];
        let live = number(memory, "/heap_live_bytes");
        assert_close(leak, live, number(memory, "/retained_bytes"), 0.01);
        let linear = number(memory, "/linear_memory_bytes");
        assert!(linear > live, "{leak}: {memory}");
        assert_eq!(number(memory, "/heap_free_bytes"), linear - live, "{leak}");
    }
}
