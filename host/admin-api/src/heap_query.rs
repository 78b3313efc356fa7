//! What the calls about heaps have in common: their queries.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use guest_heap::history::WINDOW;
use guest_heap::snapshot::GroupBy;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Lab;
use super::error::{ApiError, shorten};
use lab::heap::Selection;
use lab::heap::baselines::LabBaseline;
use plugin_host::driver::handle::Plugin;

/// Rows that may be asked for.
const ROWS_MAX: usize = 1000;

/// What part of the heaps to show, and how.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HeapQuery {
    /// One plugin; all of them by default.
    plugin: Option<String>,
    /// Rows, 1 to 1000.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `line`, `function`, `file` or `trace`; `line` by default.
    group_by: Option<String>,
    /// A named baseline to compare with.
    baseline: Option<String>,
    /// Compare with this long ago: `30s`, `5m`, at most 15m.
    since: Option<String>,
}

/// A query, or the error that says what it takes.
pub struct CheckedQuery(pub HeapQuery);

impl<S: Send + Sync> FromRequestParts<S> for CheckedQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Query::from_request_parts(parts, state)
            .await
            .map(|Query(query)| CheckedQuery(query))
            .map_err(|rejection| {
                ApiError::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "invalid_query",
                    shorten(&rejection.body_text()),
                    "the query takes plugin, limit, group_by, baseline and since",
                )
            })
    }
}

/// What to compare with.
pub enum Against {
    /// The baseline without a name.
    Unnamed,
    /// A named baseline.
    Named(Arc<LabBaseline>),
    /// The host's own history.
    Ago(Duration),
}

impl HeapQuery {
    /// The plugins that are asked for.
    pub fn plugins(&self, lab: &Lab) -> Result<Vec<Arc<Plugin>>, ApiError> {
        let plugins = lab.registry.plugins();
        match &self.plugin {
            None => Ok(plugins.to_vec()),
            Some(name) => match lab.registry.get(name) {
                Some(plugin) => Ok(vec![plugin]),
                None => {
                    let known: Vec<&str> = plugins.iter().map(|p| p.id()).collect();
                    Err(ApiError::unknown_plugin(name, &known))
                }
            },
        }
    }

    /// Whether a plugin is named.
    pub(super) fn asked(&self) -> Selection {
        if self.plugin.is_some() {
            Selection::Named
        } else {
            Selection::All
        }
    }

    /// How many rows, `default` unless said.
    pub(super) fn limit(&self, default: usize) -> Result<usize, ApiError> {
        let Some(text) = &self.limit else {
            return Ok(default);
        };
        match text.parse() {
            Ok(limit) if (1..=ROWS_MAX).contains(&limit) => Ok(limit),
            _ => Err(ApiError::invalid_value(
                "limit",
                "takes a whole number from 1 to 1000",
            )),
        }
    }

    /// What makes rows one.
    pub(super) fn group_by(&self) -> Result<GroupBy, ApiError> {
        match self.group_by.as_deref() {
            None | Some("line") => Ok(GroupBy::Line),
            Some("function") => Ok(GroupBy::Function),
            Some("file") => Ok(GroupBy::File),
            Some("trace") => Ok(GroupBy::Trace),
            Some(_) => Err(ApiError::invalid_value(
                "group_by",
                "takes line, function, file or trace",
            )),
        }
    }

    /// What to compare with, if anything.
    pub fn against(&self, lab: &Lab) -> Result<Against, ApiError> {
        match (&self.baseline, &self.since) {
            (None, None) => Ok(Against::Unnamed),
            (Some(name), None) => match lab.baselines.get(name) {
                Some(moment) => Ok(Against::Named(moment)),
                None => Err(unknown_baseline(lab, name)),
            },
            (None, Some(text)) => Ok(Against::Ago(ago(text)?)),
            (Some(_), Some(_)) => Err(ApiError::invalid_value("since", "goes without baseline")),
        }
    }

    /// An error when a comparison is asked for where there is none.
    pub(super) fn no_comparison(&self) -> Result<(), ApiError> {
        if self.baseline.is_some() || self.since.is_some() {
            let takes = "belongs to /admin/memory/diff and /admin/memory/flamegraph";
            return Err(ApiError::invalid_value("baseline or since", takes));
        }
        Ok(())
    }
}

/// 404 with the baselines there are.
pub(super) fn unknown_baseline(lab: &Lab, name: &str) -> ApiError {
    let known: Vec<String> = lab.baselines.named().into_keys().collect();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    ApiError::new(
        StatusCode::NOT_FOUND,
        "unknown_baseline",
        format!("there is no baseline {:?}", shorten(name)),
        format!("there are: {known}; PUT /admin/memory/baselines/NAME sets one"),
    )
}

fn ago(text: &str) -> Result<Duration, ApiError> {
    let wrong = || ApiError::invalid_value("since", "takes 1s to 15m: 30s, 5m");
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => Some(number),
        "m" => number.checked_mul(60),
        _ => None,
    };
    let ago = seconds.map(Duration::from_secs).ok_or_else(wrong)?;
    if (Duration::from_secs(1)..=WINDOW).contains(&ago) {
        Ok(ago)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_up_to_fifteen_minutes() {
        assert_eq!(ago("5m").unwrap(), Duration::from_secs(300));
        assert_eq!(ago("900s").unwrap(), WINDOW);
        for wrong in [
            "",
            "5",
            "0s",
            "16m",
            "-5m",
            "5h",
            "m",
            "99999999999999999999m",
            "307445734561825861m",
        ] {
            assert!(ago(wrong).is_err(), "{wrong:?}");
        }
    }
}
