//! The diffs of many hosts, added up by source line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What one line has grown by on all hosts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LineTotal {
    /// `plugins/cache/src/lib.rs:42`.
    pub location: String,
    /// The plugin.
    pub plugin: String,
    /// The function of the line.
    pub function: String,
    /// Change of the live bytes, of all hosts together.
    pub size_diff_bytes: i64,
    /// Change of the live objects.
    pub count_diff: i64,
    /// Live bytes now.
    pub current_size_bytes: u64,
    /// The hosts on which the line has changed.
    pub hosts: usize,
    /// The host on which it has changed most, and by how much.
    pub most: (String, i64),
}

/// A row of the diff of one host.
#[derive(Debug, Deserialize)]
struct Row {
    location: String,
    plugin: String,
    #[serde(default)]
    function: String,
    size_diff_bytes: i64,
    #[serde(default)]
    count_diff: i64,
    #[serde(default)]
    current_size_bytes: u64,
}

/// Adds up the answers of `GET /admin/memory/diff`, each with the name of its host. Lines are
/// ordered by what they have grown by, largest growth first.
#[must_use]
pub fn add_up<'a>(diffs: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Vec<LineTotal> {
    let mut lines: BTreeMap<(String, String), LineTotal> = BTreeMap::new();
    for (host, diff) in diffs {
        for row in rows_in(diff) {
            let key = (row.plugin.clone(), row.location.clone());
            let line = lines.entry(key).or_insert_with(|| LineTotal {
                location: row.location,
                plugin: row.plugin,
                function: row.function,
                size_diff_bytes: 0,
                count_diff: 0,
                current_size_bytes: 0,
                hosts: 0,
                most: (String::new(), 0),
            });
            line.size_diff_bytes = line.size_diff_bytes.saturating_add(row.size_diff_bytes);
            line.count_diff = line.count_diff.saturating_add(row.count_diff);
            line.current_size_bytes = line
                .current_size_bytes
                .saturating_add(row.current_size_bytes);
            line.hosts += 1;
            if row.size_diff_bytes.unsigned_abs() > line.most.1.unsigned_abs() {
                line.most = (host.to_owned(), row.size_diff_bytes);
            }
        }
    }
    let mut lines: Vec<_> = lines.into_values().collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.size_diff_bytes));
    lines
}

fn rows_in(diff: &Value) -> Vec<Row> {
    let lists = ["growing_allocations", "shrinking_allocations"];
    let rows = lists.iter().filter_map(|list| diff.get(list)?.as_array());
    rows.flatten()
        .filter_map(|row| Row::deserialize(row).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_added_up_over_the_hosts_on_which_it_changed() {
        let row = |line: u32, bytes: i64| {
            json!({"location": format!("lib.rs:{line}"), "plugin": "cache", "function": "keep",
                   "size_diff_bytes": bytes, "count_diff": 1, "current_size_bytes": 100})
        };
        let a =
            json!({"growing_allocations": [row(1, 300), row(2, 10)], "shrinking_allocations": []});
        let b =
            json!({"growing_allocations": [row(2, 500)], "shrinking_allocations": [row(1, -100)]});
        let not_a_diff = json!({"status": "baseline_set"});
        let lines = add_up([("a", &a), ("b", &b), ("c", &not_a_diff)]);
        let read = lines.iter().map(|line| {
            let most = (line.most.0.as_str(), line.most.1);
            (
                line.location.as_str(),
                line.size_diff_bytes,
                line.hosts,
                most,
            )
        });
        let expected = [
            ("lib.rs:2", 510, 2, ("b", 500)),
            ("lib.rs:1", 200, 2, ("a", 300)),
        ];
        assert_eq!(read.collect::<Vec<_>>(), expected);
        assert_eq!(lines[0].count_diff, 2);
        assert_eq!(lines[0].current_size_bytes, 200);
    }
}
