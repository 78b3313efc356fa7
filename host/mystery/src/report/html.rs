//! The report as a page to print.

use crate::grade::Part;
use crate::report::{Participant, REPORT_STYLE, Report};
use crate::seconds::clock;

pub(super) fn render(report: &Report) -> String {
    let summary = escaped(&report.summary());
    let solution: String = report.solution().iter().map(table_row).collect();
    let timeline: String = report
        .timeline
        .iter()
        .map(|entry| {
            let at = clock(entry.at.as_secs_f64());
            format!(
                "<tr><td class=\"number\">{at}</td><td>{}</td></tr>\n",
                escaped(&entry.text)
            )
        })
        .collect();
    let answers: String = report.participants.iter().map(answer).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>Mystery report</title>\n<style>{REPORT_STYLE}</style>\n</head>\n<body>\n\
         <h1>Mystery report</h1>\n<p>{summary}</p>\n\
         <section><h2>Solution</h2>\n<table>\n<tr><th>alias</th><th>plugin</th><th>role</th>\
         <th>details</th></tr>\n{solution}</table></section>\n\
         <section><h2>Timeline</h2>\n<table>\n{timeline}</table></section>\n{answers}\
         </body>\n</html>\n"
    )
}

fn answer(participant: &Participant) -> String {
    let grade = &participant.grade;
    let name = escaped(&participant.name);
    let at = clock(participant.elapsed.as_secs_f64());
    let parts: String = grade.parts.iter().map(part_row).collect();
    format!(
        "<section><h2>{name}: {} of 100</h2>\n<table>\n<tr><th>part</th><th>points</th>\
         <th>explanation</th><th>tolerance</th></tr>\n{parts}</table>\n\
         <p>The answer came at {at}, which cost {:.1} points. Hints cost {:.0} points.</p>\
         </section>\n",
        grade.score, grade.time_cost, grade.hints_cost
    )
}

fn part_row(part: &Part) -> String {
    format!(
        "<tr><td>{}</td><td class=\"number\">{:.1} of {:.1}</td><td>{}</td><td>{}</td></tr>\n",
        escaped(part.name),
        part.points,
        part.of,
        escaped(&part.explanation),
        escaped(part.tolerance)
    )
}

fn table_row(cells: &[String; 4]) -> String {
    let cells: String = cells
        .iter()
        .map(|cell| format!("<td>{}</td>", escaped(cell)))
        .collect();
    format!("<tr>{cells}</tr>\n")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
