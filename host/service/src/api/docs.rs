//! The API's own description: `/openapi.json` for programs, `/docs` for people, both from the code.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, PathItem};

/// The page needs its own style and nothing else.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The two routes.
pub(super) fn routes(description: OpenApi) -> Router {
    let page: Arc<str> = page(&description).into();
    let json = Arc::new(description);
    Router::new()
        .route(
            "/openapi.json",
            get(move || async move { axum::Json(Arc::unwrap_or_clone(json)) }),
        )
        .route(
            "/docs",
            get(move || async move {
                let policy: [(HeaderName, &str); 1] = [(header::CONTENT_SECURITY_POLICY, POLICY)];
                (policy, Html(page.to_string())).into_response()
            }),
        )
}

fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("DELETE", &item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn page(description: &OpenApi) -> String {
    let mut rows = String::new();
    for (path, item) in &description.paths.paths {
        for (method, operation) in operations(item) {
            let text = [&operation.summary, &operation.description]
                .into_iter()
                .flatten();
            let text = text.map(|t| escape(t)).collect::<Vec<_>>().join(" ");
            // Writing to a string cannot fail.
            let _ = write!(
                rows,
                "<tr><td>{method}<td><code>{}</code><td>{text}",
                escape(path)
            );
        }
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>{title}: API</title><style>\
         :root{{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}}\
         body{{max-width:70rem;margin:2rem auto;padding:0 1rem}}\
         table{{border-collapse:collapse;width:100%}}\
         td,th{{text-align:left;vertical-align:top;padding:.4rem .8rem;border-bottom:1px solid #8884}}\
         code{{white-space:nowrap}}</style>\
         <h1>{title}: API</h1><p>{about}</p>\
         <p>Types, ranges and errors of each call are in <a href='/openapi.json'>/openapi.json</a>.</p>\
         <table><thead><tr><th>Method<th>Path<th>What it does</thead><tbody>{rows}</tbody></table></html>",
        title = escape(&description.info.title),
        about = escape(description.info.description.as_deref().unwrap_or_default()),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
