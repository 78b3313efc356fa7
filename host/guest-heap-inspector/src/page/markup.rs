//! The page's markup.

use guest_heap::grouped;
use guest_heap::snapshot::GroupBy;
use maud::{DOCTYPE, Markup, html};

use super::details::{flame_graphs, handles, source_view, stacks};
use super::links::{by_name, guest_query, place};
use super::numbers::{measured, rate, signed, size, time};
use super::{Content, View};
use crate::reports::diff::ChangeRow;
use crate::reports::guest::GuestSummary;
use crate::reports::snapshot::Row;

/// The windows that the page offers.
const WINDOWS: [(&str, &str); 4] = [
    ("10s", "10 seconds"),
    ("1m", "1 minute"),
    ("5m", "5 minutes"),
    ("15m", "15 minutes"),
];

/// The ends of a window in the past that the page offers.
const ENDS: [(&str, &str); 4] = [
    ("", "now"),
    ("1m", "1 minute ago"),
    ("5m", "5 minutes ago"),
    ("10m", "10 minutes ago"),
];

/// Rows of each list of changes.
const CHANGES: usize = 10;

pub(super) fn page(content: &Content) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (content.title) }
                link rel="stylesheet" href="page.css";
                script type="module" src="page.js" {}
            }
            body {
                header {
                    h1 { (content.title) }
                    nav aria-label="Other formats" { (formats(&content.view)) }
                }
                main {
                    (controls(content))
                    div data-live="summary" { (summary(content)) }
                    @if let Some(source) = &content.source { (source_view(content, source)) }
                    section.card data-live="rows" { (rows(content)) }
                    section.card data-live="changes" { (changes(content)) }
                    @if !content.snapshot.handles.is_empty() {
                        section.card data-live="handles" { (handles(content)) }
                    }
                    section.card data-live="stacks" { (stacks(content)) }
                    section.card { (flame_graphs(content)) }
                }
            }
        }
    }
}

/// The same heaps in other formats.
fn formats(view: &View) -> Markup {
    let query = guest_query(view.guest.as_deref());
    html! {
        @for (path, name) in [
            ("../pprof/heap", "pprof heap"),
            ("../pprof/allocs", "pprof allocs"),
            ("snapshot", "JSON"),
            ("folded", "folded"),
        ] {
            a href=(format!("{path}{query}")) { (name) }
        }
        a href="metrics" { "metrics" }
    }
}

fn controls(content: &Content) -> Markup {
    let view = &content.view;
    html! {
        form.card method="get" {
            @if content.guests.len() > 1 {
                label {
                    "Guest "
                    select name="guest" {
                        option value="" { "all" }
                        @for guest in &content.guests {
                            option value=(guest) selected[view.guest.as_ref() == Some(guest)] { (guest) }
                        }
                    }
                }
            }
            label { "Change since " (choice("since", &WINDOWS, &view.since, " ago")) }
            label { "until " (choice("until", &ENDS, &view.until, "")) }
            label {
                "Group by "
                select name="group_by" {
                    @for (by, name) in [(GroupBy::Line, "line"), (GroupBy::Function, "function"), (GroupBy::File, "file")] {
                        option value=(name) selected[view.by == by] { (name) }
                    }
                }
            }
            @if let Some(location) = &view.location { input type="hidden" name="location" value=(location); }
            button type="submit" { "Show" }
            label #follow-label hidden { input #follow type="checkbox"; " refresh" }
        }
    }
}

/// A choice of times. A time that is not among them becomes one of them.
fn choice(name: &str, times: &[(&str, &str)], chosen: &str, suffix: &str) -> Markup {
    let is_known = times.iter().any(|(value, _)| *value == chosen);
    html! {
        select name=(name) {
            @for (value, label) in times {
                option value=(value) selected[*value == chosen] { (label) (suffix) }
            }
            @if !is_known { option value=(chosen) selected { (chosen) " ago" } }
        }
    }
}

fn summary(content: &Content) -> Markup {
    let guests = &content.snapshot.guests;
    let is_shown = |guest: &&GuestSummary| guest.live_blocks != Some(0) || guests.len() == 1;
    let (shown, empty): (Vec<_>, Vec<_>) = guests.iter().partition(is_shown);
    html! {
        @if content.snapshot.guests.is_empty() {
            p.card { "No heap can be read now. The host runs no guest, or all guests are busy." }
        }
        @for guest in shown {
            section.card {
                h2 { (guest.guest) }
                (guest_numbers(guest))
            }
        }
        @if !empty.is_empty() {
            section.card {
                h2 { "Guests without live blocks" }
                p { (empty.iter().map(|guest| guest.guest.as_str()).collect::<Vec<_>>().join(", ")) }
            }
        }
        section.card {
            h2 { "Change in " (time(content.diff.window_seconds)) }
            @if content.diff.window_seconds > 0.0 {
                dl.numbers {
                    div { dt { "bytes" } dd { (measured(content.diff.bytes, signed)) } }
                    div { dt { "blocks" } dd { (measured(content.diff.blocks, signed)) } }
                    div { dt { "bytes per second" } dd { (rate(content.diff.bytes_per_second)) } }
                    @if let Some(calls) = content.diff.calls {
                        div { dt { "calls" } dd { (grouped(calls)) } }
                        div { dt { "bytes per call" } dd { (rate(content.diff.bytes_per_call)) } }
                    }
                    @if let Some(bytes) = content.diff.linear_memory_bytes {
                        div { dt { "linear memory" } dd { (signed(bytes)) } }
                        @if content.diff.calls.is_some() {
                            div {
                                dt { "linear memory per call" }
                                dd { (rate(content.diff.linear_memory_bytes_per_call)) }
                            }
                        }
                    }
                }
            } @else {
                p { "The history begins with the second reading." }
            }
            @if let Some(chart) = &content.chart { (chart.markup()) }
        }
    }
}

fn guest_numbers(guest: &GuestSummary) -> Markup {
    html! {
        @if let Some(verdict) = &guest.verdict {
            p.verdict.leak[verdict.is_leak] { (verdict.sentence) }
        }
        dl.numbers {
            div { dt { "live bytes" } dd { (measured(guest.live_bytes, grouped)) small { (guest.live_bytes.map(size).unwrap_or_default()) } } }
            div { dt { "live blocks" } dd { (measured(guest.live_blocks, grouped)) } }
            div {
                dt { "linear memory" }
                dd { @match guest.linear_memory_bytes { Some(bytes) => { (size(bytes)) } None => { "not known" } } }
            }
            @if let (Some(bytes), Some(blocks)) = (guest.allocated_bytes, guest.allocated_blocks) {
                div { dt { "ever allocated" } dd { (size(bytes)) small { (grouped(blocks)) " blocks" } } }
            }
            @if let Some(handles) = guest.live_handles.filter(|handles| *handles > 0) {
                div { dt { "live handles" } dd { (grouped(handles)) } }
            }
            @if let Some(calls) = guest.calls { div { dt { "calls" } dd { (grouped(calls)) } } }
            div { dt { "attribution" } dd { (guest.attribution) } }
        }
        @if let Some(why) = &guest.attribution_why { p.hint { (why) } }
        @if let Some(why) = guest.line_tables_why { p.hint { (why) } }
    }
}

fn rows(content: &Content) -> Markup {
    let changes = content.changes();
    let many = content.snapshot.guests.len() > 1;
    html! {
        h2 { "Live bytes by " (by_name(content.view.by).to_lowercase()) }
        div.scroll {
            table {
                thead {
                    tr {
                        th scope="col" { (by_name(content.view.by)) }
                        @if many { th scope="col" { "Guest" } }
                        th.number scope="col" { "Bytes" }
                        th.number scope="col" { "Blocks" }
                        th.number scope="col" { "Bytes/s" }
                        @if content.diff.calls.is_some() { th.number scope="col" { "Bytes/call" } }
                        th scope="col" { "Share" }
                    }
                }
                tbody {
                    @for row in &content.snapshot.rows {
                        @let change = changes.get(&(row.guest.as_str(), row.location.as_str())).copied();
                        tr {
                            td.place { (place(content, &row.guest, &row.location, &row.function)) (resized(row)) }
                            @if many { td { (row.guest) } }
                            td.number data-label="bytes" { (grouped(row.live_bytes)) }
                            td.number data-label="blocks" { (grouped(row.live_blocks)) }
                            td.number data-label="bytes/s" { (rate(growth(content, change, |c| c.bytes_per_second))) }
                            @if content.diff.calls.is_some() {
                                td.number data-label="bytes/call" { (rate(growth(content, change, |c| c.bytes_per_call))) }
                            }
                            td.share data-label="share" { (bar(row.share)) }
                        }
                    }
                }
            }
        }
        @if content.snapshot.rows.is_empty() {
            p {
                @if content.snapshot.live_bytes.is_some() { "No live blocks." } @else {
                    "The profiler sees no allocations, so it cannot say which lines hold memory."
                }
            }
        }
        (memory_growth(content))
    }
}

/// Where linear memory grew that the profiler sees no allocations of.
fn memory_growth(content: &Content) -> Markup {
    let rows = content.snapshot.memory_growth.iter();
    let unseen: Vec<_> = rows
        .filter(|row| row.unseen_bytes > 0)
        .take(CHANGES)
        .collect();
    html! {
        @if !unseen.is_empty() {
            h2 { "Where memory grew without a known allocator" }
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { (by_name(content.view.by)) }
                            th.number scope="col" { "Bytes since the start" }
                        }
                    }
                    tbody {
                        @for row in unseen {
                            tr {
                                td.place { (place(content, &row.guest, &row.location, &row.function)) }
                                td.number data-label="bytes" { (grouped(row.unseen_bytes)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The growth of a row. A row without a change has not grown.
fn growth(
    content: &Content,
    change: Option<&ChangeRow>,
    value: fn(&ChangeRow) -> Option<f64>,
) -> Option<f64> {
    match change {
        Some(change) => value(change),
        None => (content.diff.window_seconds > 0.0).then_some(0.0),
    }
}

fn bar(share: f64) -> Markup {
    let percent = share * 100.0;
    html! {
        svg.bar viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
            rect width=(format!("{percent:.1}")) height="10" {}
        }
        span { (format!("{percent:.1} %")) }
    }
}

fn resized(row: &Row) -> Markup {
    html! {
        @if let Some(resized) = &row.resized {
            small {
                "resized " (grouped(resized.count)) " blocks, added "
                (grouped(resized.own_bytes)) " bytes itself"
                @if !resized.from.is_empty() { ", the rest came from " (resized.from.join(", ")) }
            }
        }
    }
}

fn changes(content: &Content) -> Markup {
    let diff = &content.diff;
    html! {
        h2 { "What grew, what shrank" }
        p.hint {
            "From " (time(diff.window_seconds + diff.ended_seconds_ago)) " ago "
            @if diff.ended_seconds_ago > 0.0 { "until " (time(diff.ended_seconds_ago)) " ago." } @else { "until now." }
        }
        @if diff.growing.is_empty() && diff.shrinking.is_empty() {
            p { @if diff.bytes.is_some() { "Nothing has changed." } @else { "Not measured." } }
        }
        @for (title, rows) in [("Grew", &diff.growing), ("Shrank", &diff.shrinking)] {
            @if !rows.is_empty() {
                div.scroll {
                    table {
                        thead {
                            tr {
                                th scope="col" { (title) }
                                th.number scope="col" { "Bytes" }
                                th.number scope="col" { "Blocks" }
                                th.number scope="col" { "Bytes now" }
                            }
                        }
                        tbody {
                            @for row in rows.iter().take(CHANGES) {
                                tr {
                                    td.place { (place(content, &row.guest, &row.location, &row.function)) }
                                    td.number data-label="bytes" { (signed(row.bytes)) }
                                    td.number data-label="blocks" { (signed(row.blocks)) }
                                    td.number data-label="now" { (grouped(row.live_bytes)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
