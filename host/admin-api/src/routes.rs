//! The routers: which paths a listener serves, and what surrounds every handler.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::known_queries::{KnownQueries, refuse_unknown};
use crate::state::ApiState;
use crate::{
    alerts, auth, baselines, catalogue, conformance, data, diff, docs, error, exercises, health,
    history, host, inspected_plugins, leaks, memory, metrics, mystery, observe, plugins,
    post_mortem, profile, scenario, scorer, snapshot, source,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Leak lab",
        description = "A service that leaks on purpose, and the admin API that switches, measures and fixes its leaks. \
                       Sizes in `*_mb` are bytes / 1048576; each has a `*_bytes` field next to it."
    ),
    tags(
        (name = "service", description = "The calls of the leaky service's clients"),
        (name = "leaks", description = "Switch, clear and reset leaks"),
        (name = "memory", description = "Where the memory is"),
        (name = "alerts", description = "Notifications of Alertmanager"),
        (name = "exercises", description = "Which steps of the exercises have been done"),
        (name = "scenarios", description = "Several leaks with their schedules, from one file"),
        (name = "mystery", description = "A game: find the plugins that leak"),
        (name = "plugins", description = "List, load and unload plugins"),
    )
)]
struct Description;

/// The service and the admin API on one listener, with the console's routes in `page`.
pub fn app(state: &Arc<ApiState>, page: Router) -> Router {
    with_common_layers(service(state).merge(admin(state)).merge(page.into()), state)
}

/// Only the service, for a host whose admin API has its own listener.
pub fn service_app(state: &Arc<ApiState>) -> Router {
    with_common_layers(service(state), state)
}

/// Only the admin API, with the console's routes in `page`. `/api/data` is here too: the console
/// sends its traffic to its own origin.
pub fn admin_app(state: &Arc<ApiState>, page: Router) -> Router {
    let traffic = OpenApiRouter::new()
        .routes(routes!(data::data))
        .with_state(state.clone());
    with_common_layers(admin(state).merge(traffic).merge(page.into()), state)
}

fn service(state: &Arc<ApiState>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(data::data))
        .routes(routes!(metrics::metrics))
        .with_state(state.clone())
}

fn admin(state: &Arc<ApiState>) -> OpenApiRouter {
    state.set_service(service_app);
    let mut routes = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(leaks::status))
        .routes(routes!(catalogue::catalogue))
        .routes(routes!(leaks::clear::clear))
        .routes(routes!(leaks::show, leaks::switch::switch))
        .routes(routes!(leaks::reset::reset))
        .routes(routes!(leaks::reset::reset_all))
        .routes(routes!(leaks::gc::collect))
        .routes(routes!(exercises::list, exercises::start_over))
        .routes(routes!(exercises::verify))
        .routes(routes!(scenario::show, scenario::start, scenario::end))
        .routes(routes!(mystery::show, mystery::begin, mystery::end))
        .routes(routes!(mystery::answers::join))
        .routes(routes!(mystery::answers::hint))
        .routes(routes!(mystery::answers::answer))
        .routes(routes!(mystery::observe::observe))
        .routes(routes!(mystery::observe::traces))
        .routes(routes!(mystery::results::report))
        .routes(routes!(mystery::results::leader_board))
        .routes(routes!(mystery::results::truth))
        .routes(routes!(host::host))
        .routes(routes!(memory::memory))
        .routes(routes!(snapshot::snapshot))
        .routes(routes!(diff::diff))
        .routes(routes!(baselines::list))
        .routes(routes!(baselines::put, baselines::delete))
        .routes(routes!(history::history))
        .routes(routes!(profile::flamegraph))
        .routes(routes!(profile::heap))
        .routes(routes!(profile::allocs))
        .routes(routes!(post_mortem::post_mortem))
        .routes(routes!(source::source))
        .routes(routes!(plugins::list))
        .routes(routes!(conformance::check))
        .routes(routes!(
            plugins::show,
            plugins::change::put,
            plugins::change::delete
        ))
        .routes(routes!(plugins::change::reload))
        .routes(routes!(alerts::list, alerts::receive))
        .routes(routes!(scorer::show, scorer::forget))
        .routes(routes!(scorer::receive))
        .with_state(state.clone())
        .merge(inspected_plugins::routes(state).into());
    docs::describe_hidden(routes.get_openapi_mut());
    let known = Arc::new(KnownQueries::of(routes.get_openapi()));
    // Who may not call is told so, and not which parameters a call takes.
    routes.layer((
        middleware::from_fn_with_state(state.clone(), auth::require_access),
        middleware::from_fn_with_state(known, refuse_unknown),
        middleware::from_fn_with_state(state.clone(), mystery::gate::hide),
    ))
}

/// Adds the parts that every listener has: the API's description, JSON errors and measurement.
fn with_common_layers(routes: OpenApiRouter, state: &Arc<ApiState>) -> Router {
    let (router, description) = routes.split_for_parts();
    router
        .merge(docs::routes(description))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        // One call of `layer` with both, the first outermost. Each further call would box every
        // request and every answer once more.
        .layer((
            middleware::from_fn_with_state(state.clone(), observe::measure),
            CatchPanicLayer::custom(error::panicked),
        ))
}
