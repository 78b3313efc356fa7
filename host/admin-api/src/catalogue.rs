//! `GET /admin/catalogue`: every leak in one line each, by group. The other listings leave
//! out the leaks of the catalogue that are off and hold nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ground_truth::truth::Role;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::query::QueryParameters;
use crate::state::ApiState;
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::published_state::RunState;

/// The leaks of the exercises.
const EXERCISES: [&str; 3] = ["cache", "history", "listeners"];

/// The group of a leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LeakGroup {
    /// The exercises use it.
    Exercise,
    /// It leaks.
    Pattern,
    /// It only looks like a leak.
    Decoy,
}

impl LeakGroup {
    pub(crate) fn of(plugin: &Plugin) -> Self {
        if EXERCISES.contains(&plugin.id()) {
            LeakGroup::Exercise
        } else if Role::of_title(&plugin.details().manifest.title) == Role::Decoy {
            LeakGroup::Decoy
        } else {
            LeakGroup::Pattern
        }
    }
}

/// A leak of the catalogue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CatalogueEntry {
    name: String,
    title: String,
    enabled: bool,
}

/// All leaks, by group.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Catalogue {
    /// The leaks of the exercises.
    exercises: Vec<CatalogueEntry>,
    /// More leaks.
    patterns: Vec<CatalogueEntry>,
    /// Plugins that only look like leaks.
    decoys: Vec<CatalogueEntry>,
}

/// Every leak with its title, by group: those of the exercises, more patterns, and decoys that only
/// look like leaks.
#[utoipa::path(get, path = "/admin/catalogue", tag = "leaks", responses((status = 200, body = Catalogue)))]
pub(crate) async fn catalogue(State(state): State<Arc<ApiState>>) -> Json<Catalogue> {
    let mut catalogue = Catalogue::default();
    for plugin in state.registry.plugins().iter() {
        let group = match LeakGroup::of(plugin) {
            LeakGroup::Exercise => &mut catalogue.exercises,
            LeakGroup::Pattern => &mut catalogue.patterns,
            LeakGroup::Decoy => &mut catalogue.decoys,
        };
        group.push(CatalogueEntry {
            name: plugin.id().to_owned(),
            title: plugin.details().manifest.title.clone(),
            enabled: plugin.enabled(),
        });
    }
    Json(catalogue)
}

/// Which leaks a listing shows.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListingQuery {
    /// Show every leak with all fields, also those that are off.
    #[serde(default)]
    pub(crate) all: bool,
}

impl QueryParameters for ListingQuery {
    const NAMES: &str = "all";
}

/// Whether a plugin is off, runs, holds nothing and has only default settings, so that there is
/// nothing to see.
pub(crate) fn is_idle(plugin: &Plugin) -> bool {
    let (reading, details) = (plugin.reading(), plugin.details());
    !plugin.enabled()
        && reading.requests == 0
        && reading.retained.objects == 0
        && matches!(details.state, RunState::Running)
        && details.last_failure.is_none()
        && details
            .settings
            .iter()
            .all(|(spec, value)| *value == spec.default)
}

/// Where the leaks are that a listing leaves out. `None` if it shows all of them.
pub(crate) fn left_out(plugins: &[Arc<Plugin>], shows: impl Fn(&Plugin) -> bool) -> Option<String> {
    match plugins.iter().filter(|plugin| !shows(plugin)).count() {
        0 => None,
        count => Some(format!(
            "{count} that are off: GET /admin/catalogue, or ?all=true"
        )),
    }
}
