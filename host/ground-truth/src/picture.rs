//! The report as a picture: a line of time for each trial, with the bug, the limit and the alerts.

use std::fmt::Write as _;

use crate::report::{Report, TrialReport, duration};
use crate::truth::RestartCause;

const LEFT: f64 = 250.0;
const WIDTH: f64 = 860.0;
const ROW: f64 = 15.0;
const TOP: f64 = 74.0;
const BAR: f64 = 9.0;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#222}\
    .title{font-size:15px;font-weight:600}\
    .small{font-size:11px;fill:#555}\
    .healthy{fill:#eef1f4}\
    .leak{fill:#f6d9a8}\
    .true{fill:#1a7f4b}\
    .false{fill:#c62828}\
    .limit{stroke:#111;stroke-width:2}\
    .hour{stroke:#d0d5da;stroke-width:1}";

/// The picture as SVG.
pub fn svg(report: &Report) -> String {
    let height = TOP + ROW * report.trials.len() as f64 + 20.0;
    let total = LEFT + WIDTH + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {total} {height}\" \
         width=\"{total}\" height=\"{height}\">\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<text class=\"title\" x=\"10\" y=\"22\">Alerts in simulated time, {}: {} of {} leaks \
         found, {} late, {} missed; {:.2} false alarms per day</text>",
        escape(report.time_scale),
        report.together.found,
        report.together.leaks,
        report.together.late,
        report.together.missed,
        report.together.false_alarms_per_day,
    );
    legend(&mut svg);
    let seconds = report.trials.iter().map(|trial| trial.seconds).max();
    let seconds = seconds.unwrap_or(1).max(1);
    axis(&mut svg, seconds, height);
    let mut name = "";
    for (index, trial) in report.trials.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let is_first = name != trial.name;
        name = &trial.name;
        row(&mut svg, trial, y, seconds, is_first);
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    let mut x = 10.0;
    for (class, label) in [
        ("healthy", "no leak"),
        ("leak", "the bug is active"),
        ("true", "a true alert fires"),
        ("false", "a false alert fires"),
    ] {
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x}\" y=\"33\" width=\"14\" height=\"10\"/>\
             <text class=\"small\" x=\"{}\" y=\"42\">{label}</text>",
            x + 19.0
        );
        x += 150.0;
    }
    let _ = writeln!(
        svg,
        "<line class=\"limit\" x1=\"{x}\" x2=\"{x}\" y1=\"32\" y2=\"44\"/>\
         <text class=\"small\" x=\"{}\" y=\"42\">the process is killed at its limit</text>",
        x + 8.0
    );
}

/// A line for each hour, or for each ten minutes of a short simulation.
fn axis(svg: &mut String, seconds: u64, height: f64) {
    let step = match seconds {
        0..=7200 => 600,
        7201..=43_200 => 3600,
        43_201..=172_800 => 6 * 3600,
        _ => 86_400,
    };
    for at in (0..=seconds).step_by(step) {
        let x = position(at, seconds);
        let label = duration(at);
        let _ = writeln!(
            svg,
            "<line class=\"hour\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\"/>\
             <text class=\"small\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            TOP - 6.0,
            height - 14.0,
            TOP - 10.0,
        );
    }
}

fn row(svg: &mut String, trial: &TrialReport, y: f64, seconds: u64, is_first: bool) {
    let name = if is_first { trial.name.as_str() } else { "" };
    let load = match trial.curve.as_str() {
        "linear" => trial.load.to_owned(),
        curve => format!("{}, {curve}", trial.load),
    };
    let _ = writeln!(
        svg,
        "<text x=\"10\" y=\"{:.1}\">{}</text><text class=\"small\" x=\"{}\" y=\"{:.1}\" \
         text-anchor=\"end\">{}</text>",
        y + BAR,
        escape(name),
        LEFT - 8.0,
        y + BAR,
        escape(&load),
    );
    bar(svg, "healthy", (0, trial.seconds), y, seconds, "");
    for truth in &trial.truths {
        if let Some(onset) = truth.onset.filter(|_| truth.is_leak()) {
            let title = format!(
                "{}: {:.0} bytes per request",
                truth.plugin, truth.bytes_per_request
            );
            bar(svg, "leak", (onset, truth.end), y, seconds, &title);
        }
    }
    for firing in &trial.firings {
        let until = firing.resolved.unwrap_or(trial.seconds);
        let class = if firing.is_true { "true" } else { "false" };
        let alert = firing.labels.get("alertname").map_or("", String::as_str);
        bar(svg, class, (firing.from, until), y, seconds, alert);
    }
    let kills = trial.restarts.iter();
    for restart in kills.filter(|r| r.cause == RestartCause::Killed) {
        let x = position(restart.at, seconds);
        let _ = writeln!(
            svg,
            "<line class=\"limit\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
            y - 1.0,
            y + BAR + 1.0
        );
    }
}

fn bar(svg: &mut String, class: &str, times: (u64, u64), y: f64, seconds: u64, title: &str) {
    let (from, until) = (position(times.0, seconds), position(times.1, seconds));
    // Alerts are thinner than the time below them.
    let is_alert = matches!(class, "true" | "false");
    let (top, height) = if is_alert {
        (y + 2.5, BAR - 5.0)
    } else {
        (y, BAR)
    };
    let title = match title {
        "" => String::new(),
        title => format!("<title>{}</title>", escape(title)),
    };
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
         height=\"{height:.1}\">{title}</rect>",
        (until - from).max(1.5)
    );
}

fn position(at: u64, seconds: u64) -> f64 {
    LEFT + WIDTH * at.min(seconds) as f64 / seconds as f64
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_end_the_markup() {
        assert_eq!(escape(r#"<a "b"&c>"#), "&lt;a &quot;b&quot;&amp;c&gt;");
    }

    #[test]
    fn times_are_placed_between_both_ends() {
        assert_eq!(position(0, 100), LEFT);
        assert_eq!(position(100, 100), LEFT + WIDTH);
        assert_eq!(position(200, 100), LEFT + WIDTH);
        let mut svg = String::new();
        bar(&mut svg, "true", (50, 100), 0.0, 100, "A");
        assert!(
            svg.contains("width=\"430.0\"") && svg.contains("<title>A</title>"),
            "{svg}"
        );
    }
}
