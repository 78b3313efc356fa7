//! The parts of the page below its tables: call stacks, sources and flame graphs.

use guest_heap::grouped;
use maud::{Markup, html};

use super::Content;
use super::links::{encoded, linked};
use crate::error::InspectorError;
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

fn counted_blocks(blocks: u64) -> String {
    match blocks {
        1 => "1 block".to_owned(),
        blocks => format!("{} blocks", grouped(blocks)),
    }
}
