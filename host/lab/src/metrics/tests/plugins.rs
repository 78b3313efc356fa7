//! Metrics of plugins on the page.

use super::*;

#[test]
fn a_heap_that_is_not_profiled_has_no_series() {
    let metrics = metrics();
    let series = r#"leak_plugin_heap_live_bytes{plugin="cache"}"#;
    let cache = metrics.plugins.for_plugin("cache").unwrap();
    assert_eq!(value(&text(&metrics), series), None);
    cache.set_heap_live(Some(7));
    assert_eq!(value(&text(&metrics), series), Some(7.0));
    cache.set_heap_live(None);
    assert_eq!(value(&text(&metrics), series), None);
    cache.set_heap_live(Some(0));
    assert_eq!(value(&text(&metrics), series), Some(0.0));
}

#[test]
fn a_plugin_has_its_readings_and_counts_on_the_page() {
    let metrics = metrics();
    let cache = metrics.plugins.for_plugin("cache").unwrap();
    cache.set_enabled(true);
    cache.set_active(true);
    cache.set_retained(7, 35_840);
    cache.set_linear_memory(1 << 20, 2 << 20);
    cache.set_heap_live(Some(40_000));
    cache.set_heap_floor(Some(30_000));
    cache.set_heap_growth(Some(131_072), Some(65_536));
    cache.set_attribution(AttributionState::Partial);
    cache.set_memory_limit(4 << 30);
    cache.set_generation(2);
    cache.set_profiler(70_000);
    cache.set_state(PluginState::Exhausted);
    cache.attribution_overflowed(5);
    cache.memory_grew();
    cache.memory_grow_denied();
    cache.trapped(TrapReason::MemoryLimit);
    cache.recycled(RecycleReason::Gc);
    cache.cleared();
    let took = Duration::from_millis(3);
    cache.invoked(InvocationOutcome::Ok, took, Some(5120));
    cache.invoked(InvocationOutcome::Ok, took, Some(-800));
    cache.invoked(InvocationOutcome::Timeout, took, None);
    // Asking again returns the same series.
    metrics
        .plugins
        .for_plugin("cache")
        .unwrap()
        .invoked(InvocationOutcome::Ok, took, Some(10));
    let page = text(&metrics);
    for (series, expected) in [
        (r#"leak_enabled{plugin="cache"}"#, 1.0),
        (r#"leak_active{plugin="cache"}"#, 1.0),
        (r#"leak_retained_objects{plugin="cache"}"#, 7.0),
        (r#"leak_retained_bytes{plugin="cache"}"#, 35_840.0),
        (
            r#"leak_plugin_linear_memory_bytes{plugin="cache"}"#,
            1_048_576.0,
        ),
        (
            r#"leak_plugin_linear_memory_peak_bytes{plugin="cache"}"#,
            2_097_152.0,
        ),
        (r#"leak_plugin_heap_live_bytes{plugin="cache"}"#, 40_000.0),
        (r#"leak_plugin_heap_floor_bytes{plugin="cache"}"#, 30_000.0),
        (r#"leak_plugin_heap_seen_bytes{plugin="cache"}"#, 131_072.0),
        (r#"leak_plugin_heap_unseen_bytes{plugin="cache"}"#, 65_536.0),
        (
            r#"leak_plugin_attribution{plugin="cache",state="exact"}"#,
            0.0,
        ),
        (
            r#"leak_plugin_attribution{plugin="cache",state="partial"}"#,
            1.0,
        ),
        (
            r#"leak_plugin_memory_limit_bytes{plugin="cache"}"#,
            4_294_967_296.0,
        ),
        (r#"leak_plugin_generation{plugin="cache"}"#, 2.0),
        (r#"leak_plugin_profiler_bytes{plugin="cache"}"#, 70_000.0),
        (r#"leak_plugin_state{plugin="cache",state="running"}"#, 0.0),
        (
            r#"leak_plugin_state{plugin="cache",state="exhausted"}"#,
            1.0,
        ),
        (r#"leak_plugin_state{plugin="cache",state="faulted"}"#, 0.0),
        (
            r#"leak_plugin_attribution_overflow_total{plugin="cache"}"#,
            5.0,
        ),
        (r#"leak_plugin_memory_grow_total{plugin="cache"}"#, 1.0),
        (
            r#"leak_plugin_memory_grow_denied_total{plugin="cache"}"#,
            1.0,
        ),
        (
            r#"leak_plugin_traps_total{plugin="cache",reason="memory_limit"}"#,
            1.0,
        ),
        (
            r#"leak_plugin_traps_total{plugin="cache",reason="unreachable"}"#,
            0.0,
        ),
        (
            r#"leak_plugin_recycles_total{plugin="cache",reason="gc"}"#,
            1.0,
        ),
        (r#"leak_plugin_clears_total{plugin="cache"}"#, 1.0),
        (
            r#"leak_plugin_invocations_total{outcome="ok",plugin="cache"}"#,
            3.0,
        ),
        (
            r#"leak_plugin_invocations_total{outcome="timeout",plugin="cache"}"#,
            1.0,
        ),
        (
            r#"leak_plugin_invocations_total{outcome="trap",plugin="cache"}"#,
            0.0,
        ),
        (
            r#"leak_plugin_invocation_duration_seconds_count{outcome="ok",plugin="cache"}"#,
            3.0,
        ),
        (
            r#"leak_plugin_invocation_duration_seconds_count{outcome="timeout",plugin="cache"}"#,
            1.0,
        ),
        (
            r#"leak_plugin_invocation_live_bytes_sum{plugin="cache"}"#,
            5130.0,
        ),
        (
            r#"leak_plugin_invocation_live_bytes_bucket{plugin="cache",le="0"}"#,
            1.0,
        ),
        (
            r#"leak_plugin_invocation_live_bytes_bucket{plugin="cache",le="64"}"#,
            2.0,
        ),
        (
            r#"leak_plugin_invocation_live_bytes_bucket{plugin="cache",le="8192"}"#,
            3.0,
        ),
    ] {
        assert_eq!(value(&page, series), Some(expected), "{series}\n{page}");
    }
}

#[test]
fn an_unloaded_plugin_has_no_series() {
    let metrics = metrics();
    for plugin in ["cache", "history"] {
        let series = metrics.plugins.for_plugin(plugin).unwrap();
        for outcome in InvocationOutcome::ALL {
            series.invoked(outcome, Duration::ZERO, Some(1));
        }
        grows(&metrics, GrowthOf::Plugin(plugin), Some(1 << 30));
    }
    metrics.plugins.set_sites([
        SiteBytes {
            plugin: "cache",
            location: "a.rs:1",
            live_bytes: 1,
        },
        SiteBytes {
            plugin: "history",
            location: "b.rs:1",
            live_bytes: 1,
        },
    ]);
    let count = |page: &str, plugin: &str| page.matches(&format!("plugin=\"{plugin}\"")).count();
    let before = text(&metrics);
    assert!(count(&before, "cache") > 100);
    metrics.plugins.remove_plugin("cache");
    metrics.growth.retain_plugins(|plugin| plugin == "history");
    let after = text(&metrics);
    assert_eq!(count(&after, "cache"), 0, "{after}");
    assert_eq!(count(&after, "history"), count(&before, "history"));
    // Loaded again, it counts from zero.
    metrics.plugins.for_plugin("cache").unwrap();
    assert_eq!(
        value(
            &text(&metrics),
            r#"leak_plugin_invocations_total{outcome="ok",plugin="cache"}"#
        ),
        Some(0.0)
    );
}

#[test]
fn sites_that_leave_the_list_lose_their_series() {
    let metrics = metrics();
    let site = |location, live_bytes| SiteBytes {
        plugin: "cache",
        location,
        live_bytes,
    };
    let series =
        |location| format!(r#"leak_site_live_bytes{{location="{location}",plugin="cache"}}"#);
    metrics
        .plugins
        .set_sites([site("a.rs:1", 10), site("b.rs:2", 20)]);
    metrics
        .plugins
        .set_sites([site("b.rs:2", 21), site("c.rs:3", 30)]);
    let page = text(&metrics);
    assert_eq!(value(&page, &series("a.rs:1")), None);
    assert_eq!(value(&page, &series("b.rs:2")), Some(21.0));
    assert_eq!(value(&page, &series("c.rs:3")), Some(30.0));
    metrics.plugins.set_sites([]);
    assert!(!text(&metrics).contains("leak_site_live_bytes"));
}
