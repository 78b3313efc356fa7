//! `POST /admin/plugins/check`: whether a component keeps the promises of the contract.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Lab;
use super::error::{ApiError, ErrorBody, shorten};
use super::upload::ComponentBody;
use plugin_host::conformance::{self, CheckOptions, REQUESTS, REQUESTS_RANGE, Report, Row};
use process_memory::allocator;

/// What a check found.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportBody {
    /// Whether no promise was broken.
    passed: bool,
    /// The plugin's id, if it got so far as to say it.
    id: Option<String>,
    /// Its version.
    version: Option<String>,
    /// SHA-256 of the component, in hex.
    digest: Option<String>,
    /// Requests of each run.
    requests: u32,
    /// Time that the check took.
    duration_ms: f64,
    /// One for each promise, always the same ones in the same order.
    checks: Vec<RowBody>,
}

/// One promise.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RowBody {
    /// Its name: `clear`.
    check: &'static str,
    /// `pass`, `fail`, `n/a` (nothing to be kept, or nothing that could be measured) or `skipped` (something before it
    /// failed).
    status: &'static str,
    /// What is promised, with its tolerance.
    promise: &'static str,
    /// What was measured, or why not.
    found: String,
}

/// How a component is checked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CheckQuery {
    /// Requests of each run, 50 to 5000; 200 by default.
    #[param(value_type = Option<u32>, minimum = 50, maximum = 5000)]
    requests: Option<String>,
}

impl From<Report> for ReportBody {
    fn from(report: Report) -> Self {
        let row = |row: &Row| RowBody {
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

/// Drives a component through some hundred requests, apart from everything that is loaded, and compares what it says with
/// what its heap says. The body is the component. The answer is 200 whether it keeps its promises or not.
#[utoipa::path(post, path = "/admin/plugins/check", tag = "plugins", params(CheckQuery),
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "A component of the world leak-plugin"),
    responses((status = 200, body = ReportBody), (status = 400, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn check(
    State(lab): State<Arc<Lab>>,
    uri: Uri,
    ComponentBody(component): ComponentBody,
) -> Result<Json<ReportBody>, ApiError> {
    let Query(query) = Query::<CheckQuery>::try_from_uri(&uri).map_err(|rejection| {
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_query",
            shorten(&rejection.body_text()),
            "the query takes requests",
        )
    })?;
    let requests = match query.requests.as_deref().map(str::parse) {
        None => REQUESTS,
        Some(Ok(requests)) if REQUESTS_RANGE.contains(&requests) => requests,
        Some(_) => {
            let (least, most) = (REQUESTS_RANGE.start(), REQUESTS_RANGE.end());
            let takes = format!("takes a whole number from {least} to {most}");
            return Err(ApiError::invalid_value("requests", &takes));
        }
    };
    let Ok(_alone) = lab.checking.try_acquire() else {
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "check_running",
            "another component is being checked",
            "try again in a moment",
        ));
    };
    let terms = CheckOptions {
        requests,
        deadline: lab.deadline,
    };
    let report = conformance::check(lab.registry.loader(), component, terms).await?;
    allocator::release_free_pages();
    Ok(Json(report.into()))
}
