//! The page's markup, without any data: the scripts fill in what the admin API answers.

mod heap;
mod overview;

use std::sync::Arc;

use axum::extract::State;
use maud::{DOCTYPE, Markup, html};

use super::Console;
use super::exercises;

/// `GET /`.
pub(super) async fn show(State(console): State<Arc<Console>>) -> axum::response::Html<String> {
    axum::response::Html(console.page.clone())
}

/// The page.
pub(super) fn page() -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "The leak lab" }
                link rel="icon" href="/console/icon.svg" type="image/svg+xml";
                @for sheet in ["base", "views", "charts"] {
                    link rel="stylesheet" href=(format!("/console/{sheet}.css"));
                }
                script type="module" src="/console/main.js" {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (top())
                noscript { p.banner { "The console needs its script. Without it: " a href="/docs" { "the API" } "." } }
                div #banner .banner role="alert" hidden {}
                (fate())
                (token())
                div.layout {
                    main #main tabindex="-1" {
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

fn top() -> Markup {
    html! {
        header.top {
            h1 { "The leak lab" }
            nav aria-label="Views" {
                @for (view, name) in [("overview", "Overview"), ("memory", "Memory"), ("flame", "Flame graph")] {
                    a href=(format!("/?view={view}")) data-go=(view) { (name) }
                }
            }
            div.row {
                button #exercises-toggle type="button" aria-expanded="false" aria-controls="exercises" { "Exercises" }
                a.quiet href="/docs" { "API" }
                span #connection .state role="status" { "connecting" }
            }
        }
    }
}

/// What is known of the host before this one, if it died.
fn fate() -> Markup {
    html! {
        section #fate .banner aria-label="The last host" hidden {
            div.head {
                p { strong #fate-message {} " " span #fate-age {} }
                button #fate-close type="button" { "Dismiss" }
            }
            details #fate-held {
                summary { "What held the memory" }
                ol #fate-lines {}
                p.hint { "All of it: " code { "GET /admin/post-mortem" } }
            }
        }
    }
}

fn token() -> Markup {
    html! {
        form #token .card hidden {
            h2 { "This host asks for its admin token" }
            p { "It is in " code { "LEAK_ADMIN_TOKEN" } " on the host. The page keeps it until its tab is closed." }
            div.row {
                label for="token-value" { "Admin token" }
                input #token-value type="password" autocomplete="off" required;
                button type="submit" { "Use it" }
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
                label for="rate" { "Steadily" }
                input #rate type="number" min="1" max="200" step="1" value="20";
                span.unit { "per second" }
                button #steady type="button" { "Start" }
                button #stop type="button" disabled { "Stop" }
                progress #sending max="1" value="0" aria-label="Requests sent" hidden {}
                output #sent { "No request sent from this page yet." }
            }
        }
    }
}

fn exercise_panel() -> Markup {
    html! {
        h2 #exercises-title { "Exercises" }
        nav.row aria-label="Exercises" {
            @for exercise in exercises::all() {
                a.step href=(format!("/?exercise={}", exercise.number)) data-exercise=(exercise.number)
                    aria-label=(format!("Exercise {}: {}", exercise.number, exercise.title)) { (exercise.number) }
            }
        }
        @for exercise in exercises::all() {
            article data-text=(exercise.number) hidden {
                h3 { (exercise.number) ". " (exercise.title) }
                (exercise.body)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        let page = page().into_string();
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
    fn every_label_names_a_field_and_every_id_is_one() {
        let page = page().into_string();
        let ids: Vec<&str> = page
            .split(" id=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let mut once = ids.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "{ids:?}");
        for attribute in [" for=\"", " aria-labelledby=\"", " aria-controls=\""] {
            for name in page.split(attribute).skip(1) {
                let name = name.split('"').next().unwrap();
                assert!(ids.contains(&name), "{attribute}{name}");
            }
        }
    }
}
