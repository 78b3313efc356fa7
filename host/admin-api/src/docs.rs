//! The API's description: `/openapi.json` for programs, `/docs` for people. Both come from the
//! code.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{
    ContentBuilder, OpenApi, PathItem, Ref, RefOr, Required, ResponseBuilder, Schema,
};

/// The `Content-Security-Policy` of `/docs`: the page uses its inline style and loads nothing.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

pub(crate) fn routes(mut description: OpenApi) -> Router {
    allow_overlaps(&mut description);
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

/// An answer in full is one in short, too: it has all of its fields. `oneOf` would forbid that, so
/// a type with alternatives becomes `anyOf`, unless a field says which alternative it is.
fn allow_overlaps(description: &mut OpenApi) {
    let Some(components) = &mut description.components else {
        return;
    };
    for schema in components.schemas.values_mut() {
        if let RefOr::T(Schema::OneOf(one)) = schema
            && one.discriminator.is_none()
        {
            let any = AnyOfBuilder::new().description(one.description.take());
            let items = std::mem::take(&mut one.items).into_iter();
            let any = items.fold(any, AnyOfBuilder::item);
            *schema = RefOr::T(Schema::AnyOf(any.build()));
        }
    }
}

/// While a mystery runs, most calls of the admin API answer 409.
pub(crate) fn describe_hidden(description: &mut OpenApi) {
    let schema = Ref::from_schema_name("ErrorBody");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let hidden = ResponseBuilder::new()
        .description("A mystery runs and hides this, or the call does not fit the present state")
        .content("application/json", content)
        .build();
    for (path, item) in &mut description.paths.paths {
        if !path.starts_with("/admin/") && !path.starts_with("/debug/") {
            continue;
        }
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            let response = responses.entry("409".to_owned());
            response.or_insert_with(|| RefOr::T(hidden.clone()));
        }
    }
}

pub(crate) fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
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
            // A GET without required parameters is a link that shows its answer. Other calls would
            // need a form or a script, and the policy allows neither.
            let linked =
                method == "GET" && !path.contains('{') && !has_required_parameter(operation);
            let shown = match linked {
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
         <p><a href='/openapi.json'>/openapi.json</a> has the types, ranges and errors of each call. \
         Click a path to see its answer. If this host has an admin token, send it in a header: \
         <code>curl -H 'Authorization: Bearer TOKEN'</code>.</p>\
         <table><thead><tr><th>Method<th>Path<th>What it does</thead><tbody>{rows}</tbody></table></html>",
        title = escape(&description.info.title),
        about = rendered(description.info.description.as_deref().unwrap_or_default()),
    )
}

fn has_required_parameter(operation: &Operation) -> bool {
    let parameters = operation.parameters.iter().flatten();
    parameters.into_iter().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.required == Required::True,
        // A reference is not resolved here, so it counts as required.
        RefOr::Ref(_) => true,
    })
}

/// Text as HTML, with `<code>` for text between backticks.
fn rendered(text: &str) -> String {
    let mut parts = text.split('`').map(escape);
    let mut out = parts.next().unwrap_or_default();
    while let Some(code) = parts.next() {
        match parts.next() {
            Some(after) => out.push_str(&format!("<code>{code}</code>{after}")),
            // A backtick without a partner stays a backtick.
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
    fn backticks_become_code_elements() {
        for (text, html) in [
            ("plain", "plain"),
            ("`a<b>` of `c`", "<code>a&lt;b&gt;</code> of <code>c</code>"),
            ("one ` only & well", "one ` only &amp; well"),
        ] {
            assert_eq!(rendered(text), html);
        }
    }
}
