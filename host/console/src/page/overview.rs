//! The overview: the process, the leaks and the events.

use maud::{Markup, html};

use super::mystery;

/// The parts of the ledger in its order, with their labels.
const PARTS: [(&str, &str); 8] = [
    ("host", "Host heap"),
    ("plugins_linear", "Plugin linear memory"),
    ("profiler", "Heap profiler"),
    ("code", "Code and mapped files"),
    ("telemetry_queue", "Telemetry queue"),
    ("symbols", "Symbols and call stacks"),
    ("history", "History"),
    ("unattributed", "Unattributed"),
];

pub(crate) fn view() -> Markup {
    html! {
        // First in the document, so that the switches are first in one column. With two columns
        // they are on the left.
        div.card #leaks {
            div.head {
                h2 #overview-title { "Leaks" }
                p.legend {
                    span.key.retained { "retained: held by the leak pattern" }
                    span.key.live { "live: allocated and not freed" }
                    span.key.linear { "linear memory: granted by the host" }
                }
            }
            p #no-plugins .hint hidden { "No plugins loaded. Start the host with --plugins DIR." }
            div #plugins {
                div data-group="exercise" {
                    h3 { "Exercises" }
                    ul #plugins-exercise {}
                }
                details #catalogue hidden {
                    summary { "Patterns and decoys: " span #catalogue-count {} }
                    div data-group="pattern" {
                        h3 { "Patterns: more ways to leak" }
                        ul #plugins-pattern {}
                    }
                    div data-group="decoy" {
                        h3 { "Decoys: they only look like leaks" }
                        ul #plugins-decoy {}
                    }
                }
            }
            form #load .row hidden {
                label for="load-file" { "Load a plugin" }
                input #load-file type="file" accept=".wasm" required;
                button #load-go type="submit" { "Load" }
                output #load-result {}
            }
            (mystery::start())
        }
        (mystery::card())
        (process())
        div.card #event-log {
            div #alerts hidden {
                h2 { "Alerts" }
                ul #alert-list aria-live="polite" {}
            }
            h2 { "Events" }
            div #log role="log" aria-live="polite" aria-label="Events, newest first" tabindex="0" {
                ol #events {}
            }
        }
    }
}

fn process() -> Markup {
    html! {
        div.card #process {
            div.head {
                h2 { "Process" }
                fieldset.row {
                    legend { "Time range" }
                    @for (window, name) in [("1m", "1 min"), ("5m", "5 min"), ("15m", "15 min")] {
                        label.choice {
                            input type="radio" name="window" value=(window) checked[window == "5m"];
                            (name)
                        }
                    }
                }
            }
            dl.numbers #process-numbers {
                (number("rss", "Resident memory"))
                (number("limit", "Limit"))
                (number("growth", "Growth (1 min)"))
                (number("per-request", "Per request (1 min)"))
                (number("to-limit", "Time to limit"))
                (number("requests", "Requests"))
            }
            div #all-actions .actions hidden {
                button type="button" data-all="clear" { "Clear all" }
                button type="button" data-all="gc" { "Return memory (gc)" }
                button.danger type="button" data-all="reset" { "Reset all" }
                output #all-result {}
            }
            div.pair {
                figure {
                    figcaption {
                        span.key.rss { "Resident memory" } " " span.key.projected { "if it goes on" } " "
                        span.key.limit { "limit" }
                    }
                    div #chart-process .picture {}
                }
                figure {
                    figcaption { "Resident memory by part" }
                    div #chart-ledger .picture {}
                }
                details #ledger-details {
                    summary { "Ledger" }
                    div.scroll tabindex="0" role="group" aria-label="Ledger" {
                        table #ledger {
                            caption { "The parts add up to the resident memory" }
                            thead { tr { th scope="col" { "Part" } th scope="col" { "Size" } } }
                            tbody {
                                @for (index, (part, name)) in PARTS.iter().enumerate() {
                                    tr data-part=(part) {
                                        th scope="row" { span class=(format!("key part-{index}")) { (name) } }
                                        td { "–" }
                                    }
                                }
                            }
                            tfoot { tr data-part="rss" { th scope="row" { "Resident memory" } td { "–" } } }
                        }
                        p.hint { "Unattributed: mostly freed pages that the host's allocator keeps, and thread stacks." }
                    }
                }
            }
        }
    }
}

fn number(field: &str, name: &str) -> Markup {
    html! { div { dt { (name) } dd data-field=(field) { "–" } } }
}

/// The row of a plugin. The script copies it.
pub(crate) fn plugin_template() -> Markup {
    html! {
        template #plugin-template {
            li.plugin {
                article {
                    div.head {
                        h3 {
                            label.switch {
                                input type="checkbox" role="switch" data-switch;
                                span.name data-field="name" {}
                                small data-field="title" {}
                            }
                        }
                        span.state data-field="state" {}
                        span.state data-field="variant" {}
                        p.hint data-field="description" {}
                        p.error data-field="reason" hidden {}
                        p.hint data-field="schedule" hidden {}
                        p.hint data-field="attribution" hidden {}
                    }
                    dl.numbers {
                        (number("requests", "Requests"))
                        (number("retained", "Retained"))
                        (number("live", "Live"))
                        (number("linear", "Linear memory"))
                        (number("per-request", "Per request"))
                        (number("to-limit", "Time to limit"))
                    }
                    div.picture data-field="chart" {}
                    div.actions {
                        button type="button" data-do="clear" { "Clear" }
                        button type="button" data-do="reset" { "Reset" }
                        button type="button" data-do="lines" { "Source lines" }
                        button type="button" data-do="settings" aria-expanded="false" { "Settings" }
                    }
                    output data-field="result" {}
                    form.settings hidden {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ledger::LedgerPart;

    #[test]
    fn the_ledger_table_has_every_part_in_order() {
        let names: Vec<_> = PARTS.iter().map(|(part, _)| *part).collect();
        assert_eq!(names, LedgerPart::ALL.map(LedgerPart::name));
    }
}
