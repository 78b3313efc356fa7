//! One stream of server-sent events for each open page, with an update after each of the monitor's
//! one-second samples.
//!
//! All resources are bounded. There are at most [`MAX_PAGES`] streams, and each buffers one update.
//! A page that does not receive an update within [`SEND_TIMEOUT`] loses its stream; its script
//! opens another. A page that is only slow misses updates, which does no harm: each update is
//! complete.
//!
//! One more page is served at the limit too: it takes the place of a stream that is not read, or
//! else of the oldest one. Clients that open streams and read nothing lock out nobody that way.
//!
//! Pages with the same view share the bytes of an update. That is why this module formats the
//! events itself: axum's `Sse` would copy them into each stream.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::update;
use crate::view::View;
use admin_api::error::ApiError;
use admin_api::{ApiState, auth};

/// The most pages that are open at once.
const MAX_PAGES: usize = 64;

/// How long a page may take to receive an update.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// The streams of all open pages, and their updates.
pub(crate) struct EventStreams {
    state: Arc<ApiState>,
    pages: Pages,
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
            pages: Pages::default(),
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
    async fn run(&self, view: View, page: mpsc::Sender<Bytes>, (number, place): (u64, Arc<Place>)) {
        let mut samples = self.state.monitor.samples_taken();
        loop {
            let sample = *samples.borrow_and_update();
            let Ok(update) = self.update(view, sample).await else {
                break;
            };
            place.set_unread(page.capacity() == 0);
            let sent = tokio::select! {
                sent = page.send_timeout(update, SEND_TIMEOUT) => sent.is_ok(),
                () = place.taken.cancelled() => false,
                () = self.stopping.cancelled() => false,
            };
            place.set_unread(false);
            let open = sent
                && tokio::select! {
                    changed = samples.changed() => changed.is_ok(),
                    () = page.closed() => false,
                    () = place.taken.cancelled() => false,
                    () = self.stopping.cancelled() => false,
                };
            if !open {
                break;
            }
        }
        // The last page is closed: the updates are not needed any more.
        if self.pages.leave(number) == 0 {
            self.updates.lock().await.clear();
        }
    }
}

/// The places of the open pages, by a number that increases: the smallest is the oldest.
#[derive(Default)]
struct Pages(std::sync::Mutex<OpenPages>);

#[derive(Default)]
struct OpenPages {
    next: u64,
    places: BTreeMap<u64, Arc<Place>>,
}

/// The place of one page.
#[derive(Default)]
struct Place {
    /// Cancelled when another page takes the place.
    taken: CancellationToken,
    /// Whether an update waits for the page to take the one before.
    unread: AtomicBool,
}

impl Place {
    fn set_unread(&self, unread: bool) {
        self.unread.store(unread, Ordering::Relaxed);
    }
}

impl Pages {
    fn lock(&self) -> MutexGuard<'_, OpenPages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more page. At the limit it is the place of another page.
    fn enter(&self) -> (u64, Arc<Place>) {
        let mut open = self.lock();
        if open.places.len() >= MAX_PAGES {
            let mut places = open.places.iter();
            let unread = places.find(|(_, place)| place.unread.load(Ordering::Relaxed));
            let oldest = unread.or(open.places.first_key_value());
            if let Some(number) = oldest.map(|(number, _)| *number)
                && let Some(place) = open.places.remove(&number)
            {
                place.taken.cancel();
            }
        }
        let (number, place) = (open.next, Arc::<Place>::default());
        open.next += 1;
        open.places.insert(number, place.clone());
        (number, place)
    }

    /// Frees a place, and returns how many are left.
    fn leave(&self, number: u64) -> usize {
        let mut open = self.lock();
        open.places.remove(&number);
        open.places.len()
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
    let place = streams.pages.enter();
    let (page, updates) = mpsc::channel(1);
    let sender = streams.clone();
    streams
        .tasks
        .spawn(async move { sender.run(view, page, place).await });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_page_takes_the_place_of_an_unread_or_the_oldest_one() {
        let pages = Pages::default();
        let open: Vec<_> = (0..MAX_PAGES).map(|_| pages.enter()).collect();
        let taken = || -> Vec<usize> {
            let numbers = open.iter().enumerate();
            let taken = numbers.filter(|(_, (_, place))| place.taken.is_cancelled());
            taken.map(|(n, _)| n).collect()
        };
        assert!(taken().is_empty());
        open[40].1.set_unread(true);
        pages.enter();
        assert_eq!(taken(), [40]);
        let (last, _) = pages.enter();
        assert_eq!(taken(), [0, 40]);
        assert_eq!(pages.leave(last), MAX_PAGES - 1);
        pages.enter();
        assert_eq!(taken(), [0, 40], "a closed page leaves room");
    }
}
