//! The queries of the dashboard and of the rules, after all scenarios.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use xtask_support::layout::{DASHBOARD, FLEET_DASHBOARD};
use xtask_support::report::Report;
use xtask_support::workspace::Workspace;

use super::TestBed;
use crate::dashboard::{Dashboard, Query};
use crate::prometheus::{Prometheus, QueryResult};

/// Rules with long windows, whose condition does not occur in a test of minutes; promtool
/// simulates the hours. The series that they read must exist. Every other query must return data.
const RARE: [&str; 21] = [
    "alert Fragmentation",
    "alert LeakSuspect",
    "alert LeakConfirmed",
    "alert TimeToLimit",
    "rule plugin:leak_plugin_heap_live_bytes:rise20m",
    "rule plugin:leak_plugin_heap_live_bytes:steady_growth40m",
    // The test has one host, so there is no second revision.
    "alert LeakInRevision",
    "alert LeakInRevisionLab",
    "rule revision:leak_plugin_growing_instances:count",
    "rule revision:leak_plugin_serving_instances:count",
    "rule revision:leak_plugin_serving_instances:count_lab",
    "panel «Shortest time to the limit»",
    // No leak of the test grows for 450 s without an end.
    "rule plugin:leak_plugin_heap_live_bytes:steady_growth450s",
    // No plugin of the test doubles its memory three times.
    "rule plugin:leak_memory_step_interval_seconds:before",
    "rule plugin:leak_memory_step_interval_seconds:before_lab",
    "rule plugin:leak_memory_step_interval_seconds:last",
    "rule plugin:leak_memory_step_interval_seconds:last_lab",
    "rule plugin:leak_memory_step_seconds:fatal",
    "rule plugin:leak_memory_step_seconds:fatal_lab",
    "rule plugin:leak_memory_step_seconds:next",
    "rule plugin:leak_memory_step_seconds:next_lab",
];

/// Runs all queries, if every event that they show has happened.
pub(super) fn run(
    workspace: &Workspace,
    bed: &TestBed<'_>,
    every_scenario: bool,
    report: &mut Report,
) {
    println!("\nthe queries of the dashboard and the rules");
    let reason = match (&bed.prometheus, &bed.k6) {
        (None, _) => "there is no Prometheus",
        (_, None) => "there is no k6, so the events that they show did not happen",
        _ if !every_scenario => "they show events of parts that were left out",
        (Some(prometheus), Some(_)) => return run_against(prometheus, workspace, report),
    };
    report.skip("queries of dashboard and rules", reason);
}

fn run_against(prometheus: &Prometheus, workspace: &Workspace, report: &mut Report) {
    report.check("dashboard", || {
        let dashboard = Dashboard::read(&workspace.root().join(DASHBOARD))?;
        run_all(prometheus, &dashboard.queries()?, &BTreeSet::new())
    });
    report.check("dashboard of all hosts", || {
        let dashboard = Dashboard::read(&workspace.root().join(FLEET_DASHBOARD))?;
        run_all(prometheus, &dashboard.queries()?, &BTreeSet::new())
    });
    report.check("rules", || {
        let rules = prometheus.rules()?;
        let recorded = rules
            .iter()
            .filter_map(|rule| rule.origin.strip_prefix("rule "));
        let recorded = recorded.map(str::to_owned).collect();
        run_all(prometheus, &rules, &recorded)
    });
}

fn run_all(
    prometheus: &Prometheus,
    queries: &[Query],
    recorded: &BTreeSet<String>,
) -> Result<String> {
    let mut wrong = Vec::new();
    let mut rare = Vec::new();
    for query in queries {
        match prometheus.run(query, recorded) {
            Ok(QueryResult::Data) => {}
            Ok(QueryResult::NoOccurrence) if RARE.contains(&query.origin.as_str()) => {
                rare.push(query.origin.as_str());
            }
            Ok(QueryResult::NoOccurrence) => {
                wrong.push(format!(
                    "{} returns nothing: {}",
                    query.origin, query.expression
                ));
            }
            Err(error) => wrong.push(format!("{}: {error:#}", query.origin)),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n          "));
    let data = queries.len() - rare.len();
    if rare.is_empty() {
        return Ok(format!("{data} return data"));
    }
    Ok(format!(
        "{data} return data; {} did not occur, and every series they read exists: {}",
        rare.len(),
        rare.join(", ")
    ))
}
