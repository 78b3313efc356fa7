//! One stream of server-sent events for each open page, with an update after each of the monitor's
//! one-second samples.
//!
//! All resources are bounded. There are at most [`MAX_PAGES`] streams, and each buffers one update.
//! A page that does not receive an update within [`SEND_TIMEOUT`] loses its stream; its script
//! opens another. A page that is only slow misses updates, which does no harm: each update is
//! complete.
//!
//! Pages with the same view share the bytes of an update. That is why this module formats the
//! events itself: axum's `Sse` would copy them into each stream.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::update;
use crate::view::View;
use admin_api::error::{ApiError, ErrorCode};
use admin_api::{ApiState, auth};

/// The most pages that are open at once.
const MAX_PAGES: usize = 64;

/// How long a page may take to receive an update.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// The streams of all open pages, and their updates.
pub(crate) struct EventStreams {
    state: Arc<ApiState>,
    /// One permit per page.
    slots: Arc<Semaphore>,
    /// The newest update of each view, with the number of the sample that it shows.
    updates: Mutex<HashMap<View, (u64, Bytes)>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl EventStreams {
    pub(crate) fn new(
        state: Arc<ApiState>,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Self {
        EventStreams {
            state,
            slots: Arc::new(Semaphore::new(MAX_PAGES)),
            updates: Mutex::default(),
            tasks,
            stopping,
        }
    }

    /// The update of one view after one sample. The first page that asks for it has it rendered, on
    /// a blocking thread.
    async fn update(&self, view: View, sample: u64) -> Result<Bytes, ApiError> {
        let mut updates = self.updates.lock().await;
        if let Some((_, update)) = updates.get(&view).filter(|(of, _)| *of == sample) {
            return Ok(update.clone());
        }
        let state = self.state.clone();
        let rendering = tokio::task::spawn_blocking(move || update::render(&state, view));
        let json = rendering.await.map_err(|e| ApiError::internal(&e))??;
        // The JSON has no line breaks, so it is one line of data.
        let update = Bytes::from(format!("event: update\nid: {sample}\ndata: {json}\n\n"));
        updates.insert(view, (sample, update.clone()));
        Ok(update)
    }

    /// Sends updates until the page closes its stream, a send times out or the host stops.
    async fn run(&self, view: View, page: mpsc::Sender<Bytes>, slot: OwnedSemaphorePermit) {
        let mut samples = self.state.monitor.samples_taken();
        loop {
            let sample = *samples.borrow_and_update();
            let Ok(update) = self.update(view, sample).await else {
                break;
            };
            let sent = tokio::select! {
                sent = page.send_timeout(update, SEND_TIMEOUT) => sent.is_ok(),
                () = self.stopping.cancelled() => false,
            };
            let open = sent
                && tokio::select! {
                    changed = samples.changed() => changed.is_ok(),
                    () = page.closed() => false,
                    () = self.stopping.cancelled() => false,
                };
            if !open {
                break;
            }
        }
        drop(slot);
        // The last page is closed: the updates are not needed any more.
        if self.slots.available_permits() == MAX_PAGES {
            self.updates.lock().await.clear();
        }
    }
}

/// Opens the stream of one page.
pub(crate) async fn open(
    State(streams): State<Arc<EventStreams>>,
    headers: HeaderMap,
    view: View,
) -> Result<Response, ApiError> {
    // A page of another origin cannot read the stream, but it could take the places of others.
    auth::refuse_foreign(&streams.state, &headers)?;
    let slot = streams.slots.clone().try_acquire_owned().map_err(|_| {
        ApiError::new(
            ErrorCode::TooManyPages,
            format!("{MAX_PAGES} pages of the console are already open"),
            "close one; this page tries again",
        )
    })?;
    let (page, updates) = mpsc::channel(1);
    let sender = streams.clone();
    streams
        .tasks
        .spawn(async move { sender.run(view, page, slot).await });
    let updates = stream::unfold(updates, async |mut updates| {
        let update = updates.recv().await?;
        Some((Ok::<Bytes, Infallible>(update), updates))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, Body::from_stream(updates)).into_response())
}
