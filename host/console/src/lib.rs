//! The lab's console: one page at `/` that shows the lab at work and lets a person work on it.
//!
//! | path | what |
//! |---|---|
//! | `/` | the page: markup without data |
//! | `/console/{file}` | its style sheets, scripts and icon, from the host's own binary |
//! | `/console/events` | once a second what has changed, as server-sent events, pictures included |
//! | `/console/pictures`, `/console/pictures/{ticket}` | flame graphs for the frame of the page |
//!
//! The page is a client of the public admin API: whatever it does can be done with `curl`. What only the page needs is
//! here. Nothing runs while no page is open: frames are made when the first page of a second asks, one for all pages
//! that look alike.

mod assets;
mod charts;
mod exercises;
mod feed;
mod frame;
mod page;
mod pictures;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use admin_api::{ApiState, auth};
use feed::Feed;
use pictures::Tickets;

/// Everything from this host, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the console's handlers work on.
pub struct Console {
    lab: Arc<ApiState>,
    feed: Feed,
    tickets: Tickets,
    page: String,
}

impl Console {
    /// A console that nobody looks at yet. Streams are among `tasks`, and end when `stopping` says so.
    pub fn new(lab: Arc<ApiState>, tasks: TaskTracker, stopping: CancellationToken) -> Self {
        Console {
            feed: Feed::new(lab.clone(), tasks, stopping),
            tickets: Tickets::default(),
            page: page::page().into_string(),
            lab,
        }
    }

    /// The routes. The page and its files hold no data; what holds data asks for the admin token.
    pub fn routes(self) -> Router {
        let console = Arc::new(self);
        let guarded = Router::new()
            .route("/console/events", get(feed::events))
            .route("/console/pictures", post(pictures::order))
            .layer(middleware::from_fn_with_state(
                console.lab.clone(),
                auth::require_token,
            ));
        Router::new()
            .route("/", get(page::show))
            .route("/console/{file}", get(assets::show))
            .layer(middleware::map_response(strict))
            .merge(guarded)
            // The ticket is the permission: a frame cannot send a header.
            .route("/console/pictures/{ticket}", get(pictures::show))
            .with_state(console)
    }
}

/// Adds the headers of everything that a browser shows.
async fn strict(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    for (name, value) in GUARDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What a browser is not to do with what it gets here.
const GUARDS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];
