//! The query of the calls that show heaps: which plugins, how many rows, compared with what.

use std::sync::Arc;
use std::time::Duration;

use guest_heap::flamegraph::Libraries;
use guest_heap::snapshot::GroupBy;
use guest_heap_inspector::query;
use serde::Deserialize;

use crate::error::{ApiError, ErrorCode, shorten};
use crate::leak_status::Listing;
use crate::query::QueryParameters;
use crate::state::ApiState;
use lab::heap::Selection;
use lab::heap::baselines::LabBaseline;
use plugin_host::driver::handle::Plugin;

/// Rows of a short answer.
const SHORT_ROWS: usize = 4;

/// Which heaps to show, and how. Each call takes some of these: its description says which.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeapQuery {
    /// The id of one plugin; all plugins by default.
    plugin: Option<String>,
    /// Rows of each list, 1 to 1000. Without it, only the largest rows are listed: four, or 20 with
    /// `all=true`.
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
    /// List every plugin with all fields in `plugins`, also those that are not in use, and more
    /// rows.
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
    Baseline {
        /// Its name.
        name: String,
        /// The heaps at that time.
        then: Arc<LabBaseline>,
    },
    /// The host's own history, this long ago.
    Ago(Duration),
}

/// How many rows an answer lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The few largest ones, so that the answer fits on a screen.
    Largest,
    /// At most so many of each list.
    Each(usize),
}

impl Rows {
    /// The rows of one list of lines.
    pub(crate) fn of_list(self) -> usize {
        match self {
            Rows::Largest => SHORT_ROWS,
            Rows::Each(limit) => limit,
        }
    }

    /// The rows of each list to read: one more than listed, to know whether there are more.
    pub(crate) fn to_read(self) -> usize {
        self.of_list() + 1
    }

    /// How to list the rows that a short answer leaves out.
    pub(crate) fn hint(self, found: usize, listed: usize) -> Option<&'static str> {
        let is_short = self == Rows::Largest && found > listed;
        is_short.then_some("only the largest rows: ?limit=20 lists more")
    }
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

    /// Whether the answer has all fields of the plugins that it lists.
    pub(crate) fn is_complete(&self) -> bool {
        self.all || self.plugin.is_some()
    }

    /// The number of rows; `default` without a `limit`.
    pub(crate) fn limit_or(&self, default: usize) -> Result<usize, ApiError> {
        Ok(query::limit(self.limit.as_deref(), default)?)
    }

    /// The rows to list: `all_rows` of each list with `all=true` and without a `limit`.
    pub(crate) fn rows(&self, all_rows: usize) -> Result<Rows, ApiError> {
        let limit = self.limit_or(all_rows)?;
        Ok(match self.limit {
            None if !self.all => Rows::Largest,
            _ => Rows::Each(limit),
        })
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
                Some(then) => Ok(Comparison::Baseline {
                    name: name.clone(),
                    then,
                }),
                None => Err(unknown_baseline(state, name)),
            },
            (None, Some(text)) => Ok(Comparison::Ago(query::ago("since", text)?)),
            (Some(_), Some(_)) => Err(ApiError::invalid_value(
                "since",
                "cannot be combined with baseline",
            )),
        }
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
