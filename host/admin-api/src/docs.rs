//! The API's own description: `/openapi.json` for programs, `/docs` for people, both from the code.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, PathItem, RefOr, Required};

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
            let text = text.map(|t| rendered(t)).collect::<Vec<_>>().join(" ");
            let name = escape(path);
            // A GET that needs no parameters can be tried by a click: the policy allows neither form nor script.
            let shown = match method == "GET" && !path.contains('{') && !takes_needed(operation) {
                true => format!("<a href='{name}'><code>{name}</code></a>"),
                false => format!("<code>{name}</code>"),
            };
            // Writing to a string cannot fail.
            let _ = write!(rows, "<tr><td>{method}<td>{shown}<td>{text}");
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
         <p>Types, ranges and errors of each call are in <a href='/openapi.json'>/openapi.json</a>. A path that is a link \
         shows its answer; where the host asks for an admin token, the admin API needs it in a header, as in \
         <code>curl -H 'Authorization: Bearer …'</code>.</p>\
         <table><thead><tr><th>Method<th>Path<th>What it does</thead><tbody>{rows}</tbody></table></html>",
        title = escape(&description.info.title),
        about = rendered(description.info.description.as_deref().unwrap_or_default()),
    )
}

/// Whether a call needs parameters that only the caller knows.
fn takes_needed(operation: &Operation) -> bool {
    let parameters = operation.parameters.iter().flatten();
    parameters.into_iter().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.required == Required::True,
        // What is described elsewhere may need anything.
        RefOr::Ref(_) => true,
    })
}

/// Text with its code as code: what stands between backticks.
fn rendered(text: &str) -> String {
    let mut parts = text.split('`').map(escape);
    let mut out = parts.next().unwrap_or_default();
    while let Some(code) = parts.next() {
        match parts.next() {
            Some(after) => out.push_str(&format!("<code>{code}</code>{after}")),
            // A backtick without another is a backtick.
            None => out.push_str(&format!("`{code}")),
        }
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_code_and_text_is_text() {
        for (text, html) in [
            ("plain", "plain"),
            ("`a<b>` of `c`", "<code>a&lt;b&gt;</code> of <code>c</code>"),
            ("one ` alone & well", "one ` alone &amp; well"),
        ] {
            assert_eq!(rendered(text), html);
        }
    }
}
