//! The canary takes its share of the replicas, and gives it back.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::chart::{Chart, at, find};

/// Replicas, percent, and the replicas of the canary.
const SHARES: [(u64, u64, u64); 8] = [
    (5, 20, 1),
    (10, 20, 2),
    (10, 25, 3),
    (5, 1, 1),
    (2, 99, 1),
    (5, 99, 4),
    (100, 33, 33),
    (3, 50, 2),
];

/// Renders each share, and the chart without a canary.
///
/// # Errors
/// When an object is not as it should be.
pub(crate) fn check(chart: &Chart) -> Result<String> {
    for (replicas, percent, expected) in SHARES {
        let replicas_value = format!("replicas={replicas}");
        let canary = format!(
            r#"canary={{"enabled":true,"percent":{percent},"revision":"0.2.0","enable":["cache"],"env":{{"A":"canary"}},"image":{{"tag":"two"}}}}"#
        );
        let values = [
            replicas_value.as_str(),
            canary.as_str(),
            r#"env={"A":"stable","B":"both"}"#,
        ];
        let objects = chart.objects(&values)?;
        let stable = find(&objects, "Deployment", "leak-lab")?;
        let canary = find(&objects, "Deployment", "leak-lab-canary")?;
        let seen = (at(stable, "/spec/replicas"), at(canary, "/spec/replicas"));
        ensure!(
            seen == (&(replicas - expected).into(), &expected.into()),
            "{percent} % of {replicas}: {seen:?}"
        );
        for (deployment, revision, image, a) in [
            (stable, "0.1.0", ":0.1.0", "stable"),
            (canary, "0.2.0", ":two", "canary"),
        ] {
            let pod = at(deployment, "/spec/template");
            ensure!(*at(pod, "/metadata/labels/revision") == revision, "{pod}");
            let container = at(pod, "/spec/containers/0");
            let name = at(container, "/image").as_str().unwrap_or_default();
            ensure!(name.ends_with(image), "{name}");
            ensure!(variable(container, "A")? == a, "{container}");
            ensure!(variable(container, "B")? == "both", "{container}");
            let labels = format!("revision={revision},pod=$(POD_NAME),node=$(NODE_NAME)");
            ensure!(variable(container, "LEAK_LABELS")? == labels, "{container}");
            let leaks = at(container, "/args")
                .to_string()
                .contains("--enable=cache");
            ensure!(leaks == (revision == "0.2.0"), "{container}");
        }
        // Otherwise each Deployment would count the other's pods as its own.
        let selector = |deployment: &Value| at(deployment, "/spec/selector").clone();
        ensure!(
            selector(stable) != selector(canary),
            "one selector for both"
        );
    }
    let without = chart.objects(&[])?;
    let stable = find(&without, "Deployment", "leak-lab")?;
    ensure!(*at(stable, "/spec/replicas") == 5, "{stable}");
    ensure!(find(&without, "Deployment", "leak-lab-canary").is_err());
    Ok(format!("{} shares", SHARES.len()))
}

fn variable<'a>(container: &'a Value, name: &str) -> Result<&'a str> {
    at(container, "/env")
        .as_array()
        .into_iter()
        .flatten()
        .find(|variable| *at(variable, "/name") == name)
        .and_then(|variable| at(variable, "/value").as_str())
        .with_context(|| format!("{name} is not set"))
}
