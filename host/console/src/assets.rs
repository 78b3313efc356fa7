//! The page's files, compiled into the host's binary.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use admin_api::error::{ApiError, ErrorCode};
use admin_api::path_name::PathName;

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The name, the media type and the content of each file.
const FILES: [(&str, &str, &str); 28] = [
    ("base.css", CSS, include_str!("assets/base.css")),
    ("views.css", CSS, include_str!("assets/views.css")),
    ("charts.css", CSS, include_str!("assets/charts.css")),
    ("icon.svg", SVG, include_str!("assets/icon.svg")),
    ("main.js", SCRIPT, include_str!("assets/main.js")),
    ("alerts.js", SCRIPT, include_str!("assets/alerts.js")),
    ("api.js", SCRIPT, include_str!("assets/api.js")),
    ("dom.js", SCRIPT, include_str!("assets/dom.js")),
    ("events.js", SCRIPT, include_str!("assets/events.js")),
    ("exercises.js", SCRIPT, include_str!("assets/exercises.js")),
    ("flame.js", SCRIPT, include_str!("assets/flame.js")),
    ("fleet.css", CSS, include_str!("assets/fleet.css")),
    ("fleet.js", SCRIPT, include_str!("assets/fleet.js")),
    ("format.js", SCRIPT, include_str!("assets/format.js")),
    ("memory.js", SCRIPT, include_str!("assets/memory.js")),
    ("moment.js", SCRIPT, include_str!("assets/moment.js")),
    ("mystery.js", SCRIPT, include_str!("assets/mystery.js")),
    ("overview.js", SCRIPT, include_str!("assets/overview.js")),
    ("plugins.js", SCRIPT, include_str!("assets/plugins.js")),
    (
        "post_mortem_banner.js",
        SCRIPT,
        include_str!("assets/post_mortem_banner.js"),
    ),
    ("progress.js", SCRIPT, include_str!("assets/progress.js")),
    ("settings.js", SCRIPT, include_str!("assets/settings.js")),
    ("snapshots.js", SCRIPT, include_str!("assets/snapshots.js")),
    ("source.js", SCRIPT, include_str!("assets/source.js")),
    ("state.js", SCRIPT, include_str!("assets/state.js")),
    ("stream.js", SCRIPT, include_str!("assets/stream.js")),
    ("traffic.js", SCRIPT, include_str!("assets/traffic.js")),
    ("verdict.js", SCRIPT, include_str!("assets/verdict.js")),
];

pub(crate) async fn show(PathName(file): PathName) -> Response {
    match FILES.iter().find(|(name, _, _)| *name == file) {
        Some((_, media_type, text)) => {
            ([(header::CONTENT_TYPE, *media_type)], *text).into_response()
        }
        None => ApiError::new(
            ErrorCode::NotFound,
            "the console does not have this file",
            "GET / is the console; GET /docs lists the API",
        )
        .into_response(),
    }
}
