//! The parts of the page below its tables: call stacks, sources and flame graphs.

use guest_heap::grouped;
use guest_heap::snapshot::GroupBy;
use maud::{Markup, html};

use super::Content;
use super::links::{by_name, encoded, linked, place};
use super::numbers::{signed, time};
use crate::error::InspectorError;
use crate::reports::handles::HandleRow;
use crate::reports::source::SourceReport;
use crate::stack::TraceFrame;

pub(super) fn stacks(content: &Content) -> Markup {
    html! {
        h2 {
            @match &content.view.location {
                Some(location) => { "Call stacks through " code { (location) } }
                None => { "Call stacks with the most live bytes" }
            }
        }
        @if content.stacks.rows.is_empty() { p { "None." } }
        @for (index, row) in content.stacks.rows.iter().enumerate() {
            details data-key=(format!("stack-{index}")) {
                summary {
                    strong { (grouped(row.live_bytes)) } " bytes in " (counted_blocks(row.live_blocks)) " at "
                    code { (row.location) }
                }
                ol.stack {
                    @for frame in &row.trace { li class=(frame.kind) { (frame_markup(content, &row.guest, frame)) } }
                }
            }
        }
    }
}

fn frame_markup(content: &Content, guest: &str, frame: &TraceFrame) -> Markup {
    html! {
        (frame.function) " "
        @if let Some(location) = &frame.location { (linked(content, guest, location)) }
    }
}

pub(super) fn source_view(
    content: &Content,
    source: &Result<SourceReport, InspectorError>,
) -> Markup {
    html! {
        section #source .card {
            h2 { "Source" }
            @match source {
                Ok(source) => {
                    p { code { (source.file) } " at line " (source.line) " in " (source.guest) }
                    div.scroll {
                        table.source {
                            @for (index, line) in source.lines.iter().enumerate() {
                                @let number = source.first_line + index;
                                tr.hit[number == source.line as usize] {
                                    th.number scope="row" { (number) }
                                    td { pre { (line) } }
                                }
                            }
                        }
                    }
                }
                Err(error) => {
                    p { (error.message()) }
                    p.hint { (error.hint()) }
                }
            }
            p { a href=(format!("?guest={}", content.view.guest.as_deref().map(encoded).unwrap_or_default())) { "Close" } }
        }
    }
}

pub(super) fn flame_graphs(content: &Content) -> Markup {
    let view = &content.view;
    let guest = view
        .guest
        .as_deref()
        .map(|guest| format!("&guest={}", encoded(guest)));
    let guest = guest.unwrap_or_default();
    let live = format!("flamegraph?libraries=folded{guest}");
    let change = format!("flamegraph?since={}{guest}", view.since);
    html! {
        h2 { "Flame graph" }
        p {
            a href=(live) { "Live bytes" } " · "
            a href=(change) { "change in " (view.since) } " · "
            a href=(format!("flamegraph?libraries=shown{guest}")) { "with library frames" }
        }
        iframe src=(live) title="Flame graph of live bytes by call stack" height=(content.flame_height)
            loading="lazy" {}
    }
}

/// Resources, streams and futures that have not been dropped.
pub(super) fn handles(content: &Content) -> Markup {
    let report = &content.snapshot.handles;
    let changes = &content.diff.handles;
    let many = content.snapshot.guests.len() > 1;
    let change = |row: &HandleRow| {
        let mut rows = changes.rows.iter();
        let same = rows.find(|change| {
            (&change.guest, &change.ty, &change.location) == (&row.guest, &row.ty, &row.location)
        });
        same.map_or(0, |change| change.change)
    };
    let has_changes = changes.window_seconds > 0.0 && content.view.by == GroupBy::Line;
    html! {
        h2 { "Live handles" }
        p.hint { "Resources, streams and futures that the guest has got and not dropped." }
        @if report.rows.is_empty() { p { "None." } } @else {
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { (by_name(content.view.by)) }
                            @if many { th scope="col" { "Guest" } }
                            th scope="col" { "Type" }
                            th.number scope="col" { "Live" }
                            th.number scope="col" { "Ever got" }
                            @if has_changes {
                                th.number scope="col" { "Change in " (time(changes.window_seconds)) }
                            }
                        }
                    }
                    tbody {
                        @for row in &report.rows {
                            tr {
                                td.place { (place(content, &row.guest, &row.location, &row.function)) }
                                @if many { td { (row.guest) } }
                                td data-label="type" { code { (row.ty) } }
                                td.number data-label="live" { (grouped(row.live)) }
                                td.number data-label="ever got" { (grouped(row.ever_got)) }
                                @if has_changes { td.number data-label="change" { (signed(change(row))) } }
                            }
                        }
                    }
                }
            }
        }
        @for gap in &report.not_counted { p.hint { "Not counted: " (gap) } }
    }
}

fn counted_blocks(blocks: u64) -> String {
    match blocks {
        1 => "1 block".to_owned(),
        blocks => format!("{} blocks", grouped(blocks)),
    }
}
