//! Every expression of the dashboard and of the rules, after all scenes.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, ensure};

use super::super::dashboard::{Dashboard, Question};
use super::super::queries::{Answer, Prometheus};
use super::super::report::Report;
use super::Stage;
use crate::workspace::Workspace;

/// What does not occur in minutes: rules with production windows, for which promtool has made the hours. Of these each
/// series they read must be there; everything else must return data.
const RARE: [&str; 6] = [
    "alert Fragmentation",
    "alert LeakSuspect",
    "alert LeakConfirmed",
    "alert TimeToLimit",
    "rule plugin:leak_plugin_heap_live_bytes:rise20m",
    "rule plugin:leak_plugin_heap_live_bytes:steady_growth40m",
];

/// Asks them all, if all that they ask about has happened.
pub(super) fn ask(
    workspace: &Workspace,
    stage: &Stage<'_>,
    every_scene: bool,
    report: &mut Report,
) {
    println!("\nevery question of the dashboard and the rules");
    let why = match (&stage.prometheus, &stage.k6) {
        (None, _) => "there is no Prometheus",
        (_, None) => "there is no k6, so not everything has happened that they ask about",
        _ if !every_scene => "they ask about what happens in the parts that are left out",
        (Some(prometheus), Some(_)) => return ask_of(prometheus, workspace, report),
    };
    report.skip("questions of dashboard and rules", &anyhow!(why));
}

fn ask_of(prometheus: &Prometheus, workspace: &Workspace, report: &mut Report) {
    report.check("dashboard", || {
        let file = workspace
            .root()
            .join("grafana/dashboards/memory-leak-lab.json");
        ask_all(
            prometheus,
            &Dashboard::read(&file)?.questions()?,
            &BTreeSet::new(),
        )
    });
    report.check("rules", || {
        let rules = prometheus.rules()?;
        let recorded = rules
            .iter()
            .filter_map(|rule| rule.asker.strip_prefix("rule "));
        let recorded = recorded.map(str::to_owned).collect();
        ask_all(prometheus, &rules, &recorded)
    });
}

fn ask_all(
    prometheus: &Prometheus,
    questions: &[Question],
    recorded: &BTreeSet<String>,
) -> Result<String> {
    let mut wrong = Vec::new();
    let mut rare = Vec::new();
    for question in questions {
        match prometheus.ask(question, recorded) {
            Ok(Answer::Data) => {}
            Ok(Answer::NoOccurrence) if RARE.contains(&question.asker.as_str()) => {
                rare.push(question.asker.as_str());
            }
            Ok(Answer::NoOccurrence) => {
                wrong.push(format!(
                    "{} returns nothing: {}",
                    question.asker, question.expression
                ));
            }
            Err(error) => wrong.push(format!("{}: {error:#}", question.asker)),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n          "));
    let data = questions.len() - rare.len();
    if rare.is_empty() {
        return Ok(format!("{data} return data"));
    }
    Ok(format!(
        "{data} return data; {} did not occur, and every series they read is there: {}",
        rare.len(),
        rare.join(", ")
    ))
}
