//! Flame graphs for the page's frame.
//!
//! A frame cannot send the admin token, so a page orders a picture with it and gets an address that nobody can guess,
//! good for [`VALID`]. The picture brings a script and a style of its own, for zoom; its policy names the hashes
//! of just these, so whatever else got into it would not run.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Console, GUARDS};
use admin_api::error::{ApiError, ErrorCode};
use admin_api::heap_query::HeapQuery;
use admin_api::path_name::PathName;
use admin_api::profile;
use admin_api::query::ApiQuery;

/// How long an ordered picture can be fetched.
const VALID: Duration = Duration::from_secs(15 * 60);

/// Orders that are kept; the oldest goes first.
const KEPT: usize = 128;

/// The orders.
#[derive(Default)]
pub(super) struct Tickets {
    orders: Mutex<VecDeque<(Uuid, Instant, HeapQuery)>>,
}

impl Tickets {
    fn issue(&self, query: HeapQuery) -> Uuid {
        let ticket = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.retain(|(_, at, _)| at.elapsed() < VALID);
        if orders.len() == KEPT {
            orders.pop_front();
        }
        orders.push_back((ticket, Instant::now(), query));
        ticket
    }

    fn find(&self, ticket: &str) -> Option<HeapQuery> {
        let ticket = Uuid::parse_str(ticket).ok()?;
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let valid =
            |order: &&(Uuid, Instant, HeapQuery)| order.0 == ticket && order.1.elapsed() < VALID;
        orders.iter().find(valid).map(|(_, _, query)| query.clone())
    }
}

/// Where an ordered picture is.
#[derive(Serialize)]
pub(super) struct Ordered {
    path: String,
}

/// Takes an order: the query is that of `/admin/memory/flamegraph`.
pub(super) async fn order(
    State(console): State<Arc<Console>>,
    ApiQuery(query): ApiQuery<HeapQuery>,
) -> Result<Json<Ordered>, ApiError> {
    // What is wrong is said now: a frame is no place for an error.
    query.plugins(&console.lab)?;
    query.comparison(&console.lab)?;
    let ticket = console.tickets.issue(query);
    Ok(Json(Ordered {
        path: format!("/console/pictures/{ticket}"),
    }))
}

/// Draws what was ordered.
pub(super) async fn show(
    State(console): State<Arc<Console>>,
    PathName(ticket): PathName,
) -> Result<Response, ApiError> {
    let Some(query) = console.tickets.find(&ticket) else {
        return Err(ApiError::new(
            ErrorCode::UnknownPicture,
            "there is no such picture, or it is older than 15 minutes",
            "order it again in the console",
        ));
    };
    let svg = profile::render(&console.lab, &query).await?;
    let mut response = (
        GUARDS,
        [(header::CONTENT_TYPE, "image/svg+xml")],
        svg.clone(),
    )
        .into_response();
    if let Ok(policy) = policy(&svg).parse() {
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// Lets the script, the style and the start call of this picture run, and nothing else.
fn policy(svg: &str) -> String {
    let start = between(svg, " onload=\"", "\"").map(str::to_owned);
    let script = inline(svg, "script").into_iter().chain(start);
    let style = inline(svg, "style");
    format!(
        "default-src 'none'; script-src 'unsafe-hashes'{}; style-src{}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'self'",
        script.map(|text| hash(&text)).collect::<String>(),
        match style {
            Some(style) => hash(&style),
            None => " 'none'".to_owned(),
        }
    )
}

/// The text of the first element of this name, without the brackets that XML wants around a script.
fn inline(svg: &str, element: &str) -> Option<String> {
    let (_, rest) = svg.split_once(&format!("<{element}"))?;
    let text = between(rest, ">", &format!("</{element}>"))?;
    Some(text.replace("<![CDATA[", "").replace("]]>", ""))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(inner, _)| inner)
}

fn hash(text: &str) -> String {
    format!(" 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_what_is_there_and_nothing_else() {
        let svg = "<svg onload=\"init(evt)\"><style type=\"text/css\">a{}</style>\
                   <script type=\"text/ecmascript\"><![CDATA[alert(]]><![CDATA[1)]]></script></svg>";
        let policy = policy(svg);
        for text in ["init(evt)", "a{}", "alert(1)"] {
            assert!(policy.contains(hash(text).trim()), "{text}: {policy}");
        }
        assert!(!policy.contains("unsafe-inline"), "{policy}");
        let nothing = super::policy("<svg></svg>");
        assert!(nothing.contains("style-src 'none'"), "{nothing}");
    }

    #[test]
    fn tickets_are_kept_for_a_while_and_bounded() {
        let tickets = Tickets::default();
        let first = tickets.issue(HeapQuery::default()).to_string();
        assert!(tickets.find(&first).is_some());
        for _ in 0..KEPT {
            tickets.issue(HeapQuery::default());
        }
        assert!(tickets.find(&first).is_none(), "the oldest went");
        for wrong in ["", "../../etc/passwd", "0", &Uuid::nil().to_string()] {
            assert!(tickets.find(wrong).is_none(), "{wrong:?}");
        }
    }
}
