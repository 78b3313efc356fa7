//! `/admin/memory/baselines`: named heaps to compare with, so that several people can compare at
//! once.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::body::JsonObject;
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::exercise_progress::Action;
use crate::heap_query::unknown_baseline;
use crate::path_name::PathName;
use crate::state::ApiState;
use crate::units::mib;
use lab::heap::Selection;
use lab::heap::baselines::{LabBaseline, MAX_NAMED_BASELINES, NotStored};

/// The longest name of a baseline, in bytes.
const MAX_NAME_BYTES: usize = 40;

/// A named baseline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BaselineInfo {
    name: String,
    /// RFC 3339, UTC.
    taken_at: String,
    /// Live MiB of all plugins at that time.
    heap_live_mb: f64,
    /// The same in bytes.
    heap_live_bytes: u64,
    /// Requests to `/api/data` until then.
    requests: u64,
}

impl BaselineInfo {
    fn of(name: &str, baseline: &LabBaseline) -> Self {
        BaselineInfo {
            name: name.to_owned(),
            taken_at: baseline.taken_at.to_string(),
            heap_live_mb: mib(baseline.live_bytes()),
            heap_live_bytes: baseline.live_bytes(),
            requests: baseline.requests,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BaselineList {
    baselines: Vec<BaselineInfo>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BaselineDeleted {
    /// The baseline's name.
    deleted: String,
}

/// The named baselines.
#[utoipa::path(get, path = "/admin/memory/baselines", tag = "memory", responses((status = 200, body = BaselineList)))]
pub(crate) async fn list(State(state): State<Arc<ApiState>>) -> Json<BaselineList> {
    let baselines = state.baselines.named();
    Json(BaselineList {
        baselines: baselines
            .iter()
            .map(|(name, baseline)| BaselineInfo::of(name, baseline))
            .collect(),
    })
}

/// Takes a baseline and keeps it under this name. It replaces a baseline of the same name.
#[utoipa::path(put, path = "/admin/memory/baselines/{name}", tag = "memory",
    params(("name" = String, Path, description = "1 to 40 letters, digits, dashes and underscores")),
    responses((status = 200, body = BaselineInfo), (status = 422, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(crate) async fn put(
    State(state): State<Arc<ApiState>>,
    PathName(name): PathName,
    body: JsonObject,
) -> Result<Json<BaselineInfo>, ApiError> {
    body.reject_unknown(&[])?;
    let valid = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !valid {
        return Err(ApiError::invalid_value(
            "name",
            "takes 1 to 40 letters, digits, dashes and underscores",
        ));
    }
    loop {
        let begun = state.baselines.begin();
        let plugins = state.registry.plugins();
        let heaps = state.heaps.snapshots(&plugins, Selection::All).await?;
        let baseline = LabBaseline::now(&plugins, &heaps, state.requests());
        match state.baselines.put(begun, &name, baseline) {
            Ok(baseline) => {
                state.record(&Action::SetBaseline);
                return Ok(Json(BaselineInfo::of(&name, &baseline)));
            }
            // It would show the instances from before the reset.
            Err(NotStored::Outdated) => {}
            Err(NotStored::TooMany) => {
                return Err(ApiError::new(
                    ErrorCode::TooManyBaselines,
                    format!("the host already keeps {MAX_NAMED_BASELINES} named baselines"),
                    "DELETE /admin/memory/baselines/NAME removes one; nothing was changed",
                ));
            }
        }
    }
}

/// Deletes a named baseline.
#[utoipa::path(delete, path = "/admin/memory/baselines/{name}", tag = "memory",
    params(("name" = String, Path, description = "The baseline")),
    responses((status = 200, body = BaselineDeleted), (status = 404, body = ErrorBody)))]
pub(crate) async fn delete(
    State(state): State<Arc<ApiState>>,
    PathName(name): PathName,
) -> Result<Json<BaselineDeleted>, ApiError> {
    if state.baselines.remove(&name) {
        Ok(Json(BaselineDeleted { deleted: name }))
    } else {
        Err(unknown_baseline(&state, &name))
    }
}
