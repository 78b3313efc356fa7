//! The page of the fleet view. It has no data: its script fills in the hosts.

use maud::{DOCTYPE, Markup, html};

use super::{head, token};

pub(super) fn page() -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("Fleet · The leak lab", &["base", "views", "charts", "fleet"], "fleet"))
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    h1 { "The leak lab" }
                    nav aria-label="Views" {
                        a href="/" { "This host" }
                        a href="/fleet" aria-current="page" { "Fleet" }
                    }
                    div.row { span #connection .state role="status" { "connecting" } }
                }
                noscript { p.banner { "The fleet view needs JavaScript. Without it, use " code { "leak-host fleet" } "." } }
                div #banner .banner role="alert" hidden {}
                (token())
                div.layout {
                    main #main tabindex="-1" {
                        section.card aria-labelledby="fleet-title" {
                            div.head {
                                h2 #fleet-title { "Fleet" }
                                span #fleet-counts .label role="status" {}
                            }
                            div.row {
                                label for="fleet-leak" { "Leak" }
                                select #fleet-leak {}
                                button #fleet-on type="button" { "On for all" }
                                button #fleet-off type="button" { "Off for all" }
                                output #fleet-output {}
                            }
                            p.hint {
                                "Resident memory of each host, all on one scale; the dashed line is the limit. "
                                "Hosts that leak, do not answer or differ from the others come first."
                            }
                        }
                        ul #fleet-hosts .fleet aria-label="Hosts" {}
                        p #fleet-more .hint hidden {}
                    }
                }
                p #activity role="status" {}
                (card())
            }
        }
    }
}

/// What the script copies for each host.
fn card() -> Markup {
    html! {
        template #fleet-card {
            li.card {
                div.head {
                    h3 .fleet-name {}
                    span .state .fleet-state {}
                    label.choice { input type="checkbox" .fleet-switch; span .fleet-switch-name {} }
                }
                p .hint .fleet-about {}
                figure {
                    svg .chart .fleet-chart viewBox="0 0 300 70" preserveAspectRatio="none" role="img" {
                        line .limit x1="0" x2="300" {}
                        polyline .series .rss {}
                    }
                    figcaption .fleet-memory {}
                }
                p .fleet-verdict {}
                p .hint .fleet-leaks {}
                output .fleet-output {}
            }
        }
    }
}
