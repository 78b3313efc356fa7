//! `POST /admin/plugins/check`: checks whether a component follows the contract.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::body::ComponentBody;
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::query::{ApiQuery, QueryParameters};
use crate::state::ApiState;
use plugin_host::conformance::{
    self, CheckOptions, CheckReport, CheckRow, REQUESTS, REQUESTS_RANGE,
};
use process_memory::allocator;

/// The result of a check.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportBody {
    /// Whether no check failed.
    passed: bool,
    /// The plugin's id; null if the component could not be called.
    id: Option<String>,
    /// The plugin's version; null if the component could not be called.
    version: Option<String>,
    /// SHA-256 of the component, in hex.
    digest: Option<String>,
    /// Requests of each run.
    requests: u32,
    /// The duration of the check.
    duration_ms: f64,
    /// One row per check, always the same checks in the same order.
    checks: Vec<RowBody>,
}

/// The result for one promise of the contract.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RowBody {
    /// The name of the check: `clear`.
    check: &'static str,
    /// `pass`, `fail`, `n/a` (the promise does not apply, or nothing could be measured) or
    /// `skipped` (an earlier check failed).
    status: &'static str,
    /// The promise, with its tolerance.
    promise: &'static str,
    /// The measured values, or why there are none.
    found: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CheckQuery {
    /// Requests of each run, 50 to 5000; 200 by default.
    #[param(value_type = Option<u32>, minimum = 50, maximum = 5000)]
    requests: Option<String>,
}

impl QueryParameters for CheckQuery {
    const NAMES: &str = "requests";
}

impl From<CheckReport> for ReportBody {
    fn from(report: CheckReport) -> Self {
        let row = |row: &CheckRow| RowBody {
            check: row.check,
            status: row.status.name(),
            promise: row.promise,
            found: row.found.clone(),
        };
        ReportBody {
            passed: report.passed(),
            checks: report.rows.iter().map(row).collect(),
            id: report.id,
            version: report.version,
            digest: report.digest,
            requests: report.requests,
            duration_ms: report.took.as_secs_f64() * 1e3,
        }
    }
}

/// Checks whether a component follows the contract. The body is the component. The host runs it
/// through some hundred requests, apart from the loaded plugins, and compares the component's own
/// numbers with those of its heap. The answer is 200 whether the component passes or fails.
#[utoipa::path(post, path = "/admin/plugins/check", tag = "plugins", params(CheckQuery),
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "A component of the world leak-plugin"),
    responses((status = 200, body = ReportBody), (status = 400, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn check(
    State(state): State<Arc<ApiState>>,
    uri: Uri,
    body: ComponentBody,
) -> Result<Json<ReportBody>, ApiError> {
    // After the body: a client that is still sending would not see this error.
    let ApiQuery(query) = ApiQuery::<CheckQuery>::parse(&uri)?;
    let requests = match query.requests.as_deref().map(str::parse) {
        None => REQUESTS,
        Some(Ok(requests)) if REQUESTS_RANGE.contains(&requests) => requests,
        Some(_) => {
            let (min, max) = (REQUESTS_RANGE.start(), REQUESTS_RANGE.end());
            let accepts = format!("takes a whole number from {min} to {max}");
            return Err(ApiError::invalid_value("requests", &accepts));
        }
    };
    let Ok(_permit) = state.check_permit.try_acquire() else {
        return Err(ApiError::new(
            ErrorCode::CheckRunning,
            "the host is checking another component",
            "try again in a moment",
        ));
    };
    let options = CheckOptions {
        requests,
        deadline: state.options.plugin_deadline,
    };
    let report = conformance::check(state.registry.loader(), body.component.clone(), options).await;
    allocator::release_free_pages();
    Ok(Json(report?.into()))
}
