//! The routes and their handlers.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::extract::rejection::StringRejection;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use guest_heap::diff::Baseline;
use guest_heap::folded;
use guest_heap::pprof::text;
use serde::Serialize;

use crate::blocking::blocking;
use crate::error::{self, InspectorError};
use crate::flamegraph::{self, Flamegraph};
use crate::inspector::{GuestHeap, Inspector};
use crate::options::Options;
use crate::page;
use crate::parameters::Parameters;
use crate::profile::{NamedSnapshots, ProfileKind, ProfileRequest};
use crate::query::{ago, libraries};
use crate::reports::diff::{DiffReport, Window};
use crate::reports::history::HistoryReport;
use crate::reports::metrics::{self, TextFormat};
use crate::reports::snapshot::SnapshotReport;
use crate::reports::source::SourceReport;
use crate::source::HeapSource;
use crate::source_file;

/// Rows of an answer without a `limit`.
const DEFAULT_ROWS: usize = 20;

/// Series of a history without a `limit`.
const DEFAULT_SERIES: usize = 10;

/// The `since` of a diff without one.
const DEFAULT_SINCE: &str = "1m";

type Shared = State<Arc<Inspector>>;

/// The router of a new inspector, whose history a task keeps until the router is dropped.
///
/// Merge it with the routes of the host, or nest it to serve it below another path.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn router(source: impl HeapSource, options: Options) -> Router {
    let inspector = Inspector::new(source, options);
    tokio::spawn(inspector.keep_history());
    inspector.router()
}

impl Inspector {
    /// The routes of this inspector.
    pub fn router(self: &Arc<Self>) -> Router {
        let profiles = Router::new()
            .route(
                "/debug/pprof/",
                get(async || Redirect::temporary("../heap/")),
            )
            .route("/debug/pprof/heap", get(heap_profile))
            .route("/debug/pprof/allocs", get(allocs_profile))
            .route("/debug/pprof/{*path}", get(error::not_found))
            .method_not_allowed_fallback(error::method_not_allowed)
            .with_state(self.clone());
        self.heap_router()
            .merge(self.symbol_router())
            .merge(profiles)
    }

    /// The route `/debug/pprof/symbol`, for a host that has its own handlers of the profiles.
    pub fn symbol_router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/debug/pprof/symbol", get(symbol_query).post(symbol_body))
            .method_not_allowed_fallback(error::method_not_allowed)
            .with_state(self.clone())
    }

    /// The routes below `/debug/heap/`, for a host that has its own handlers of the profiles.
    pub fn heap_router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/debug/heap", get(async || Redirect::temporary("heap/")))
            .route("/debug/heap/", get(page::show))
            .route("/debug/heap/page.css", get(page::style))
            .route("/debug/heap/page.js", get(page::script))
            .route("/debug/heap/snapshot", get(snapshot))
            .route("/debug/heap/diff", get(diff))
            .route("/debug/heap/history", get(history))
            .route("/debug/heap/flamegraph", get(flamegraph))
            .route("/debug/heap/folded", get(folded_text))
            .route("/debug/heap/metrics", get(metrics_text))
            .route("/debug/heap/source", get(source))
            .route("/debug/heap/{*path}", get(error::not_found))
            .method_not_allowed_fallback(error::method_not_allowed)
            .with_state(self.clone())
    }
}

async fn snapshot(State(inspector): Shared, uri: Uri) -> Result<Response, InspectorError> {
    let query = Parameters::of(&uri, &["guest", "limit", "group_by"])?;
    let (by, limit) = (query.group_by()?, query.limit(DEFAULT_ROWS)?);
    let heaps = inspector.heaps(query.get("guest")).await?;
    json(move || SnapshotReport::of(&heaps, by, limit).judged(&inspector)).await
}

async fn diff(State(inspector): Shared, uri: Uri) -> Result<Response, InspectorError> {
    let known = &["guest", "limit", "group_by", "since", "until"];
    let query = Parameters::of(&uri, known)?;
    let (by, limit) = (query.group_by()?, query.limit(DEFAULT_ROWS)?);
    let since = ago("since", query.get("since").unwrap_or(DEFAULT_SINCE))?;
    let until = query.get("until").map(|text| ago("until", text));
    let window = Window::new(since, until.transpose()?, by)?;
    let heaps = inspector.heaps(query.get("guest")).await?;
    json(move || DiffReport::of(&inspector, &heaps, window, by, limit)).await
}

async fn history(State(inspector): Shared, uri: Uri) -> Result<Response, InspectorError> {
    let query = Parameters::of(&uri, &["guest", "limit"])?;
    let limit = query.limit(DEFAULT_SERIES)?;
    let heaps = inspector.heaps(query.get("guest")).await?;
    json(move || HistoryReport::of(&inspector, &heaps, limit)).await
}

async fn flamegraph(State(inspector): Shared, uri: Uri) -> Result<Response, InspectorError> {
    let query = Parameters::of(&uri, &["guest", "since", "libraries"])?;
    let libraries = libraries(query.get("libraries"))?;
    let since = query.get("since").map(|text| ago("since", text));
    let since = since.transpose()?;
    let heaps = inspector.heaps(query.get("guest")).await?;
    let graph = match since {
        None => Flamegraph::Live(named(&heaps)),
        Some(since) => {
            let change = heaps.iter().map(|heap| {
                let kept = inspector.history(&heap.guest);
                let then = kept.lock().stacks_before(since, &heap.snapshot);
                let then = then.map_or_else(|| Baseline::empty(&heap.snapshot), |(then, _)| then);
                (heap.guest.clone(), Arc::new(then), heap.snapshot.clone())
            });
            Flamegraph::Change(change.collect())
        }
    };
    let svg = graph.draw(libraries).await;
    Ok(flamegraph::response(
        svg.map_err(|e| InspectorError::internal(&e))?,
    ))
}

async fn folded_text(State(inspector): Shared, uri: Uri) -> Result<Response, InspectorError> {
    let query = Parameters::of(&uri, &["guest"])?;
    let heaps = inspector.heaps(query.get("guest")).await?;
    let text = blocking(move || {
        let guests = heaps.iter();
        let folded = guests.map(|heap| folded::live_bytes(&heap.snapshot, Some(&heap.guest)));
        folded.collect::<String>()
    });
    Ok(plain_text("text/plain; charset=utf-8", text.await?))
}

async fn metrics_text(
    State(inspector): Shared,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, InspectorError> {
    Parameters::of(&uri, &[])?;
    let accept = headers.get(header::ACCEPT);
    let format = TextFormat::of_accept(accept.and_then(|accept| accept.to_str().ok()));
    let heaps = inspector.heaps(None).await?;
    let text = blocking(move || metrics::text(&heaps, format)).await?;
    Ok(plain_text(format.media_type(), text))
}

async fn source(State(inspector): Shared, uri: Uri) -> Result<Response, InspectorError> {
    let query = Parameters::of(&uri, &["guest", "location", "context"])?;
    let context = source_file::context(query.get("context"))?;
    let location = query.get("location").unwrap_or_default();
    source_file::split_location(location)?;
    let heap = inspector.only_heap(query.get("guest")).await?;
    let report = SourceReport::of(&inspector, heap, location, context).await?;
    Ok(Json(report).into_response())
}

async fn heap_profile(inspector: Shared, uri: Uri) -> Result<Response, InspectorError> {
    profile(inspector, uri, ProfileKind::Heap).await
}

async fn allocs_profile(inspector: Shared, uri: Uri) -> Result<Response, InspectorError> {
    profile(inspector, uri, ProfileKind::Allocs).await
}

async fn profile(
    State(inspector): Shared,
    uri: Uri,
    kind: ProfileKind,
) -> Result<Response, InspectorError> {
    let query = Parameters::of(&uri, &["guest", "seconds", "debug", "gc"])?;
    let [seconds, debug, gc] = ["seconds", "debug", "gc"].map(|name| query.get(name));
    let request = ProfileRequest::new(kind, seconds, debug, gc)?;
    let guest = query.get("guest");
    let read = || async { Ok(named(&inspector.heaps(guest).await?)) };
    inspector.profiles.respond(request, read).await
}

/// `GET /debug/pprof/symbol?0x1f2+0x3a0`.
async fn symbol_query(State(inspector): Shared, uri: Uri) -> Result<Response, InspectorError> {
    symbol(&inspector, uri.query().unwrap_or_default()).await
}

/// The same with the addresses in the body, as `go tool pprof` asks.
async fn symbol_body(
    State(inspector): Shared,
    addresses: Result<String, StringRejection>,
) -> Result<Response, InspectorError> {
    let addresses =
        addresses.map_err(|error| InspectorError::unreadable_addresses(&error.body_text()))?;
    symbol(&inspector, &addresses).await
}

/// The names of the addresses in a profile as text. Skips what is no address.
async fn symbol(inspector: &Inspector, addresses: &str) -> Result<Response, InspectorError> {
    let hex = |text: &str| u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok();
    let addresses: Vec<u64> = addresses.split('+').filter_map(hex).collect();
    let heaps = inspector.heaps(None).await?;
    let names = blocking(move || {
        let guests: Vec<_> = heaps
            .iter()
            .map(|heap| (heap.guest.as_str(), &*heap.snapshot))
            .collect();
        text::names(&guests, &addresses)
    });
    Ok(plain_text("text/plain; charset=utf-8", names.await?))
}

impl Inspector {
    /// The heap of the named guest; without a name, that of the only one.
    pub(crate) async fn only_heap(
        &self,
        guest: Option<&str>,
    ) -> Result<Arc<GuestHeap>, InspectorError> {
        let guests = self.guests();
        let name = match (guest, guests.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) => only,
            (None, _) => "",
        };
        match self.heaps(Some(name)).await?.pop() {
            Some(heap) => Ok(heap),
            None => Err(InspectorError::unknown_guest(name, &guests)),
        }
    }
}

fn named(heaps: &[Arc<GuestHeap>]) -> NamedSnapshots {
    let heaps = heaps.iter();
    heaps
        .map(|heap| (heap.guest.clone(), heap.snapshot.clone()))
        .collect()
}

fn plain_text(media_type: &'static str, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text).into_response()
}

/// Builds a report where blocking is allowed, and answers with it.
async fn json<T: Serialize + Send + 'static>(
    build: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, InspectorError> {
    Ok(Json(blocking(build).await?).into_response())
}
