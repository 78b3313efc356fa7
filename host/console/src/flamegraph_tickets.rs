//! Flame graphs for the page's frame, at `/console/pictures`.
//!
//! A frame cannot send the admin token. A page therefore orders a flame graph with its token and
//! gets an address that cannot be guessed, valid for [`VALIDITY`]. The SVG has an inline script and
//! an inline style for zoom and search. Its content policy allows these two by their hashes and
//! nothing else.

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

use crate::headers::PROTECTION;
use admin_api::ApiState;
use admin_api::error::{ApiError, ErrorCode};
use admin_api::heap_query::HeapQuery;
use admin_api::path_name::PathName;
use admin_api::profile;
use admin_api::query::ApiQuery;

/// How long an ordered flame graph can be fetched.
const VALIDITY: Duration = Duration::from_secs(15 * 60);

/// The most orders that are kept. A new order drops the oldest.
const MAX_ORDERS: usize = 128;

/// One ordered flame graph.
struct Order {
    ticket: Uuid,
    ordered_at: Instant,
    query: HeapQuery,
}

impl Order {
    fn is_valid(&self) -> bool {
        self.ordered_at.elapsed() < VALIDITY
    }
}

/// The orders, oldest first.
#[derive(Default)]
struct Orders(Mutex<VecDeque<Order>>);

impl Orders {
    fn add(&self, query: HeapQuery) -> Uuid {
        let ticket = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        orders.retain(Order::is_valid);
        if orders.len() == MAX_ORDERS {
            orders.pop_front();
        }
        orders.push_back(Order {
            ticket,
            ordered_at: Instant::now(),
            query,
        });
        ticket
    }

    fn find(&self, ticket: &str) -> Option<HeapQuery> {
        let ticket = Uuid::parse_str(ticket).ok()?;
        let orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let order = orders.iter().find(|order| order.ticket == ticket);
        order
            .filter(|order| order.is_valid())
            .map(|order| order.query.clone())
    }
}

/// The tickets of ordered flame graphs.
pub(crate) struct Tickets {
    state: Arc<ApiState>,
    orders: Orders,
}

impl Tickets {
    pub(crate) fn new(state: Arc<ApiState>) -> Self {
        Tickets {
            state,
            orders: Orders::default(),
        }
    }
}

/// The answer to an order.
#[derive(Serialize)]
pub(crate) struct Ordered {
    /// The address of the flame graph.
    path: String,
}

/// Takes an order. The query is that of `/admin/memory/flamegraph`.
pub(crate) async fn order(
    State(tickets): State<Arc<Tickets>>,
    ApiQuery(query): ApiQuery<HeapQuery>,
) -> Result<Json<Ordered>, ApiError> {
    // Reject an unknown plugin or baseline here: the frame cannot show an error.
    query.plugins(&tickets.state)?;
    query.comparison(&tickets.state)?;
    let ticket = tickets.orders.add(query);
    Ok(Json(Ordered {
        path: format!("/console/pictures/{ticket}"),
    }))
}

/// Renders an ordered flame graph.
pub(crate) async fn show(
    State(tickets): State<Arc<Tickets>>,
    PathName(ticket): PathName,
) -> Result<Response, ApiError> {
    let Some(query) = tickets.orders.find(&ticket) else {
        return Err(ApiError::new(
            ErrorCode::UnknownPicture,
            "this flame graph link is unknown or older than 15 minutes",
            "open the flame graph again",
        ));
    };
    let svg = profile::render(&tickets.state, &query).await?;
    let mut response = (
        PROTECTION,
        [(header::CONTENT_TYPE, "image/svg+xml")],
        svg.clone(),
    )
        .into_response();
    if let Ok(policy) = content_policy(&svg).parse() {
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// The content policy that allows the script, the style and the `onload` handler of this SVG, and
/// nothing else.
fn content_policy(svg: &str) -> String {
    let onload = between(svg, " onload=\"", "\"").map(str::to_owned);
    let script = inline(svg, "script").into_iter().chain(onload);
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

/// The text of the first element of this name, without the CDATA brackets that XML has around a
/// script.
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
    fn the_policy_allows_only_the_inline_parts_of_the_svg() {
        let svg = "<svg onload=\"init(evt)\"><style type=\"text/css\">a{}</style>\
                   <script type=\"text/ecmascript\"><![CDATA[alert(]]><![CDATA[1)]]></script></svg>";
        let policy = content_policy(svg);
        for text in ["init(evt)", "a{}", "alert(1)"] {
            assert!(policy.contains(hash(text).trim()), "{text}: {policy}");
        }
        assert!(!policy.contains("unsafe-inline"), "{policy}");
        let empty = content_policy("<svg></svg>");
        assert!(empty.contains("style-src 'none'"), "{empty}");
    }

    #[test]
    fn a_ticket_is_found_until_newer_orders_replace_it() {
        let orders = Orders::default();
        let first = orders.add(HeapQuery::default()).to_string();
        assert!(orders.find(&first).is_some());
        for _ in 0..MAX_ORDERS {
            orders.add(HeapQuery::default());
        }
        assert!(orders.find(&first).is_none(), "the oldest order is dropped");
        for wrong in ["", "../../etc/passwd", "0", &Uuid::nil().to_string()] {
            assert!(orders.find(wrong).is_none(), "{wrong:?}");
        }
    }
}
