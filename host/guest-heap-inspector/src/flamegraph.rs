//! Flame graphs of several guests as SVG.

use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use guest_heap::diff::Baseline;
use guest_heap::flamegraph::{
    CONTENT_SECURITY_POLICY, Libraries, MEDIA_TYPE, difference_with, live_bytes_with,
};
use guest_heap::snapshot::Snapshot;

use crate::profile::NamedSnapshots;

/// What a flame graph shows.
#[derive(Debug)]
pub enum Flamegraph {
    /// Live bytes.
    Live(NamedSnapshots),
    /// What has changed in each guest since a baseline.
    Change(Vec<(String, Arc<Baseline>, Arc<Snapshot>)>),
}

/// A flame graph cannot be drawn.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot draw the flame graph: {0}")]
pub struct DrawError(String);

impl Flamegraph {
    /// Draws the SVG where blocking is allowed.
    ///
    /// # Errors
    ///
    /// The drawing library fails. It is not known to fail for any input.
    pub async fn draw(self, libraries: Libraries) -> Result<String, DrawError> {
        self.draw_with_note(libraries, None).await
    }

    /// The same with a note in the title of a difference.
    ///
    /// # Errors
    ///
    /// As for [`Flamegraph::draw`].
    pub async fn draw_with_note(
        self,
        libraries: Libraries,
        note: Option<String>,
    ) -> Result<String, DrawError> {
        let drawn = tokio::task::spawn_blocking(move || match &self {
            Flamegraph::Live(guests) => {
                let guests: Vec<_> = guests
                    .iter()
                    .map(|(name, s)| (name.as_str(), &**s))
                    .collect();
                live_bytes_with("Live bytes by guest call stack", &guests, libraries)
            }
            Flamegraph::Change(guests) => {
                let guests: Vec<_> = guests
                    .iter()
                    .map(|(name, then, now)| (name.as_str(), &**then, &**now))
                    .collect();
                let mut title = "Change of live bytes by guest call stack".to_owned();
                if let Some(note) = note {
                    title = format!("{title}: {note}");
                }
                difference_with(&title, &guests, libraries)
            }
        });
        let drawn = drawn.await.map_err(|error| DrawError(error.to_string()))?;
        drawn.map_err(|error| DrawError(error.to_string()))
    }
}

/// The answer with an SVG. Its own policy allows the inline script and style for zoom and search,
/// in an origin of its own, and nothing else.
pub fn response(svg: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    ];
    (headers, svg).into_response()
}
