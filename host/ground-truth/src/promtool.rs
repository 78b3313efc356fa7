//! Alert rules, evaluated by Prometheus's own code in simulated time.
//!
//! `promtool test rules` evaluates rule groups over given series at simulated times, with `for`,
//! `keep_firing_for` and recording rules, and without waiting. Prometheus itself evaluates alert
//! rules only at the present time: it would read blocks of the past, but never alert on them.
//!
//! promtool only compares, so each query expects nothing and promtool prints what it got instead.
//! It prints values with two digits and labels in full. So each query packs the states of
//! [`STEPS_PER_QUERY`] evaluations into the bits of one number, and makes that number a label.

mod label_set;
mod test_file;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::recording::Recording;
use crate::score::Firing;

use self::label_set::label_sets;
use self::test_file::{BITS, WINDOW};

/// Evaluations whose states one query returns: a float holds whole numbers up to 2^53.
const STEPS_PER_QUERY: u64 = 50;

/// How to get promtool.
const HOW_TO_GET: &str = "`cargo xtask stack tools` builds it with Go; it is part of each release \
     of Prometheus and of Debian's package `prometheus`, too. Then pass --promtool PATH, or add it \
     to PATH";

/// Rules of a user, and the promtool that evaluates them.
#[derive(Debug)]
pub struct Rules {
    promtool: PathBuf,
    files: Vec<PathBuf>,
    text: String,
    interval_seconds: Option<u64>,
    alerts: BTreeSet<String>,
}

/// The part of a rules file that the scorer reads itself.
#[derive(Debug, Deserialize)]
struct RulesFile {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    interval: Option<String>,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    alert: Option<String>,
}

impl Rules {
    /// Reads rules, and has promtool check them.
    ///
    /// # Errors
    ///
    /// When promtool or a file is missing, or promtool refuses the rules: with its message.
    pub fn read(promtool: &Path, files: &[PathBuf]) -> Result<Self> {
        ensure!(!files.is_empty(), "no rules: pass --rules FILE");
        let mut text = String::new();
        let mut absolute = Vec::new();
        for file in files {
            let path = fs::canonicalize(file);
            absolute.push(path.with_context(|| format!("cannot read {}", file.display()))?);
            let read = fs::read_to_string(file);
            text += &read.with_context(|| format!("cannot read {}", file.display()))?;
            text.push('\n');
        }
        let check = run(
            Command::new(promtool)
                .args(["check", "rules"])
                .args(&absolute),
            promtool,
        )?;
        ensure!(
            check.status.success(),
            "promtool check rules refuses the rules:\n{}",
            output_text(&check).trim()
        );
        let mut interval_seconds = None;
        let mut alerts = BTreeSet::new();
        for file in &absolute {
            let parsed: RulesFile = serde_saphyr::from_str(&fs::read_to_string(file)?)
                .with_context(|| format!("{} has no groups of rules", file.display()))?;
            let groups = parsed.groups.iter();
            let intervals = groups.filter_map(|group| seconds(group.interval.as_deref()?));
            interval_seconds = interval_seconds.into_iter().chain(intervals).min();
            let rules = parsed.groups.into_iter().flat_map(|group| group.rules);
            alerts.extend(rules.filter_map(|rule| rule.alert));
        }
        ensure!(!alerts.is_empty(), "the rules have no alert to score");
        Ok(Self {
            promtool: promtool.to_owned(),
            files: absolute,
            text,
            interval_seconds,
            alerts,
        })
    }

    /// The shortest evaluation interval of a group, in seconds; `None` if no group has one.
    pub fn interval_seconds(&self) -> Option<u64> {
        self.interval_seconds
    }

    /// The names of the alerts.
    pub fn alerts(&self) -> &BTreeSet<String> {
        &self.alerts
    }

    /// The text of all files.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// When each alert fired over a recording, if the rules are evaluated every `interval_seconds`.
    /// `folder` is for promtool's files.
    ///
    /// # Errors
    ///
    /// When promtool fails, or does not answer each query.
    pub fn evaluate(
        &self,
        recording: &Recording,
        interval_seconds: u64,
        folder: &Path,
    ) -> Result<Vec<Firing>> {
        let file = folder.join("test.yml");
        let interval = interval_seconds.max(1);
        let windows = (recording.seconds() / interval + 1).div_ceil(STEPS_PER_QUERY);
        let is_used = |name: &str| {
            let used = self.text.contains(name);
            // A matcher of names can mean any series.
            used || self.text.contains("__name__")
        };
        let text = test_file::text(&self.files, recording, is_used, interval, windows);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let output = run(
            Command::new(&self.promtool)
                .args(["test", "rules"])
                .arg(&file),
            &self.promtool,
        )?;
        let output = output_text(&output);
        let Answers { states, evaluated } = Answers::read(&output);
        if evaluated != windows {
            let reason: String = output.chars().take(800).collect();
            bail!("promtool answered {evaluated} of {windows} queries: {reason}");
        }
        Ok(firings(&states, interval, recording.seconds()))
    }
}

/// Finds promtool: this path, or one of these candidates that exists.
///
/// # Errors
///
/// When there is none, with ways to get it.
pub fn find(path: Option<&Path>, candidates: &[PathBuf]) -> Result<PathBuf> {
    if let Some(path) = path {
        ensure!(
            path.is_file(),
            "there is no promtool at {}. {HOW_TO_GET}",
            path.display()
        );
        return Ok(path.to_owned());
    }
    let found = candidates.iter().find(|candidate| candidate.is_file());
    let found = found.with_context(|| format!("promtool is not installed. {HOW_TO_GET}"))?;
    Ok(found.clone())
}

fn run(command: &mut Command, promtool: &Path) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output();
    output.with_context(|| format!("cannot start {}. {HOW_TO_GET}", promtool.display()))
}

fn output_text(output: &Output) -> String {
    let bytes = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A duration of Prometheus in seconds, such as `1m30s`. `None` if it is none, or below a second.
fn seconds(text: &str) -> Option<u64> {
    let mut sum = 0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(letters)?;
        let factor = match unit {
            "ms" => 0,
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        sum += number.parse::<u64>().ok()? * factor;
        rest = tail;
    }
    Some(sum).filter(|sum| *sum > 0)
}

/// What promtool answered: for the labels of each alert, the bits of each window.
#[derive(Debug, Default)]
struct Answers {
    states: BTreeMap<BTreeMap<String, String>, BTreeMap<u64, u64>>,
    evaluated: u64,
}

impl Answers {
    fn read(output: &str) -> Self {
        let mut answers = Self::default();
        let lines = output.lines();
        for line in lines.filter_map(|line| line.trim_start().strip_prefix("got: ")) {
            for mut labels in label_sets(line) {
                let window = labels.remove(WINDOW).and_then(|text| text.parse().ok());
                let Some(window) = window else { continue };
                match labels.remove(BITS).and_then(|text| text.parse().ok()) {
                    None => answers.evaluated += 1,
                    Some(bits) => {
                        labels.remove("alertstate");
                        let of_alert = answers.states.entry(labels).or_default();
                        of_alert.insert(window, bits);
                    }
                }
            }
        }
        answers
    }
}

/// The times from the first evaluation at which an alert fires until the first at which it does
/// not.
fn firings(
    states: &BTreeMap<BTreeMap<String, String>, BTreeMap<u64, u64>>,
    interval: u64,
    end: u64,
) -> Vec<Firing> {
    let mut firings = Vec::new();
    for (labels, windows) in states {
        let steps = windows.iter().flat_map(|(window, bits)| {
            let bits = *bits;
            let set = (0..STEPS_PER_QUERY).filter(move |bit| bits >> bit & 1 == 1);
            let first = window * STEPS_PER_QUERY;
            set.map(move |bit| first + bit)
        });
        let mut open: Option<(u64, u64)> = None;
        let mut close = |(first, last): (u64, u64)| {
            let resolved = (last + 1) * interval;
            firings.push(Firing {
                labels: labels.clone(),
                from: first * interval,
                resolved: (resolved <= end).then_some(resolved),
            });
        };
        // The last query reaches beyond the last scrape.
        for step in steps.filter(|step| step * interval <= end) {
            open = match open {
                Some((first, last)) if last + 1 == step => Some((first, step)),
                Some(ended) => {
                    close(ended);
                    Some((step, step))
                }
                None => Some((step, step)),
            };
        }
        if let Some(ended) = open {
            close(ended);
        }
    }
    firings.sort_by_key(|firing| firing.from);
    firings
}

#[cfg(test)]
mod tests;
