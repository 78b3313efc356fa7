//! The mystery: its state, its plugins and the answer. The script fills it in while a game runs.

use maud::{Markup, html};

/// The lengths of a game that the page offers, with their names.
const DURATIONS: [(&str, &str); 4] = [
    ("2m", "2 minutes"),
    ("10m", "10 minutes"),
    ("30m", "30 minutes"),
    ("2h", "2 hours"),
];

/// What each level shows.
const LEVELS: [&str; 5] = [
    "source lines",
    "functions",
    "memory of each plugin",
    "the process only",
    "the process, a deploy, and a change of the load",
];

/// The card that replaces the leaks while a game runs.
pub(super) fn card() -> Markup {
    html! {
        div.card #mystery hidden {
            div.head {
                h2 { "Mystery" }
                span #mystery-state .state {}
                p.legend #mystery-legend {
                    span.key.live { "live: allocated and not freed" }
                    span.key.linear { "linear memory: granted by the host" }
                }
            }
            p #mystery-about {}
            p.hint {
                a href="/admin/mystery/traces?limit=100" { "Traces" } ", " a href="/admin/alerts" { "alerts" } " and "
                a href="/metrics" { "metrics" } " show what the level shows, and so does the rest of this page."
            }
            ul #mystery-plugins {}
            form #mystery-answer {
                h3 { "Your answer" }
                div.row {
                    label for="mystery-name" { "Your name, in a class" }
                    input #mystery-name type="text" maxlength="40" autocomplete="nickname";
                }
                div #mystery-fields .settings {}
                div.actions {
                    button #mystery-send type="submit" { "Answer" }
                    button #mystery-hint type="button" { "Hint" }
                    button #mystery-end .danger type="button" { "End the mystery" }
                }
            }
            output #mystery-result {}
            div.scroll #mystery-grade tabindex="0" role="group" aria-label="Grade" hidden {
                table {
                    caption #mystery-score {}
                    thead { tr { th scope="col" { "Part" } th scope="col" { "Points" } th scope="col" { "Why" } } }
                    tbody {}
                }
                p { a href="/admin/mystery/report?format=html" { "Report of the game" } }
            }
        }
    }
}

/// The form that starts a game.
pub(super) fn start() -> Markup {
    html! {
        details #mystery-start {
            summary { "Mystery: find the plugins that leak" }
            p.hint {
                "The host chooses plugins that leak, hides their names, sends the traffic, and grades what you "
                "find out. All leaks are reset."
            }
            form.row {
                label for="mystery-level" { "Level" }
                select #mystery-level {
                    @for (level, shows) in (1..).zip(LEVELS) {
                        option value=(level) { (level) ": " (shows) }
                    }
                }
                label for="mystery-duration" { "Length" }
                select #mystery-duration {
                    @for (value, name) in DURATIONS {
                        option value=(value) selected[value == "10m"] { (name) }
                    }
                }
                label for="mystery-seed" { "Seed" }
                input #mystery-seed type="number" min="0" max="9007199254740991" placeholder="random";
                button #mystery-go type="submit" { "Start" }
            }
            output #mystery-start-result {}
        }
    }
}
