//! Metrics of the process, growth and ledger on the page.

use process_memory::process::ProcessReading;

use super::*;
use crate::ledger::{Ledger, LedgerReading};

#[test]
fn growth_of_the_process_has_no_plugin_label() {
    let metrics = metrics();
    let fresh = text(&metrics);
    assert_eq!(
        value(&fresh, "leak_memory_growth_bytes_per_second"),
        Some(0.0)
    );
    assert_eq!(
        value(&fresh, "leak_memory_seconds_to_limit"),
        Some(f64::INFINITY)
    );
    assert!(
        value(&fresh, "leak_memory_bytes_per_request")
            .unwrap()
            .is_nan()
    );
    assert_eq!(value(&fresh, "leak_memory_limit_bytes"), None);

    grows(&metrics, GrowthOf::Process, Some(61_000));
    grows(&metrics, GrowthOf::Plugin("cache"), None);
    let page = text(&metrics);
    assert!((value(&page, "leak_memory_growth_bytes_per_second").unwrap() - 1000.0).abs() < 1e-6);
    assert!((value(&page, "leak_memory_bytes_per_request").unwrap() - 100.0).abs() < 1e-6);
    assert!((value(&page, "leak_memory_seconds_to_limit").unwrap() - 1.0).abs() < 1e-6);
    assert_eq!(value(&page, "leak_memory_limit_bytes"), Some(61_000.0));
    assert!(
        value(
            &page,
            r#"leak_memory_growth_bytes_per_second{plugin="cache"}"#
        )
        .is_some()
    );
    assert_eq!(
        value(&page, r#"leak_memory_seconds_to_limit{plugin="cache"}"#),
        Some(f64::INFINITY)
    );

    grows(&metrics, GrowthOf::Process, None);
    assert_eq!(value(&text(&metrics), "leak_memory_limit_bytes"), None);
}

#[test]
fn the_ledger_adds_up_on_the_page() {
    let metrics = metrics();
    let reading = LedgerReading {
        resident_bytes: 1000,
        plugins_linear_bytes: 5000,
        resident_file_bytes: 300,
        ..Default::default()
    };
    metrics.ledger.update(&Ledger::balance(&reading));
    let page = text(&metrics);
    assert_eq!(
        value(&page, r#"leak_memory_ledger_bytes{part="plugins_linear"}"#),
        Some(700.0)
    );
    assert_eq!(
        value(&page, r#"leak_memory_ledger_bytes{part="unattributed"}"#),
        Some(0.0)
    );
    let sum: f64 = page
        .lines()
        .filter(|line| line.starts_with("leak_memory_ledger_bytes{"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum();
    assert_eq!(sum, 1000.0);
}

#[test]
fn cpu_time_never_falls() {
    let metrics = metrics();
    let reading = |cpu_seconds_total| ProcessReading {
        pid: 1,
        resident_bytes: 10,
        virtual_bytes: 20,
        resident_file_bytes: 5,
        cpu_seconds_total,
        open_fds: 3,
        threads: 2,
        start_time_unix_seconds: 1.5e9,
    };
    metrics.process.update(&reading(2.5));
    metrics.process.update(&reading(2.25));
    let page = text(&metrics);
    for (series, expected) in [
        ("process_cpu_seconds_total", 2.5),
        ("process_resident_memory_bytes", 10.0),
        ("process_virtual_memory_bytes", 20.0),
        ("process_open_fds", 3.0),
        ("process_start_time_seconds", 1.5e9),
    ] {
        assert_eq!(value(&page, series), Some(expected), "{series}");
    }
}
