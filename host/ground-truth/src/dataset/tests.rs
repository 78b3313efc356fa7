use std::fs::File;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;

use super::*;
use crate::load_shape::Load;
use crate::plan::{Inactive, PluginPlan};
use crate::scrape::{PluginScrape, Scrape, State};

fn plan() -> Plan {
    let plugin = |name: &str, active| PluginPlan {
        plugin: name.to_owned(),
        settings: Vec::new(),
        inactive: Inactive::Fixed,
        active,
    };
    Plan {
        plugins: vec![
            plugin("cache", vec![(5, 100)]),
            plugin("sawtooth", Vec::new()),
        ],
        load: Load {
            shape: LoadShape::Steady,
            requests_per_second: 1.0,
            day_seconds: 86_400,
        },
        seconds: 10,
        scrape_seconds: 5,
    }
}

fn scrape(live_bytes: u64) -> Scrape {
    let plugin = PluginScrape {
        live_bytes,
        floor_bytes: 1,
        linear_bytes: 65_536,
        retained_bytes: 3,
        retained_objects: 4,
        calls: 5,
        failed_calls: 0,
        state: State::Running,
        enabled: true,
        limit_bytes: 1 << 32,
    };
    Scrape {
        resident_bytes: 31 << 20,
        started_seconds: 0,
        requests: 9,
        plugins: vec![plugin, plugin],
    }
}

/// Three scrapes; the second finds no process.
fn columns() -> Columns {
    let mut columns = Columns::new(&plan());
    columns.push(0, Some(&scrape(100)));
    columns.push(5, None);
    columns.push(10, Some(&scrape(7000)));
    columns
}

#[test]
fn openmetrics_has_each_metric_once_with_timestamps_and_an_end() {
    let mut out = Vec::new();
    openmetrics::write(&columns(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(
        text.matches("# TYPE leak_plugin_heap_live_bytes gauge")
            .count(),
        1
    );
    assert_eq!(text.matches("# TYPE http_requests counter").count(), 1);
    let live: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("leak_plugin_heap_live_bytes{"))
        .filter(|line| line.contains(r#"plugin="cache""#))
        .collect();
    let labels =
        r#"leak_plugin_heap_live_bytes{job="leaky-service",instance="lab",plugin="cache"}"#;
    let expected = [
        format!("{labels} 100 {START_SECONDS}"),
        format!("{labels} 7000 {}", START_SECONDS + 10),
    ];
    assert_eq!(live, expected);
    let up = format!(
        r#"up{{job="leaky-service",instance="lab"}} 0 {}"#,
        START_SECONDS + 5
    );
    assert!(text.contains(&up), "{text}");
}

#[test]
fn tables_have_a_null_where_no_process_answered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plugins.parquet");
    let leaking = [vec![(5, 100)], Vec::new()];
    table::write_plugins(&columns(), &plan(), &leaking, &file).unwrap();
    let reader = SerializedFileReader::new(File::open(&file).unwrap()).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr();
    let column = |name: &str| {
        (0..)
            .find(|index| schema.column(*index).name() == name)
            .unwrap()
    };
    let (live, leaking) = (column("leak_plugin_heap_live_bytes"), column("leaking"));
    let rows: Vec<_> = reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows.len(), 6);
    let start = i64::try_from(START_SECONDS * 1000).unwrap();
    assert_eq!(rows[0].get_timestamp_millis(0).unwrap(), start);
    assert_eq!(rows[0].get_string(1).unwrap(), "cache");
    assert_eq!(rows[3].get_string(1).unwrap(), "sawtooth");
    assert_eq!(rows[2].get_long(live).unwrap(), 7000);
    assert!(rows[1].get_long(live).is_err(), "a null");
    let flags: Vec<bool> = rows
        .iter()
        .map(|row| row.get_bool(leaking).unwrap())
        .collect();
    assert_eq!(flags, [false, true, true, false, false, false]);

    let file = folder.path().join("process.parquet");
    table::write_process(&columns(), &[vec![(5, 100)], Vec::new()], &file).unwrap();
    let reader = SerializedFileReader::new(File::open(&file).unwrap()).unwrap();
    let rows: Vec<_> = reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let up: Vec<i64> = rows.iter().map(|row| row.get_long(1).unwrap()).collect();
    assert_eq!(up, [1, 0, 1]);
}
