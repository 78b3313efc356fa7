//! The report as Markdown.

use crate::report::Report;
use crate::seconds::clock;

pub(super) fn render(report: &Report) -> String {
    let mut text = format!(
        "# Mystery report\n\n{}\n\n## Solution\n\n",
        report.summary()
    );
    text.push_str("| alias | plugin | role | details |\n|---|---|---|---|\n");
    for row in report.solution() {
        text.push_str(&table_row(&row));
    }
    text.push_str("\n## Timeline\n\n");
    for entry in &report.timeline {
        let at = clock(entry.at.as_secs_f64());
        text.push_str(&format!("- {at}: {}\n", escaped(&entry.text)));
    }
    for participant in &report.participants {
        let grade = &participant.grade;
        let (name, score) = (escaped(&participant.name), grade.score);
        text.push_str(&format!("\n## {name}: {score} of 100\n\n"));
        text.push_str("| part | points | of | explanation |\n|---|---|---|---|\n");
        for part in &grade.parts {
            text.push_str(&table_row(&[
                part.name.to_owned(),
                format!("{:.1}", part.points),
                format!("{:.1}", part.of),
                format!("{} (Tolerance: {}.)", part.explanation, part.tolerance),
            ]));
        }
        let at = clock(participant.elapsed.as_secs_f64());
        text.push_str(&format!(
            "\nThe answer came at {at}, which cost {:.1} points. Hints cost {:.0} points.\n",
            grade.time_cost, grade.hints_cost
        ));
    }
    text
}

fn table_row(cells: &[String; 4]) -> String {
    let cells = cells.each_ref().map(|cell| escaped(cell));
    format!("| {} |\n", cells.join(" | "))
}

/// The text without anything that Markdown or HTML would act on, in one line.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(character);
            }
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}
