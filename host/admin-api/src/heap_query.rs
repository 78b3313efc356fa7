//! The query of the calls that show heaps: which plugins, how many rows, compared with what.

use std::sync::Arc;
use std::time::Duration;

use guest_heap::flamegraph::Libraries;
use guest_heap::snapshot::GroupBy;
use guest_heap_inspector::query;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::{ApiError, ErrorCode, shorten};
use crate::leak_status::Listing;
use crate::query::QueryParameters;
use crate::state::ApiState;
use lab::heap::Selection;
use lab::heap::baselines::LabBaseline;
use plugin_host::driver::handle::Plugin;

/// Which heaps to show, and how.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HeapQuery {
    /// The id of one plugin; all plugins by default.
    plugin: Option<String>,
    /// Rows, 1 to 1000.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `line`, `function`, `file` or `trace`; `line` by default.
    group_by: Option<String>,
    /// The named baseline to compare with.
    baseline: Option<String>,
    /// Compare with the state this long ago: `30s`, `5m`, at most `15m`.
    since: Option<String>,
    /// `folded` or `shown`: how a flame graph draws frames that are not the plugin's own; `folded`
    /// by default.
    libraries: Option<String>,
    /// List every plugin in `plugins`, also those that are not in use.
    #[serde(default)]
    all: bool,
}

impl QueryParameters for HeapQuery {
    const NAMES: &str = "plugin, limit, group_by, baseline, since, libraries and all";
}

/// The earlier state that a query compares with.
pub enum Comparison {
    /// Neither `baseline` nor `since` is given.
    Default,
    /// A named baseline.
    Baseline(Arc<LabBaseline>),
    /// The host's own history, this long ago.
    Ago(Duration),
}

impl HeapQuery {
    /// The plugins to show.
    ///
    /// # Errors
    ///
    /// 404 if no plugin has the id.
    pub fn plugins(&self, state: &ApiState) -> Result<Vec<Arc<Plugin>>, ApiError> {
        plugins(state, self.plugin.as_deref())
    }

    /// Whether the query names a plugin. Only then is a heap that cannot be read an error.
    pub(crate) fn selection(&self) -> Selection {
        selection(self.plugin.as_deref())
    }

    /// Whether `plugins` has this plugin: it is in use, or one of the exercises', or asked for.
    pub(crate) fn lists(&self, plugin: &Plugin) -> bool {
        self.all || self.plugin.is_some() || Listing::Exercises.shows(plugin)
    }

    /// The number of rows; `default` without a `limit`.
    pub(crate) fn limit(&self, default: usize) -> Result<usize, ApiError> {
        Ok(query::limit(self.limit.as_deref(), default)?)
    }

    /// The property that allocations of one row have in common.
    pub(crate) fn group_by(&self) -> Result<GroupBy, ApiError> {
        Ok(query::group_by(self.group_by.as_deref())?)
    }

    /// How a flame graph draws frames of libraries.
    pub(crate) fn libraries(&self) -> Result<Libraries, ApiError> {
        Ok(query::libraries(self.libraries.as_deref())?)
    }

    /// The earlier state to compare with.
    ///
    /// # Errors
    ///
    /// 404 if no baseline has the name; 422 if `since` is not a time of 1 s to 15 min, or if both
    /// are given.
    pub fn comparison(&self, state: &ApiState) -> Result<Comparison, ApiError> {
        match (&self.baseline, &self.since) {
            (None, None) => Ok(Comparison::Default),
            (Some(name), None) => match state.baselines.get(name) {
                Some(baseline) => Ok(Comparison::Baseline(baseline)),
                None => Err(unknown_baseline(state, name)),
            },
            (None, Some(text)) => Ok(Comparison::Ago(query::ago("since", text)?)),
            (Some(_), Some(_)) => Err(ApiError::invalid_value(
                "since",
                "cannot be combined with baseline",
            )),
        }
    }

    /// 422 if the query has `baseline` or `since`, for the calls that do not compare.
    pub(crate) fn reject_comparison(&self) -> Result<(), ApiError> {
        if self.baseline.is_some() || self.since.is_some() {
            let accepts = "only /admin/memory/diff and /admin/memory/flamegraph take it";
            return Err(ApiError::invalid_value("baseline or since", accepts));
        }
        Ok(())
    }
}

/// The plugin with this id, or all.
pub(crate) fn plugins(state: &ApiState, id: Option<&str>) -> Result<Vec<Arc<Plugin>>, ApiError> {
    match id {
        None => Ok(state.registry.plugins().to_vec()),
        Some(id) => Ok(vec![state.plugin(id)?]),
    }
}

/// Whether a plugin is named.
pub(crate) fn selection(id: Option<&str>) -> Selection {
    if id.is_some() {
        Selection::Named
    } else {
        Selection::All
    }
}

/// 404 `unknown_baseline`, with the names that exist.
pub(crate) fn unknown_baseline(state: &ApiState, name: &str) -> ApiError {
    let known: Vec<String> = state.baselines.named().into_keys().collect();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    ApiError::new(
        ErrorCode::UnknownBaseline,
        format!("there is no baseline {:?}", shorten(name)),
        format!("baselines: {known}; PUT /admin/memory/baselines/NAME sets one"),
    )
}
