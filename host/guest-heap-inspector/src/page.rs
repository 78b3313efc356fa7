//! The page at `/debug/heap/`: one document, rendered by the host. It works without scripts; its
//! script only refreshes it.

mod chart;
mod details;
mod links;
mod markup;
mod numbers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use guest_heap::snapshot::GroupBy;

use crate::blocking::blocking;
use crate::error::InspectorError;
use crate::inspector::{GuestHeap, Inspector};
use crate::parameters::Parameters;
use crate::query::{InvalidParameter, MAX_ROWS, ago, group_by, limit};
use crate::reports::diff::{ChangeRow, DiffReport, Window};
use crate::reports::snapshot::{Row, SnapshotReport};
use crate::reports::source::SourceReport;
use chart::Chart;

/// Everything comes from this host, and nothing is inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

const PROTECTION: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];

/// Rows of the table, unless the query has a `limit`.
const DEFAULT_ROWS: usize = 20;

/// Call stacks below the table.
const STACKS: usize = 10;

/// Call stacks in which the chosen line is looked for.
const SEARCHED_STACKS: usize = 1000;

/// Lines before and after the chosen one.
const CONTEXT_LINES: usize = 12;

/// Pixels of a flame graph: around its boxes, and of each box.
const FLAME_MARGIN: usize = 110;
const FLAME_BOX: usize = 16;
const MAX_FLAME_HEIGHT: usize = 1600;

/// What the page shows.
#[derive(Debug, Clone)]
struct View {
    /// `None` for all guests.
    guest: Option<String>,
    since: String,
    until: String,
    begin_ago: Duration,
    end_ago: Option<Duration>,
    by: GroupBy,
    limit: usize,
    /// The line whose source is shown.
    location: Option<String>,
}

/// The content of the page.
struct Content {
    title: String,
    guests: Vec<String>,
    view: View,
    snapshot: SnapshotReport,
    diff: DiffReport,
    /// Call stacks with the most live bytes; those with the chosen line, if there is one.
    stacks: SnapshotReport,
    chart: Option<Chart>,
    /// Pixels that the flame graph of live bytes takes.
    flame_height: usize,
    source: Option<Result<SourceReport, InspectorError>>,
    /// Whether locations are links to the source view.
    has_sources: bool,
}

impl View {
    fn of(uri: &Uri) -> Result<Self, InspectorError> {
        let known = &["guest", "since", "until", "group_by", "limit", "location"];
        let query = Parameters::of(uri, known)?;
        // A form sends its empty fields, too.
        let get = |name| query.get(name).filter(|value| !value.is_empty());
        let since = get("since").unwrap_or("1m");
        let until = get("until");
        let by = match group_by(get("group_by"))? {
            GroupBy::Trace => {
                return Err(InspectorError::from(InvalidParameter {
                    name: "group_by",
                    accepts: "takes line, function or file on this page",
                }));
            }
            by => by,
        };
        Ok(View {
            guest: get("guest").map(str::to_owned),
            begin_ago: ago("since", since)?,
            end_ago: until.map(|text| ago("until", text)).transpose()?,
            since: since.to_owned(),
            until: until.unwrap_or_default().to_owned(),
            by,
            limit: limit(get("limit"), DEFAULT_ROWS)?,
            location: get("location").map(str::to_owned),
        })
    }
}

impl Content {
    fn of(
        inspector: &Inspector,
        guests: Vec<String>,
        heaps: &[Arc<GuestHeap>],
        view: View,
    ) -> Self {
        // The limits were checked with the query.
        let window = Window::new(view.begin_ago, view.end_ago, view.by).unwrap_or_default();
        let mut stacks = SnapshotReport::of(heaps, GroupBy::Trace, SEARCHED_STACKS);
        let flame_height = flame_height(&stacks);
        if let Some(location) = &view.location {
            let named =
                |frame: &crate::stack::TraceFrame| frame.location.as_ref() == Some(location);
            stacks.rows.retain(|row| row.trace.iter().any(named));
        }
        stacks.rows.truncate(STACKS);
        Content {
            title: inspector.options.title.clone(),
            snapshot: SnapshotReport::of(heaps, view.by, view.limit).judged(inspector),
            diff: DiffReport::of(inspector, heaps, window, view.by, MAX_ROWS),
            stacks,
            chart: Chart::of(inspector, heaps),
            flame_height,
            source: None,
            has_sources: !inspector.source_roots.is_empty(),
            guests,
            view,
        }
    }

    /// The changes of the window by guest and location.
    fn changes(&self) -> HashMap<(&str, &str), &ChangeRow> {
        let changes = self.diff.growing.iter().chain(&self.diff.shrinking);
        changes
            .map(|row| ((row.guest.as_str(), row.location.as_str()), row))
            .collect()
    }
}

/// Pixels that a flame graph of these stacks takes. Neighbouring frames of libraries are one box.
fn flame_height(stacks: &SnapshotReport) -> usize {
    let boxes = |row: &Row| {
        let runs = row
            .trace
            .chunk_by(|a, b| a.kind != "own" && b.kind != "own");
        runs.count()
    };
    let boxes = stacks.rows.iter().map(boxes).max().unwrap_or_default();
    // Below the boxes of the stack are those of the guest and of all guests.
    (FLAME_MARGIN + (boxes + 2) * FLAME_BOX).min(MAX_FLAME_HEIGHT)
}

/// `GET /debug/heap/`.
pub(crate) async fn show(
    State(inspector): State<Arc<Inspector>>,
    uri: Uri,
) -> Result<Response, InspectorError> {
    let view = View::of(&uri)?;
    Window::new(view.begin_ago, view.end_ago, view.by)?;
    let guests = inspector.guests();
    let heaps = inspector.heaps(view.guest.as_deref()).await?;
    let source = match &view.location {
        Some(location) => Some(source(&inspector, &heaps, location).await),
        None => None,
    };
    let mut content = blocking(move || Content::of(&inspector, guests, &heaps, view)).await?;
    content.source = source;
    Ok((PROTECTION, Html(markup::page(&content).into_string())).into_response())
}

/// The source around a line, by the first guest whose heap names it.
async fn source(
    inspector: &Inspector,
    heaps: &[Arc<GuestHeap>],
    location: &str,
) -> Result<SourceReport, InspectorError> {
    let mut result = Err(InspectorError::unknown_guest("", &[]));
    for heap in heaps {
        result = SourceReport::of(inspector, heap.clone(), location, CONTEXT_LINES).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

/// `GET /debug/heap/page.css`.
pub(crate) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("page/page.css"))
}

/// `GET /debug/heap/page.js`.
pub(crate) async fn script() -> Response {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("page/page.js"),
    )
}

fn asset(media_type: &'static str, text: &'static str) -> Response {
    (PROTECTION, [(header::CONTENT_TYPE, media_type)], text).into_response()
}
