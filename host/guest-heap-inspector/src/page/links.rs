//! Links to the page itself, with the source of a line.

use guest_heap::snapshot::GroupBy;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Content;
use crate::source_file::split_location;

/// A location with its function, as a link to the source if it is a line.
pub(super) fn place(content: &Content, guest: &str, location: &str, function: &str) -> Markup {
    html! {
        (linked(content, guest, location))
        @if function != location { small { (function) } }
    }
}

pub(super) fn linked(content: &Content, guest: &str, location: &str) -> Markup {
    let is_line = split_location(location).is_ok();
    html! {
        @if content.has_sources && is_line {
            a href=(view_link(content, guest, location)) { (location) }
        } @else {
            code { (location) }
        }
    }
}

/// The address of this page with the source of a line.
pub(super) fn view_link(content: &Content, guest: &str, location: &str) -> String {
    let view = &content.view;
    let until = match view.until.as_str() {
        "" => String::new(),
        until => format!("&until={until}"),
    };
    format!(
        "?guest={}&since={}{until}&group_by={}&location={}#source",
        encoded(guest),
        view.since,
        by_name(view.by).to_lowercase(),
        encoded(location)
    )
}

pub(super) fn by_name(by: GroupBy) -> &'static str {
    match by {
        GroupBy::Line | GroupBy::Trace => "Line",
        GroupBy::Function => "Function",
        GroupBy::File => "File",
    }
}

pub(super) fn guest_query(guest: Option<&str>) -> String {
    guest.map_or_else(String::new, |guest| format!("?guest={}", encoded(guest)))
}

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
