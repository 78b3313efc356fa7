//! The page's markup. It has no data: the scripts fill in the answers of the admin API.

mod fleet;
mod heap;
mod mystery;
mod overview;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

use crate::exercises;
use admin_api::exercise_progress::Step;

/// `GET /`. The state is the page, rendered once.
pub(crate) async fn show(State(page): State<Arc<str>>) -> Html<String> {
    Html(page.to_string())
}

/// The whole page as HTML.
pub(crate) fn html(has_fleet_view: bool) -> Arc<str> {
    page(has_fleet_view).into_string().into()
}

/// The page of the fleet view as HTML.
pub(crate) fn fleet_html() -> String {
    fleet::page().into_string()
}

fn page(has_fleet_view: bool) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("The leak lab", &["base", "views", "charts"], "main"))
            body {
                a.skip href="#main" { "Skip to the content" }
                (top(has_fleet_view))
                noscript { p.banner { "The console needs JavaScript. Without it, use " a href="/docs" { "the API" } "." } }
                div #banner .banner role="alert" hidden {}
                (verdict())
                (post_mortem_banner())
                (token())
                div.layout {
                    main #main tabindex="-1" {
                        (moment())
                        (traffic())
                        section #overview data-view="overview" aria-labelledby="overview-title" { (overview::view()) }
                        (heap::controls())
                        section #memory data-view="memory" aria-labelledby="memory-title" hidden { (heap::memory()) }
                        section #flame data-view="flame" aria-labelledby="flame-title" hidden { (heap::flame()) }
                    }
                    aside #exercises aria-labelledby="exercises-title" hidden { (exercise_panel()) }
                }
                p #activity role="status" {}
                (overview::plugin_template())
            }
        }
    }
}

/// The head of a page with these style sheets and this script.
fn head(title: &str, sheets: &[&str], script: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) }
            link rel="icon" href="/console/icon.svg" type="image/svg+xml";
            @for sheet in sheets {
                link rel="stylesheet" href=(format!("/console/{sheet}.css"));
            }
            script type="module" src=(format!("/console/{script}.js")) {}
        }
    }
}

fn top(has_fleet_view: bool) -> Markup {
    html! {
        header.top {
            h1 { "The leak lab" }
            nav aria-label="Views" {
                @for (view, name) in [("overview", "Overview"), ("memory", "Memory"), ("flame", "Flame graph")] {
                    a href=(format!("/?view={view}")) data-go=(view) { (name) }
                }
                @if has_fleet_view { a href="/fleet" { "Fleet" } }
            }
            div.row {
                button #exercises-toggle type="button" aria-expanded="false" aria-controls="exercises" { "Exercises" }
                a.quiet href="/docs" { "API" }
                span #connection .state role="status" { "connecting" }
            }
        }
    }
}

/// What leaks, where, how fast and until when.
fn verdict() -> Markup {
    html! {
        section #verdict .verdict aria-label="Verdict" hidden {
            p { strong #verdict-sentence role="status" {} }
            span #verdict-left {}
            button #start type="button" hidden { "Start exercise 1" }
            button #verdict-lines type="button" hidden { "Source lines" }
            details #verdict-details hidden {
                summary { "Evidence" }
                ul #verdict-evidence {}
            }
        }
    }
}

/// The moment that a link of an alert has chosen.
fn moment() -> Markup {
    html! {
        section #moment .banner aria-label="Moment" hidden {
            div.head {
                p { strong #moment-text role="status" {} }
                button #moment-close type="button" { "Back to now" }
            }
        }
    }
}

/// The end of the last run that was killed or crashed.
fn post_mortem_banner() -> Markup {
    html! {
        section #post-mortem .banner aria-label="Previous run" hidden {
            div.head {
                p { strong #post-mortem-message {} " " span #post-mortem-age {} }
                button #post-mortem-close type="button" { "Dismiss" }
            }
            p #post-mortem-verdict hidden {}
            details #post-mortem-details {
                summary { "Lines with the most live memory" }
                ol #post-mortem-lines {}
                p.hint { "All readings: " code { "GET /admin/post-mortem" } }
            }
            p.hint {
                "This host is a fresh start: every leak is off. Open a line above to see the code that "
                "leaks and its fix."
            }
        }
    }
}

fn token() -> Markup {
    html! {
        form #token .card hidden {
            h2 { "Admin token required" }
            p { "The host has it in " code { "LEAK_ADMIN_TOKEN" } ". This page keeps it until you close the tab." }
            div.row {
                label for="token-value" { "Admin token" }
                input #token-value type="password" autocomplete="off" required;
                button type="submit" { "Use token" }
            }
            p #token-error .error role="alert" {}
        }
    }
}

fn traffic() -> Markup {
    html! {
        section #traffic .card aria-labelledby="traffic-title" {
            div.row {
                h2 #traffic-title { "Traffic" }
                span.label id="send-label" { "Send" }
                div.row role="group" aria-labelledby="send-label" {
                    @for count in [1, 50, 500] {
                        button type="button" data-send=(count) {
                            (count) @if count == 1 { " request" } @else { " requests" }
                        }
                    }
                }
                label for="rate" { "Steady rate" }
                input #rate type="number" min="1" max="200" step="1" value="20";
                span.unit { "per second" }
                button #steady type="button" { "Start" }
                button #stop type="button" disabled { "Stop" }
                progress #sending max="1" value="0" aria-label="Requests sent" hidden {}
                output #sent { "This page has sent no requests yet." }
            }
        }
    }
}

fn exercise_panel() -> Markup {
    html! {
        div.head {
            h2 #exercises-title { "Exercises" }
            span #exercises-progress .hint role="status" {}
            button #exercises-restart type="button" hidden { "Start over" }
        }
        nav.row aria-label="Exercises" {
            @for exercise in exercises::all() {
                a.step href=(format!("/?exercise={}", exercise.number)) data-exercise=(exercise.number)
                    aria-label=(format!("Exercise {}: {}", exercise.number, exercise.title)) { (exercise.number) }
            }
        }
        @for exercise in exercises::all() {
            article data-text=(exercise.number) hidden {
                h3 { (exercise.number) ". " (exercise.title) }
                (steps(exercise.number))
                (exercise.body)
            }
        }
    }
}

/// The steps of an exercise. The script ticks those that the host has seen.
fn steps(exercise: usize) -> Markup {
    html! {
        ol.steps {
            @for step in Step::of(exercise) {
                li data-step=(step.id()) {
                    @for (index, part) in step.title().split('`').enumerate() {
                        @if index % 2 == 1 { code { (part) } } @else { (part) }
                    }
                    span.missing {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_no_inline_code_and_no_external_address() {
        let page = page(false).into_string();
        for forbidden in [
            "style=",
            "<style",
            "onclick",
            "onload",
            "javascript:",
            "https://",
            "src=\"http",
            "href=\"http",
        ] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert_eq!(page.matches("<script").count(), 1);
    }

    #[test]
    fn ids_are_unique_and_every_reference_has_its_element() {
        let page = page(false).into_string();
        let ids: Vec<&str> = page
            .split(" id=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
        for attribute in [" for=\"", " aria-labelledby=\"", " aria-controls=\""] {
            for name in page.split(attribute).skip(1) {
                let name = name.split('"').next().unwrap();
                assert!(ids.contains(&name), "{attribute}{name}");
            }
        }
    }
}
