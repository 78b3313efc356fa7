//! The lab's console: one page at `/` that shows the lab at work and lets people work on it.
//!
//! | path | module | content |
//! |---|---|---|
//! | `GET /` | `page` | the page: markup without data |
//! | `GET /fleet`, `GET /console/fleet`, `POST …/leaks/{leak}` | `fleet_view` | with `--fleet`: every host of a fleet |
//! | `GET /console/{file}` | `assets` | style sheets, scripts and icon, from the host's binary |
//! | `GET /console/events` | `event_stream` | one update a second as server-sent events, with the charts |
//! | `POST /console/pictures`, `GET /console/pictures/{ticket}` | `flamegraph_tickets` | flame graphs for the page's frame |
//!
//! The page is a client of the public admin API: everything it does can be done with `curl`. This
//! crate has only what a page needs in addition. Nothing runs while no page is open: an update is
//! made when the first page asks for it, and all pages with the same view share it.

mod assets;
mod charts;
mod event_stream;
mod exercises;
mod flamegraph_tickets;
mod fleet_view;
mod headers;
mod page;
mod update;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use admin_api::{ApiState, auth};
use event_stream::EventStreams;
use flamegraph_tickets::FlamegraphTickets;
use fleet::calls::Fleet;
use fleet_view::FleetView;

/// The console's routes. The streams of open pages run in `tasks` and end with `stopping`.
///
/// The page and its files have no data, so they need no admin token. Everything with data does.
/// Nothing is served under a name that the host does not know.
pub fn routes(state: Arc<ApiState>, tasks: TaskTracker, stopping: CancellationToken) -> Router {
    let tickets = Arc::new(FlamegraphTickets::new(state.clone()));
    let streams = Arc::new(EventStreams::new(state.clone(), tasks, stopping));
    let protected = Router::new()
        .route("/console/pictures", post(flamegraph_tickets::issue))
        .with_state(tickets.clone())
        .route("/console/events", get(event_stream::open))
        .with_state(streams)
        .layer(middleware::from_fn_with_state(
            state.clone(),
            auth::require_access,
        ));
    Router::new()
        .route("/", get(page::show))
        .with_state(page::html(state.has_fleet_view()))
        .route("/console/{file}", get(assets::show))
        .layer(middleware::map_response(headers::protect))
        // A frame cannot send the admin token. The ticket is the permission.
        .route("/console/pictures/{ticket}", get(flamegraph_tickets::show))
        .with_state(tickets)
        .layer(middleware::from_fn_with_state(
            state,
            auth::require_known_host,
        ))
        .merge(protected)
}

/// The routes of the fleet view.
pub fn fleet_routes(state: Arc<ApiState>, fleet: Fleet) -> Router {
    let view = Arc::new(FleetView::new(state.clone(), fleet));
    let protected = Router::new()
        .route("/console/fleet", get(fleet_view::read))
        .route("/console/fleet/leaks/{leak}", post(fleet_view::switch))
        .with_state(view)
        .layer(middleware::from_fn_with_state(
            state.clone(),
            auth::require_access,
        ));
    Router::new()
        .route("/fleet", get(fleet_view::show))
        .layer(middleware::map_response(headers::protect))
        .layer(middleware::from_fn_with_state(
            state,
            auth::require_known_host,
        ))
        .merge(protected)
}
