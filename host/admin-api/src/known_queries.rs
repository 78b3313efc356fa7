//! Refuses query parameters that a call does not take. The list for each call is that of the API's
//! description, so a call has to be described as it is.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi, RefOr};

use crate::docs::operations;
use crate::error::{ApiError, ErrorCode, shorten};

/// The names of the query parameters of each call, by method and path.
#[derive(Debug)]
pub(crate) struct KnownQueries(HashMap<(&'static str, String), Vec<String>>);

impl KnownQueries {
    /// The calls of a description.
    pub(crate) fn of(description: &OpenApi) -> Self {
        let mut known = HashMap::new();
        for (path, item) in &description.paths.paths {
            for (method, operation) in operations(item) {
                known.insert((method, path.clone()), query_names(operation));
            }
        }
        KnownQueries(known)
    }

    /// The first parameter that the call does not take, and those that it takes.
    fn unknown(&self, method: &Method, path: &str, query: &str) -> Option<(String, &[String])> {
        let method = match *method {
            Method::HEAD => "GET",
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            _ => return None,
        };
        let known = self.0.get(&(method, path.to_owned()))?;
        let mut names = query.split('&').filter(|pair| !pair.is_empty());
        let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
        let unknown = names.find(|pair| !known.contains(&name(pair)))?;
        Some((name(unknown), known))
    }
}

fn query_names(operation: &Operation) -> Vec<String> {
    let parameters = operation.parameters.iter().flatten();
    let queries = parameters.filter_map(|parameter| match parameter {
        RefOr::T(p) if p.parameter_in == ParameterIn::Query => Some(p.name.clone()),
        RefOr::T(_) | RefOr::Ref(_) => None,
    });
    queries.collect()
}

/// Answers 422 `invalid_query` to a call of the admin API with a parameter that it does not take.
pub(crate) async fn refuse_unknown(
    State(known): State<Arc<KnownQueries>>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let query = request.uri().query().unwrap_or_default();
    let path = path.as_ref().map_or("", MatchedPath::as_str);
    if !query.is_empty()
        && path.starts_with("/admin/")
        && let Some((name, known)) = known.unknown(request.method(), path, query)
    {
        let hint = match known {
            [] => "this call takes no query parameters: what it needs is in its path or body"
                .to_owned(),
            known => format!("the query accepts {}", known.join(", ")),
        };
        let message = format!("unknown parameter `{}`", shorten(&name));
        return Err(ApiError::new(ErrorCode::InvalidQuery, message, hint));
    }
    Ok(next.run(request).await)
}
