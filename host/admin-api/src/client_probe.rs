//! Whether the client of a call still waits.
//!
//! A client may close its sending side after its last request and read the answers: `nc -N`, for
//! example. A client that has left looks the same until the host writes to it. So a call that may
//! take long, such as a compilation, goes on for [`GRACE`] after the client has closed its side,
//! and is then given up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::sleep;

use crate::error::{ApiError, ErrorCode};

/// Time for a call whose client has closed its sending side.
const GRACE: Duration = Duration::from_secs(2);

/// The time between two looks at the connection.
const INTERVAL: Duration = Duration::from_millis(250);

/// Tells whether the client of a request has closed its sending side. The server puts it into the
/// extensions of requests that change something.
#[derive(Clone)]
pub struct ClientProbe(Arc<dyn Fn() -> bool + Send + Sync>);

impl fmt::Debug for ClientProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientProbe").finish_non_exhaustive()
    }
}

impl ClientProbe {
    /// `has_closed` must not block.
    pub fn new(has_closed: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        ClientProbe(Arc::new(has_closed))
    }

    /// Waits until the client has closed its side, and then for [`GRACE`].
    async fn left(&self) {
        while !(self.0)() {
            sleep(INTERVAL).await;
        }
        sleep(GRACE).await;
    }
}

/// Runs the rest of a call until it is done or its client has left.
pub(crate) async fn run_while_connected(request: Request, next: Next) -> Response {
    let Some(probe) = request.extensions().get::<ClientProbe>().cloned() else {
        return next.run(request).await;
    };
    tokio::select! {
        response = next.run(request) => response,
        () = probe.left() => ApiError::new(
            ErrorCode::ClientClosed,
            "the client has closed its side of the connection, and the call takes longer",
            "keep the connection open until the answer has arrived",
        )
        .into_response(),
    }
}
