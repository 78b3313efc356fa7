//! What heap tracking costs guests: guest-heap's own benchmark. Its table has the allowed ratio
//! next to each ratio.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use xtask_support::report;
use xtask_support::workspace::Workspace;

/// Runs the benchmark and shows its table as it comes. False when a ratio is over its limit.
///
/// # Errors
/// When it does not build or run, or prints no ratio.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    report::announce("each kind of work with and without heap tracking: about a minute");
    let mut cargo = workspace.cargo();
    // With --workspace, because a choice of packages would compile the wasm engine with other
    // features.
    cargo
        .args(["bench", "--workspace", "--bench", "heap"])
        .stdout(Stdio::piped());
    let mut child = cargo
        .spawn()
        .with_context(|| format!("cannot start {cargo:?}"))?;
    let stdout = child.stdout.take().context("the table was not captured")?;
    let (mut ratios, mut over) = (0, 0);
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read the table")?;
        println!("{line}");
        if let Some(row) = RatioRow::parse(&line) {
            ratios += 1;
            over += usize::from(row.is_over());
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("the benchmark failed: {status}");
    }
    ensure!(ratios > 0, "the benchmark printed no ratio");
    println!("\n{ratios} ratios, {over} over their limits");
    Ok(over == 0)
}

/// A row of the table: a name, nanoseconds without and with heap tracking, their ratio, and the
/// allowed ratio.
#[derive(Debug, PartialEq)]
struct RatioRow {
    ratio: f64,
    allowed: f64,
}

impl RatioRow {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line
            .split_whitespace()
            .rev()
            .skip_while(|word| *word == "over");
        let mut number = || words.next()?.parse::<f64>().ok();
        let (allowed, ratio) = (number()?, number()?);
        number().and(number()).and(Some(Self { ratio, allowed }))
    }

    fn is_over(&self) -> bool {
        self.ratio > self.allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_of_the_table_are_parsed() {
        for (line, row) in [
            (
                "malloc + free                     11.5        24.8    2.157     2.20",
                Some((2.157, 2.2)),
            ),
            (
                "random sizes, 4,096 live          40.1        56.4    1.406     1.35  over",
                Some((1.406, 1.35)),
            ),
            (
                "ns for each iteration       original    profiled    ratio  allowed",
                None,
            ),
            ("100003 live objects: 14.7 bytes each", None),
            ("reading 1025 contexts: 1.2µs", None),
            ("", None),
        ] {
            let row = row.map(|(ratio, allowed)| RatioRow { ratio, allowed });
            assert_eq!(RatioRow::parse(line), row, "{line}");
        }
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        let row = |ratio| RatioRow {
            ratio,
            allowed: 2.2,
        };
        assert!(!row(2.2).is_over());
        assert!(row(2.201).is_over());
    }
}
