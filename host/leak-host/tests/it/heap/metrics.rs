//! The heap profile in the metrics.

use std::time::Duration;

use super::{ALL_LINES, at, cache_payload_line, rows};
use crate::components::LAB;
use crate::lab::{Lab, number};
use crate::metrics::scrape::Scrape;

#[tokio::test]
async fn heap_metrics_equal_the_answers_of_the_api() {
    let lab = Lab::with(&LAB).start().await;
    for leak in ["cache", "history"] {
        lab.enable(leak).await;
    }
    // The first reading of the history is from before the first leak.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before = lab.get("/admin/memory?all=true").await;
    lab.traffic(300).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let memory = lab.get("/admin/memory?all=true").await;
    let snapshot = lab.get(ALL_LINES).await;
    let scrape = Scrape::of(&lab).await;

    for leak in LAB {
        let of = |metric: &str| scrape.sum(metric, &[("plugin", leak)]);
        let plugin = &memory["plugins"][leak];
        let live = number(plugin, "/heap_live_bytes");
        assert_eq!(of("leak_plugin_heap_live_bytes"), live, "{leak}");
        assert_eq!(of("leak_plugin_heap_floor_bytes"), live, "{leak}");
        assert_eq!(
            of("leak_plugin_profiler_bytes"),
            number(plugin, "/profiler_bytes"),
            "{leak}"
        );
        assert!(of("leak_plugin_profiler_bytes") > 0.0);
        assert_eq!(of("leak_plugin_attribution_overflow_total"), 0.0, "{leak}");
        // The live bytes that the single calls left behind add up to the growth.
        let calls = if leak == "listeners" { 0.0 } else { 300.0 };
        assert_eq!(
            of("leak_plugin_invocation_live_bytes_count"),
            calls,
            "{leak}"
        );
        let grown = live - number(&before, &format!("/plugins/{leak}/heap_live_bytes"));
        assert_eq!(of("leak_plugin_invocation_live_bytes_sum"), grown, "{leak}");
    }
    assert_eq!(
        scrape.types["leak_plugin_invocation_live_bytes"],
        "histogram"
    );

    let sites: Vec<_> = scrape.of_metric("leak_site_live_bytes").collect();
    assert!((1..=20).contains(&sites.len()), "{}", sites.len());
    for (labels, value) in &sites {
        let keys: Vec<_> = labels.keys().map(String::as_str).collect();
        assert_eq!(keys, ["location", "plugin"]);
        let of_plugin: Vec<_> = rows(&snapshot, "by_line")
            .iter()
            .filter(|row| row["plugin"].as_str() == Some(&labels["plugin"]))
            .cloned()
            .collect();
        let row = at(&of_plugin, &labels["location"]).unwrap_or_else(|| panic!("{labels:?}"));
        assert_eq!(*value, number(row, "/size_bytes"), "{labels:?}");
    }
    let line = cache_payload_line();
    assert!(
        sites.iter().any(|(labels, _)| labels["location"] == line),
        "{sites:?}"
    );
}
