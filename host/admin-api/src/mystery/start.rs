//! The start and the end of a mystery.

use std::sync::Arc;

use mystery::{Candidate, Game, Order, Visibility};

use super::director;
use crate::catalogue::LeakGroup;
use crate::error::{ApiError, ErrorCode};
use crate::mystery_run::Session;
use crate::scorer::of_mystery;
use crate::state::ApiState;
use lab::metrics::MetricsVisibility;
use plugin_host::registry::masking::{Mask, Unmasked};

fn metrics_visibility(visibility: Visibility) -> MetricsVisibility {
    match visibility {
        Visibility::Lines => MetricsVisibility::WithoutTruth,
        Visibility::Functions | Visibility::PluginMetrics => MetricsVisibility::WithoutLines,
        Visibility::ProcessMetrics => MetricsVisibility::ProcessOnly,
    }
}

/// Starts a game.
///
/// # Errors
///
/// 409 if a game or a scenario runs, 503 while plugins are being loaded, 422 if the loaded plugins
/// do not make this game, and the errors of loading. Nothing has changed then, except that leaks
/// may be off.
pub(super) async fn start(state: &Arc<ApiState>, order: Order) -> Result<Arc<Session>, ApiError> {
    let _changing = state.mystery.changing.lock().await;
    check_can_start(state).await?;
    let game = Game::new(order, &roster(state)).map_err(|error| {
        ApiError::new(
            ErrorCode::InvalidValue,
            error.to_string(),
            "GET /admin/catalogue lists the loaded plugins; nothing was changed",
        )
    })?;
    // From here on, nobody sees what happens.
    state.mystery.set_changing();
    state.metrics.set_visibility(MetricsVisibility::ProcessOnly);
    if let Err(error) = set_up(state, &game).await {
        state.registry.unmask().await;
        state.mystery.set_nothing();
        state.metrics.set_visibility(MetricsVisibility::All);
        return Err(error);
    }
    let visibility = game.visibility();
    let session = Arc::new(Session::start(game));
    state.metrics.set_visibility(metrics_visibility(visibility));
    state.mystery.set_game(session.clone());
    tracing::info!(
        difficulty = order.difficulty.level(),
        seconds = order.duration.as_secs(),
        "mystery started"
    );
    let service = state.service_router();
    tokio::spawn(director::play(state.clone(), session.clone(), service));
    Ok(session)
}

async fn check_can_start(state: &ApiState) -> Result<(), ApiError> {
    if state.mystery.session().is_some() {
        return Err(ApiError::new(
            ErrorCode::MysteryRunning,
            "a mystery runs already",
            "DELETE /admin/mystery ends it; nothing was changed",
        ));
    }
    let scenario = state
        .scenario
        .read(|running| running.map(|running| running.scenario.name.clone()))
        .await;
    if let Some(name) = scenario {
        return Err(ApiError::new(
            ErrorCode::ScenarioRunning,
            format!("the scenario {name:?} runs"),
            "DELETE /admin/scenario ends it; nothing was changed",
        ));
    }
    if !state.is_ready() || !state.registry.loading().is_empty() {
        return Err(ApiError::new(
            ErrorCode::Starting,
            "plugins are being loaded",
            "try again when /health/ready answers 200; nothing was changed",
        ));
    }
    Ok(())
}

/// The loaded plugins that can be called and whose heaps are profiled.
fn roster(state: &ApiState) -> Vec<Candidate> {
    let plugins = state.registry.plugins();
    let plugins = plugins.iter();
    plugins
        .map(|plugin| Candidate {
            id: plugin.id().to_owned(),
            is_decoy: LeakGroup::of(plugin) == LeakGroup::Decoy,
        })
        .collect()
}

/// Loads the plugins under their aliases, with their settings.
async fn set_up(state: &ApiState, game: &Game) -> Result<(), ApiError> {
    let masks = game.players().iter().map(|player| Mask {
        id: player.plugin.clone(),
        alias: player.alias.clone(),
    });
    let masks: Vec<_> = masks.collect();
    state.registry.mask(&masks).await?;
    state.drop_unloaded();
    state.alerts.clear();
    for player in game.players() {
        let plugin = state
            .registry
            .get(&player.alias)
            .ok_or_else(ApiError::hidden)?;
        let settings = director::values(&player.settings);
        let enabled = player.enabled_at.is_zero();
        state
            .registry
            .update(&plugin, Some(enabled), settings)
            .await?;
    }
    Ok(())
}

/// Ends the game that is played.
///
/// # Errors
///
/// 404 if none is.
pub(super) async fn end(state: &ApiState) -> Result<Unmasked, ApiError> {
    let _changing = state.mystery.changing.lock().await;
    let session = state.mystery.session().ok_or_else(no_mystery)?;
    session.end(super::truth::measured(state, &session).await);
    state.scorer.add_past(of_mystery(state, &session));
    state.mystery.set_changing();
    state.metrics.set_visibility(MetricsVisibility::ProcessOnly);
    let unmasked = state.registry.unmask().await;
    state.drop_unloaded();
    state.alerts.clear();
    state.mystery.set_nothing();
    state.metrics.set_visibility(MetricsVisibility::All);
    tracing::info!("mystery ended");
    Ok(unmasked)
}

pub(super) fn no_mystery() -> ApiError {
    ApiError::new(
        ErrorCode::NoMystery,
        "no mystery runs",
        "POST /admin/mystery starts one",
    )
}
