//! The overview: the process, the plugins, what happened.

use maud::{Markup, html};

/// The parts of the ledger, in its order, as people call them.
const PARTS: [(&str, &str); 8] = [
    ("host", "Host's own heap"),
    ("plugins_linear", "Plugins' linear memory"),
    ("profiler", "Profiler in the plugins"),
    ("code", "Code and files"),
    ("telemetry_queue", "Waiting for the collector"),
    ("symbols", "Symbols and call stacks"),
    ("history", "History"),
    ("unattributed", "Unattributed"),
];

/// The view.
pub(super) fn view() -> Markup {
    html! {
        // First, also for who reads from top to bottom: with two columns it stands beside the plugins.
        (process())
        div.card #leaks {
            div.head {
                h2 #overview-title { "Leaks" }
                p.legend {
                    span.key.retained { "retained: what the pattern holds" }
                    span.key.live { "live: what its allocator has handed out" }
                    span.key.linear { "linear memory: what the host has given" }
                }
            }
            p #no-plugins .hint hidden { "No plugin is loaded: --plugins names the folder they are loaded from." }
            ul #plugins {}
            form #load .row hidden {
                label for="load-file" { "Load a plugin" }
                input #load-file type="file" accept=".wasm" required;
                button #load-go type="submit" { "Load" }
                output #load-result {}
            }
        }
        div.card #happened {
            h2 { "Events" }
            div #log role="log" aria-live="polite" aria-label="What happened, newest first" tabindex="0" {
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
                    legend { "Charts show the last" }
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
                (number("growth", "Growth, last minute"))
                (number("per-request", "Per request, last minute"))
                (number("to-limit", "Until the limit"))
                (number("requests", "Requests"))
            }
            div.actions {
                button type="button" data-all="clear" { "Clear all" }
                button type="button" data-all="gc" { "Give memory back (gc)" }
                button.danger type="button" data-all="reset" { "Reset everything" }
                output #all-result {}
            }
            div.pair {
                figure {
                    figcaption { span.key.rss { "Resident memory" } " and its " span.key.limit { "limit" } }
                    div #chart-process .picture {}
                }
                figure {
                    figcaption { "Where it is" }
                    div #chart-ledger .picture {}
                }
                details #where {
                    summary { "Where it is, in numbers" }
                    div.scroll tabindex="0" role="group" aria-label="Ledger" {
                        table #ledger {
                            caption { "Ledger: adds up to the resident memory" }
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
                        p.hint { "Unattributed: mostly freed pages that the host keeps for later, and stacks of its threads." }
                    }
                }
            }
        }
    }
}

fn number(field: &str, name: &str) -> Markup {
    html! { div { dt { (name) } dd data-field=(field) { "–" } } }
}

/// A plugin's row, for the script to copy.
pub(super) fn plugin_template() -> Markup {
    html! {
        template #plugin-template {
            li.plugin {
                article {
                    div.head {
                        h3 {
                            label.switch {
                                input type="checkbox" role="switch" data-switch;
                                span.name data-field="name" {}
                            }
                        }
                        span.state data-field="state" {}
                        span.state data-field="variant" {}
                        p.hint data-field="description" {}
                        p.error data-field="reason" hidden {}
                    }
                    dl.numbers {
                        (number("requests", "Requests"))
                        (number("retained", "Retained"))
                        (number("live", "Live"))
                        (number("linear", "Linear memory"))
                        (number("per-request", "Per request"))
                        (number("to-limit", "Until its limit"))
                    }
                    div.picture data-field="chart" {}
                    div.actions {
                        button type="button" data-do="clear" { "Clear" }
                        button type="button" data-do="reset" { "Reset" }
                        button type="button" data-do="lines" { "Which lines?" }
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
    fn the_ledger_has_a_row_for_every_part() {
        let names: Vec<_> = PARTS.iter().map(|(part, _)| *part).collect();
        assert_eq!(names, LedgerPart::ALL.map(LedgerPart::name));
    }
}
