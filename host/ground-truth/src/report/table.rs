//! The report as text.

use std::fmt::Write as _;

use super::{Report, Summary, TrialReport};
use crate::score::AlertScore;

/// All tables.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{} trials at the time scale {}: a scrape every {} s, an evaluation every {} s, \
         {} requests/s, {:.1} days without a leak\n",
        report.trials.len(),
        report.time_scale,
        report.scrape_interval_seconds,
        report.evaluation_interval_seconds,
        report.requests_per_second,
        report.healthy_days,
    );
    for metric in &report.not_simulated {
        let _ = writeln!(
            text,
            "warning: the rules name {metric}, which a simulation does not have\n"
        );
    }
    summaries(report, &mut text);
    text.push('\n');
    matrix(report, &mut text);
    text
}

fn summaries(report: &Report, text: &mut String) {
    let rows = || report.alerts.iter().chain([&report.together]);
    let width = rows().map(|row| row.alert.chars().count()).max();
    let width = width.unwrap_or_default().max("alert".len());
    let _ = writeln!(
        text,
        "{:<width$}  {:>7} {:>5} {:>9}  {:>16}  {:>16}  {:>10} {:>6}",
        "alert", "found", "late", "missed", "time to detect", "lead time", "false/day", "flaps"
    );
    let _ = writeln!(
        text,
        "{:<width$}  {:>7} {:>5} {:>9}  {:>16}  {:>16}",
        "", "", "", "", "median / max", "median / min"
    );
    for row in rows() {
        let _ = writeln!(text, "{}", summary(row, width));
    }
}

fn summary(row: &Summary, width: usize) -> String {
    let pair = |a: Option<String>, b: Option<String>| match (a, b) {
        (Some(a), Some(b)) => format!("{a} / {b}"),
        _ => "-".to_owned(),
    };
    let seconds = |time: Option<u64>| time.map(duration);
    let signed = |time: Option<i64>| time.map(signed_duration);
    format!(
        "{:<width$}  {:>7} {:>5} {:>9}  {:>16}  {:>16}  {:>10} {:>6}",
        row.alert,
        format!("{}/{}", row.found, row.leaks),
        row.late,
        match row.missed_out_of_reach {
            0 => row.missed.to_string(),
            far => format!("{} ({far})", row.missed),
        },
        pair(
            seconds(row.median_seconds_to_detect),
            seconds(row.max_seconds_to_detect)
        ),
        pair(
            signed(row.median_lead_seconds),
            signed(row.min_lead_seconds)
        ),
        format!("{:.2}", row.false_alarms_per_day),
        row.flaps,
    )
}

/// A row for each pattern and curve, with a column for each load: what all alerts together did.
fn matrix(report: &Report, text: &mut String) {
    let mut loads: Vec<&str> = Vec::new();
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for trial in &report.trials {
        if !loads.contains(&trial.load) {
            loads.push(trial.load);
        }
        let row = (trial.name.as_str(), trial.curve.as_str());
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let title = |(name, curve): (&str, &str)| match curve {
        "linear" => name.to_owned(),
        curve => format!("{name}, {curve}"),
    };
    let width = rows.iter().map(|row| title(*row).chars().count()).max();
    let width = width.unwrap_or_default().max("first alert".len());
    let _ = write!(text, "{:<width$}", "first alert");
    for load in &loads {
        let _ = write!(text, "  {load:>16}");
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "{:<width$}", title(row));
        for load in &loads {
            let trial = report.trials.iter().find(|trial| {
                (trial.name.as_str(), trial.curve.as_str(), trial.load) == (row.0, row.1, *load)
            });
            let _ = write!(text, "  {:>16}", trial.map(cell).unwrap_or_default());
        }
        text.push('\n');
    }
    text.push_str(
        "\nOf a leak: time to detect (lead time before the memory limit; `none` after it), or \
         `missed` (life of a process with the leak; `flat` if its memory does not grow). Of the \
         missed leaks, the number in brackets is that of leaks whose limit is more than two days \
         away.\nOf a decoy: `quiet`, or its false alarms. `+n false` are false \
         alarms of a trial with a leak.\n",
    );
}

fn cell(trial: &TrialReport) -> String {
    let AlertScore {
        leaks,
        false_alarms,
        ..
    } = &trial.together;
    let mut cell = match leaks.as_slice() {
        [] if false_alarms.is_empty() => return "quiet".to_owned(),
        [] => return format!("{} false", false_alarms.len()),
        [leak] => match (leak.seconds_to_detect, leak.lead_seconds) {
            (None, _) => match leak.seconds_to_limit {
                None => "missed (flat)".to_owned(),
                Some(time) => format!("missed ({})", duration(time)),
            },
            (Some(time), None) => duration(time),
            (Some(time), Some(lead)) if lead < 0 => format!("{} (none)", duration(time)),
            (Some(time), Some(lead)) => format!("{} ({})", duration(time), signed_duration(lead)),
        },
        several => {
            let found = several
                .iter()
                .filter(|leak| leak.seconds_to_detect.is_some());
            format!("{}/{} found", found.count(), several.len())
        }
    };
    if !false_alarms.is_empty() {
        let _ = write!(cell, " +{} false", false_alarms.len());
    }
    cell
}

/// A duration with one unit: `45s`, `12m`, `6.2h`, `3.1d`.
pub(crate) fn duration(seconds: u64) -> String {
    let exact = seconds as f64;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{:.0}m", exact / 60.0),
        7200..172_800 => format!("{:.1}h", exact / 3600.0),
        _ => format!("{:.1}d", exact / 86_400.0),
    }
}

fn signed_duration(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    format!("{sign}{}", duration(seconds.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit() {
        assert_eq!(duration(90), "90s");
        assert_eq!(duration(600), "10m");
        assert_eq!(duration(9000), "2.5h");
        assert_eq!(duration(259_200), "3.0d");
        assert_eq!(signed_duration(-150), "-2m");
    }
}
