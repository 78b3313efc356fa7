//! One stream of server-sent events for each open page, fed by the monitor's one-second samples.
//!
//! Bounded in every direction: [`PAGES`] pages at once, one frame waiting for each, and a page that does not take a
//! frame for [`PATIENCE`] loses its stream (its script opens another). A page that is merely slow misses frames, which
//! costs nothing: each frame is whole. The bytes of a frame are shared by all pages that look alike, which is why the
//! events are put together here and not copied into each stream by axum's `Sse`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Console;
use super::frame;
use admin_api::Lab;
use admin_api::error::ApiError;

/// Pages that may be open at once.
const PAGES: usize = 64;

/// How long a page may leave a frame untaken.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a page wants to see: pages of equal views share their frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct View {
    /// How far back the charts go.
    pub(super) window: Duration,
    /// Whether there is room for large charts.
    pub(super) wide: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewQuery {
    window: Option<String>,
    wide: Option<bool>,
}

impl<S: Send + Sync> FromRequestParts<S> for View {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(query) = Query::<ViewQuery>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::invalid_value("query", "takes window and wide"))?;
        let minutes = match query.window.as_deref() {
            Some("1m") => 1,
            None | Some("5m") => 5,
            Some("15m") => 15,
            Some(_) => return Err(ApiError::invalid_value("window", "takes 1m, 5m or 15m")),
        };
        Ok(View {
            window: Duration::from_secs(60 * minutes),
            wide: query.wide.unwrap_or(true),
        })
    }
}

/// The open pages and their frames.
pub(super) struct Feed {
    lab: Arc<Lab>,
    slots: Arc<Semaphore>,
    /// The newest frame of each view, and the sample that it shows.
    frames: Mutex<HashMap<View, (u64, Bytes)>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Feed {
    /// A feed without pages.
    pub(super) fn new(lab: Arc<Lab>, tasks: TaskTracker, stopping: CancellationToken) -> Self {
        Feed {
            lab,
            slots: Arc::new(Semaphore::new(PAGES)),
            frames: Mutex::default(),
            tasks,
            stopping,
        }
    }

    /// The frame of one view at one sample: drawn for the first page that asks, off the async threads.
    async fn frame(&self, view: View, tick: u64) -> Result<Bytes, ApiError> {
        let mut frames = self.frames.lock().await;
        if let Some((_, frame)) = frames.get(&view).filter(|(of, _)| *of == tick) {
            return Ok(frame.clone());
        }
        let lab = self.lab.clone();
        let drawn = tokio::task::spawn_blocking(move || frame::draw(&lab, view));
        let json = drawn.await.map_err(|e| ApiError::internal(&e))??;
        // JSON has no line breaks, so one frame is one line of data.
        let frame = Bytes::from(format!("event: frame\nid: {tick}\ndata: {json}\n\n"));
        frames.insert(view, (tick, frame.clone()));
        Ok(frame)
    }

    /// Sends frames until the page goes, does not take them, or the host stops.
    async fn run(&self, view: View, page: mpsc::Sender<Bytes>, slot: OwnedSemaphorePermit) {
        let mut ticks = self.lab.monitor.samples_taken();
        loop {
            let tick = *ticks.borrow_and_update();
            let Ok(frame) = self.frame(view, tick).await else {
                break;
            };
            let sent = tokio::select! {
                sent = page.send_timeout(frame, PATIENCE) => sent.is_ok(),
                () = self.stopping.cancelled() => false,
            };
            let more = sent
                && tokio::select! {
                    changed = ticks.changed() => changed.is_ok(),
                    () = page.closed() => false,
                    () = self.stopping.cancelled() => false,
                };
            if !more {
                break;
            }
        }
        drop(slot);
        if self.slots.available_permits() == PAGES {
            self.frames.lock().await.clear();
        }
    }
}

/// Opens the stream of one page.
pub(crate) async fn events(
    State(console): State<Arc<Console>>,
    view: View,
) -> Result<Response, ApiError> {
    let slots = console.feed.slots.clone();
    let slot = slots.try_acquire_owned().map_err(|_| {
        ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_pages",
            format!("{PAGES} pages of the console are open already"),
            "close one; this page tries again by itself",
        )
    })?;
    let (page, frames) = mpsc::channel(1);
    let feeder = console.clone();
    console
        .feed
        .tasks
        .spawn(async move { feeder.feed.run(view, page, slot).await });
    let frames = stream::unfold(frames, async |mut frames| {
        let frame = frames.recv().await?;
        Some((Ok::<Bytes, Infallible>(frame), frames))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}
