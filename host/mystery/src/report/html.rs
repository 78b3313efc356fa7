//! The report as a page to print.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::{Participant, REPORT_STYLE, Report};
use crate::seconds::clock;

pub(super) fn render(report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Mystery report" }
                style { (PreEscaped(REPORT_STYLE)) }
            }
            body {
                h1 { "Mystery report" }
                p { (report.summary()) }
                section {
                    h2 { "Solution" }
                    table {
                        tr { th { "alias" } th { "plugin" } th { "role" } th { "details" } }
                        @for [alias, plugin, role, details] in report.solution() {
                            tr {
                                td.name { (alias) } td.name { (plugin) } td.name { (role) }
                                td { (details) }
                            }
                        }
                    }
                }
                section {
                    h2 { "Timeline" }
                    table {
                        @for entry in &report.timeline {
                            tr { td.number { (clock(entry.at.as_secs_f64())) } td { (entry.text) } }
                        }
                    }
                }
                @for participant in &report.participants { (answer(participant)) }
            }
        }
    };
    page.into_string()
}

fn answer(participant: &Participant) -> Markup {
    let grade = &participant.grade;
    let at = clock(participant.elapsed.as_secs_f64());
    html! {
        section {
            h2 { (participant.name) ": " (grade.score) " of 100" }
            table.answer {
                tr { th { "part" } th { "points" } th { "explanation" } th { "tolerance" } }
                @for part in &grade.parts {
                    tr {
                        td { (part.name) }
                        td.number { (format!("{:.1} of {:.1}", part.points, part.of)) }
                        td { (part.explanation) }
                        td { (part.tolerance) }
                    }
                }
            }
            p {
                (format!(
                    "The answer came at {at}, which cost {:.1} points. Hints cost {:.0} points.",
                    grade.time_cost, grade.hints_cost
                ))
            }
        }
    }
}
