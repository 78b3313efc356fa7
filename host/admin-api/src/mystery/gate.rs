//! What the admin API still answers while a mystery runs.
//!
//! This is a list of what is allowed, and everything else is refused: a new endpoint is hidden
//! until it is added here. Answers that have more than a player may see are cut down to the fields
//! that are named below. The names in them need no change, because the plugins are loaded under
//! other ids.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, Limited};
use mystery::Visibility;
use serde_json::{Map, Value as Json_, json};

use super::function_name::visible_function;
use crate::auth::is_instructor;
use crate::body::AfterBody;
use crate::error::ApiError;
use crate::state::ApiState;
use crate::units::mib;

/// The largest answer that is cut down, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Rows of the snapshot where only functions are shown.
const FUNCTION_ROWS: usize = 5;

/// The fields of a plugin that say how much memory it has, and not what it is.
const PLUGIN_FIELDS: [&str; 14] = [
    "generation",
    "growth_since_baseline_bytes",
    "growth_since_baseline_mb",
    "heap_free_bytes",
    "heap_free_mb",
    "heap_live_bytes",
    "heap_live_mb",
    "linear_memory_bytes",
    "linear_memory_mb",
    "pages",
    "peak_linear_memory_bytes",
    "peak_linear_memory_mb",
    "requests",
    "state",
];

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// It is answered as always.
    Pass,
    /// Its answer is cut down.
    Cut(Answer),
    /// It is refused.
    Refuse,
}

/// An answer that is cut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// `GET /admin/leaks/status`
    Status,
    /// `GET /admin/leaks/{name}`
    Leak,
    /// `GET /admin/memory`
    Memory,
    /// `GET /admin/memory/snapshot`, by function.
    Functions,
}

fn rule(method: &Method, path: &str, visibility: Visibility) -> Rule {
    let reads = method.is_safe();
    let lines = visibility == Visibility::Lines;
    let plugins = visibility.shows_plugins();
    match path {
        "/admin/alerts" | "/admin/scorer/alertmanager" => Rule::Pass,
        "/admin/leaks/status" if reads => Rule::Cut(Answer::Status),
        "/admin/leaks/{name}" if reads && plugins => Rule::Cut(Answer::Leak),
        "/admin/memory" if reads => Rule::Cut(Answer::Memory),
        "/admin/memory/snapshot" if reads && visibility == Visibility::Functions => {
            Rule::Cut(Answer::Functions)
        }
        "/admin/memory/baselines/{name}" if lines => Rule::Pass,
        "/admin/memory/snapshot"
        | "/admin/memory/diff"
        | "/admin/memory/baselines"
        | "/admin/memory/history"
        | "/admin/memory/flamegraph"
        | "/admin/memory/source"
            if reads && lines =>
        {
            Rule::Pass
        }
        path if path.starts_with("/admin/mystery") => Rule::Pass,
        path if path.starts_with("/debug/") && lines => Rule::Pass,
        _ => Rule::Refuse,
    }
}

/// The middleware of the admin API.
pub(crate) async fn hide(
    State(state): State<Arc<ApiState>>,
    path: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = path.as_ref().map_or("", MatchedPath::as_str).to_owned();
    let Some(visibility) = state.mystery.visibility() else {
        if !request.method().is_safe() {
            let check = refused_later(&state, &request, path);
            request.extensions_mut().insert(check);
        }
        return next.run(request).await;
    };
    if request.method().is_safe() && is_instructor(&state.options, request.headers()) {
        return next.run(request).await;
    }
    match rule(request.method(), &path, visibility) {
        Rule::Pass => next.run(request).await,
        Rule::Refuse => ApiError::hidden().into_response(),
        Rule::Cut(answer) => {
            if answer == Answer::Functions {
                *request.uri_mut() = by_function(request.uri());
            }
            cut(next.run(request).await, answer, visibility).await
        }
    }
}

/// Refuses a call whose body has taken so long that a game has begun meanwhile.
fn refused_later(state: &Arc<ApiState>, request: &Request, path: String) -> AfterBody {
    let (state, method) = (state.clone(), request.method().clone());
    AfterBody(Arc::new(move || {
        let visibility = state.mystery.visibility();
        let is_refused =
            visibility.is_some_and(|shown| rule(&method, &path, shown) == Rule::Refuse);
        if is_refused {
            return Err(ApiError::hidden());
        }
        Ok(())
    }))
}

/// The address of a snapshot of all functions. The client's own parameters are dropped.
fn by_function(uri: &Uri) -> Uri {
    let address = format!("{}?group_by=function&limit=1000", uri.path());
    address.parse().unwrap_or_else(|_| uri.clone())
}

async fn cut(response: Response, answer: Answer, visibility: Visibility) -> Response {
    let (mut parts, body) = response.into_parts();
    if !parts.status.is_success() {
        return Response::from_parts(parts, body);
    }
    let Ok(bytes) = Limited::new(body, MAX_ANSWER_BYTES).collect().await else {
        return ApiError::internal(&"an answer is too long to be cut down").into_response();
    };
    let Ok(whole) = serde_json::from_slice(&bytes.to_bytes()) else {
        return ApiError::internal(&"an answer that should be cut down is no JSON").into_response();
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    let shown = Json(shown(&whole, answer, visibility)).into_response();
    Response::from_parts(parts, Body::new(shown.into_body()))
}

/// The part of an answer that a player may see.
fn shown(whole: &Json_, answer: Answer, visibility: Visibility) -> Json_ {
    match answer {
        Answer::Leak => plugin(whole),
        Answer::Status => json!({
            "leaks": plugins(&whole["leaks"], visibility),
            "memory": whole["memory"],
        }),
        Answer::Memory => json!({
            "process": whole["process"],
            "plugins": plugins(&whole["plugins"], visibility),
            "ledger": whole["ledger"],
            "forecast": whole["forecast"],
        }),
        Answer::Functions => functions(&whole["by_line"]),
    }
}

/// What a mystery shows of the plugins by id.
pub(crate) fn plugins(all: &Json_, visibility: Visibility) -> Json_ {
    let all = all.as_object().filter(|_| visibility.shows_plugins());
    let shown = all.into_iter().flatten();
    let shown = shown.map(|(id, whole)| (id.clone(), plugin(whole)));
    Json_::Object(shown.collect())
}

fn plugin(whole: &Json_) -> Json_ {
    let fields = PLUGIN_FIELDS.iter().filter_map(|name| {
        let value = whole.get(name)?;
        Some(((*name).to_owned(), value.clone()))
    });
    Json_::Object(fields.collect::<Map<_, _>>())
}

/// The functions with the most live bytes. Names that are the same without their paths are one.
fn functions(rows: &Json_) -> Json_ {
    let mut sums: BTreeMap<(&str, String), (u64, u64)> = BTreeMap::new();
    for row in rows.as_array().into_iter().flatten() {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let function = visible_function(text("function"));
        let sum = sums.entry((text("plugin"), function)).or_default();
        sum.0 += row["size_bytes"].as_u64().unwrap_or_default();
        sum.1 += row["count"].as_u64().unwrap_or_default();
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, (bytes, _))| std::cmp::Reverse(*bytes));
    sums.truncate(FUNCTION_ROWS);
    let rows = sums
        .into_iter()
        .map(|((plugin, function), (bytes, count))| {
            json!({
                "plugin": plugin,
                "function": function,
                "size_mb": mib(bytes),
                "size_bytes": bytes,
                "count": count,
            })
        });
    json!({ "by_function": rows.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_allows_less_than_the_one_before() {
        use Visibility::{Functions, Lines, PluginMetrics, ProcessMetrics};
        let (pass, refuse) = (Rule::Pass, Rule::Refuse);
        let cut = Rule::Cut;
        for (call, rules) in [
            ("GET /admin/memory/diff", [pass, refuse, refuse, refuse]),
            (
                "GET /admin/memory/snapshot",
                [pass, cut(Answer::Functions), refuse, refuse],
            ),
            ("GET /debug/pprof/heap", [pass, refuse, refuse, refuse]),
            ("GET /debug/heap/", [pass, refuse, refuse, refuse]),
            (
                "GET /admin/leaks/{name}",
                [
                    cut(Answer::Leak),
                    cut(Answer::Leak),
                    cut(Answer::Leak),
                    refuse,
                ],
            ),
            ("GET /admin/leaks/status", [cut(Answer::Status); 4]),
            ("GET /admin/memory", [cut(Answer::Memory); 4]),
            ("GET /admin/alerts", [pass; 4]),
            ("POST /admin/mystery/answer", [pass; 4]),
            ("POST /admin/leaks/{name}", [refuse; 4]),
            ("POST /admin/reset", [refuse; 4]),
            ("GET /admin/catalogue", [refuse; 4]),
            ("GET /admin/plugins", [refuse; 4]),
            ("GET /admin/post-mortem", [refuse; 4]),
            ("GET /admin/scenario", [refuse; 4]),
            ("GET /admin/exercises", [refuse; 4]),
            ("POST /admin/scorer/alertmanager", [pass; 4]),
            ("GET /admin/scorer", [refuse; 4]),
            ("GET /admin/something-new", [refuse; 4]),
        ] {
            let (method, path) = call.split_once(' ').unwrap();
            let method: Method = method.parse().unwrap();
            let levels = [Lines, Functions, PluginMetrics, ProcessMetrics];
            assert_eq!(
                levels.map(|level| rule(&method, path, level)),
                rules,
                "{call}"
            );
        }
    }

    #[test]
    fn a_plugin_keeps_the_numbers_of_its_memory_only() {
        let whole = json!({
            "state": "running", "requests": 5, "heap_live_bytes": 7, "variant": "leaky",
            "settings": {"curve": "step"}, "count": 5, "unit": "entries", "reason": "panicked",
        });
        let expected = json!({"state": "running", "requests": 5, "heap_live_bytes": 7});
        assert_eq!(plugin(&whole), expected);
        let all = json!({ "plugin-a": whole });
        assert_eq!(
            plugins(&all, Visibility::PluginMetrics),
            json!({ "plugin-a": expected })
        );
        assert_eq!(plugins(&all, Visibility::ProcessMetrics), json!({}));
    }

    #[test]
    fn functions_lose_their_paths_and_are_counted_together() {
        let row = |function: &str, bytes: u64| {
            json!({"plugin": "plugin-a", "function": function, "location": "plugins/cache/src/lib.rs:1",
                   "size_bytes": bytes, "count": 1})
        };
        let rows = json!([
            row("leak_cache::Store::insert", 10),
            row("leak_cache::Other::insert", 5)
        ]);
        let shown = functions(&rows);
        assert_eq!(shown["by_function"][0]["function"], "insert");
        assert_eq!(shown["by_function"][0]["size_bytes"], 15);
        assert!(!shown.to_string().contains("cache"), "{shown}");
    }
}
