//! Every alert has a page that says what to do, and links to it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use xtask_support::layout::COMPOSE;

/// The folder of the pages.
const PAGES: &str = "docs/alerts";

/// The pages of rules with short windows are those of the rules with long ones.
const LAB_SUFFIX: &str = "Lab";

/// Compares the rules with the pages.
///
/// # Errors
/// All differences together.
pub(super) fn check(root: &Path) -> Result<String> {
    let mut wrong = Vec::new();
    let mut expected = BTreeSet::new();
    let mut alerts = 0;
    for file in super::files(&root.join(COMPOSE).join("prometheus/rules"), "yml")? {
        let rules = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        for (alert, text) in alerts_of(&rules) {
            alerts += 1;
            let page = alert.strip_suffix(LAB_SUFFIX).unwrap_or(alert);
            let link = format!("runbook_url: {PAGES}/{page}.md");
            if !text.lines().any(|line| line.trim() == link) {
                wrong.push(format!("{alert} has no line {link:?}"));
            }
            if !text.contains("console_url: ") {
                wrong.push(format!("{alert} has no console_url"));
            }
            expected.insert(format!("{page}.md"));
        }
    }
    let mut found = BTreeSet::new();
    for page in super::files(&root.join(PAGES), "md")? {
        let name = page.file_name().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(&page)?;
        for heading in ["## What it means", "## What to do"] {
            if !text.contains(heading) {
                wrong.push(format!("{name} has no {heading:?}"));
            }
        }
        found.insert(name.into_owned());
    }
    for page in expected.symmetric_difference(&found) {
        wrong.push(format!("{PAGES}/{page}: a page and a rule each"));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(format!("{alerts} alerts, {} pages", found.len()))
}

/// The name and the text of each alert in a file of rules.
fn alerts_of(rules: &str) -> Vec<(&str, &str)> {
    let parts = rules.split("- alert: ").skip(1);
    let named = parts.filter_map(|part| Some((part.lines().next()?.trim(), part)));
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_found_with_their_text() {
        let rules =
            "rules:\n  - record: a\n    expr: b\n  - alert: One\n    expr: c\n  - alert: Two\n";
        let found = alerts_of(rules);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0, "One");
        assert!(found[0].1.contains("expr: c") && !found[0].1.contains("Two"));
    }

    #[test]
    fn every_alert_of_this_checkout_has_its_page() {
        let workspace = xtask_support::workspace::Workspace::find().unwrap();
        check(workspace.root()).unwrap();
    }
}
