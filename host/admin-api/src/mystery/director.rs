//! Plays a mystery: sends its traffic, and lets its events happen.
//!
//! The requests go through the service's own router, so they are counted, measured and traced as
//! those of any client. They are sent one after the other, so what a plugin's heap gains meanwhile
//! is what the request has left behind, unless somebody else sends requests, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use mystery::{Action, Event, PlannedRequest, SettingValue};
use tower::ServiceExt as _;

use super::heap_point;
use crate::mystery_run::{LeakLedger, PluginSpan, Session};
use crate::state::ApiState;
use crate::units::difference;
use plugin_host::driver::handle::Plugin;
use plugin_host::error::PluginError;
use plugin_host::settings::Value;

/// The time between two looks whether the first requests after a deploy are over.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A request of the game that is later than this is left out.
const MAX_LATENESS: Duration = Duration::from_secs(1);

/// Plays a game until its end, or until it is stopped. `service` is the router of the service.
pub(crate) async fn play(state: Arc<ApiState>, session: Arc<Session>, service: Router) {
    tokio::select! {
        () = play_all(&state, &session, &service) => {}
        () = session.stopping.cancelled() => {}
    }
}

async fn play_all(state: &Arc<ApiState>, session: &Session, service: &Router) {
    // On their own, so that a busy service does not delay what happens.
    let events = async {
        for event in session.game.events() {
            happen(state, session, event).await;
        }
    };
    let requests = async {
        for request in (0..).map_while(|number| session.game.request(number)) {
            tokio::time::sleep_until(session.instant_of(request.at)).await;
            // A busy machine must not turn late requests into a burst.
            if session.elapsed() < request.at + MAX_LATENESS {
                send(state, session, service, request).await;
            }
        }
    };
    tokio::join!(events, requests);
}

async fn happen(state: &Arc<ApiState>, session: &Session, event: &Event) {
    tokio::time::sleep_until(session.instant_of(event.at)).await;
    let happened = match &event.action {
        Action::StartLeak { alias, settings } => start_leak(state, session, alias, settings).await,
        Action::Enable { alias } => enable(state, session, alias).await,
        Action::Deploy => deploy(state, session).await,
    };
    if let Err(error) = happened {
        tracing::warn!(%error, "an event of the mystery failed");
    }
}

async fn start_leak(
    state: &ApiState,
    session: &Session,
    alias: &str,
    settings: &[(String, SettingValue)],
) -> Result<(), PluginError> {
    let plugin = player(state, alias)?;
    let onset = heap_point::read(state, &plugin).await;
    let ledger = LeakLedger::begin(onset);
    state
        .registry
        .update(&plugin, None, values(settings))
        .await?;
    session.ledgers().insert(alias.to_owned(), ledger);
    Ok(())
}

async fn enable(state: &ApiState, session: &Session, alias: &str) -> Result<(), PluginError> {
    let plugin = player(state, alias)?;
    session.skip_traces();
    state.registry.update(&plugin, Some(true), Vec::new()).await
}

/// Gives each player a fresh instance, as a new version of the service does.
async fn deploy(state: &ApiState, session: &Session) -> Result<(), PluginError> {
    for player in session.game.players() {
        let plugin = self::player(state, &player.alias)?;
        let last = heap_point::read(state, &plugin).await;
        if let Some(ledger) = session.ledgers().get_mut(&player.alias) {
            ledger.suspend(&last);
        }
        plugin.reset(false).await?;
    }
    session.skip_traces();
    while session.skips_traces() && !session.is_over() {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    for player in session.game.players() {
        let plugin = self::player(state, &player.alias)?;
        let fresh = heap_point::read(state, &plugin).await;
        if let Some(ledger) = session.ledgers().get_mut(&player.alias) {
            ledger.resume(fresh);
        }
    }
    Ok(())
}

async fn send(state: &ApiState, session: &Session, service: &Router, planned: PlannedRequest) {
    let mut address = format!("/api/data?tenant={}", planned.tenant);
    if let Some(status) = planned.fail {
        address += &format!("&fail={status}");
    }
    let request = Request::get(address)
        .header(header::HOST, "localhost")
        .header(header::USER_AGENT, "mystery")
        .body(Body::empty());
    let Ok(request) = request else { return };
    let plugins = state.registry.plugins();
    let before: Vec<_> = plugins.iter().map(live_bytes).collect();
    let sent_at = session.elapsed();
    let started = Instant::now();
    // The router cannot fail: its error has no value.
    let answer = match service.clone().oneshot(request).await {
        Ok(response) => (response.status(), trace_id(response.headers())),
        Err(never) => match never {},
    };
    let duration = started.elapsed();
    let spans = plugins
        .iter()
        .zip(before)
        .filter(|(plugin, _)| plugin.active());
    let spans = spans.map(|(plugin, before)| PluginSpan {
        plugin: plugin.id().to_owned(),
        live_bytes_delta: delta(before, live_bytes(plugin)),
    });
    let (status, trace_id): (StatusCode, String) = answer;
    let answer = (status.as_u16(), trace_id);
    session.record_request((planned, sent_at), answer, duration, spans.collect());
}

fn live_bytes(plugin: &Arc<Plugin>) -> Option<u64> {
    plugin.reading().heap_live
}

fn delta(before: Option<u64>, after: Option<u64>) -> Option<i64> {
    Some(difference(after?, before?))
}

/// The trace id in a `traceparent` header.
fn trace_id(headers: &HeaderMap) -> String {
    let header = headers
        .get("traceparent")
        .and_then(|text| text.to_str().ok());
    let id = header.and_then(|text| text.split('-').nth(1));
    id.unwrap_or_default().to_owned()
}

fn player(state: &ApiState, alias: &str) -> Result<Arc<Plugin>, PluginError> {
    let plugin = state.registry.get(alias);
    plugin.ok_or_else(|| PluginError::Unknown(alias.to_owned()))
}

/// Settings as the plugin host takes them.
pub(crate) fn values(settings: &[(String, SettingValue)]) -> Vec<(String, Value)> {
    let settings = settings.iter().map(|(name, value)| {
        let value = match value {
            SettingValue::Integer(number) => Value::Integer(*number),
            SettingValue::Number(number) => Value::Number(*number),
            SettingValue::Text(word) => Value::Text(word.clone()),
        };
        (name.clone(), value)
    });
    settings.collect()
}
