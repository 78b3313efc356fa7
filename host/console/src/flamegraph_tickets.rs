//! Flame graphs for the page's frame, at `/console/pictures`.
//!
//! A frame cannot send the admin token. A page therefore asks for a ticket with its token. The
//! ticket is an address that cannot be guessed, valid for [`VALIDITY`]. The SVG has an inline
//! script and an inline style for zoom and search. Its content policy allows these two by their
//! hashes and nothing else.

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

/// How long a flame graph can be fetched with its ticket.
const VALIDITY: Duration = Duration::from_secs(15 * 60);

/// The most tickets that are kept. A new ticket drops the oldest.
const MAX_TICKETS: usize = 128;

/// The permission to fetch one flame graph.
struct FlamegraphTicket {
    id: Uuid,
    issued_at: Instant,
    query: HeapQuery,
}

impl FlamegraphTicket {
    fn is_valid(&self) -> bool {
        self.issued_at.elapsed() < VALIDITY
    }
}

/// The tickets, oldest first.
#[derive(Default)]
struct IssuedTickets(Mutex<VecDeque<FlamegraphTicket>>);

impl IssuedTickets {
    fn add(&self, query: HeapQuery) -> Uuid {
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(FlamegraphTicket::is_valid);
        if tickets.len() == MAX_TICKETS {
            tickets.pop_front();
        }
        tickets.push_back(FlamegraphTicket {
            id,
            issued_at: Instant::now(),
            query,
        });
        id
    }

    fn find(&self, id: &str) -> Option<HeapQuery> {
        let id = Uuid::parse_str(id).ok()?;
        let tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = tickets.iter().find(|ticket| ticket.id == id);
        ticket
            .filter(|ticket| ticket.is_valid())
            .map(|ticket| ticket.query.clone())
    }
}

/// The state of the two handlers.
pub(crate) struct FlamegraphTickets {
    state: Arc<ApiState>,
    issued: IssuedTickets,
}

impl FlamegraphTickets {
    pub(crate) fn new(state: Arc<ApiState>) -> Self {
        FlamegraphTickets {
            state,
            issued: IssuedTickets::default(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct TicketLink {
    /// The address of the flame graph.
    path: String,
}

/// Issues a ticket. The query is that of `/admin/memory/flamegraph`.
pub(crate) async fn issue(
    State(tickets): State<Arc<FlamegraphTickets>>,
    ApiQuery(query): ApiQuery<HeapQuery>,
) -> Result<Json<TicketLink>, ApiError> {
    refuse_hidden(&tickets.state)?;
    // Reject an unknown plugin or baseline here: the frame cannot show an error.
    query.plugins(&tickets.state)?;
    query.comparison(&tickets.state)?;
    let ticket = tickets.issued.add(query);
    Ok(Json(TicketLink {
        path: format!("/console/pictures/{ticket}"),
    }))
}

/// A flame graph has source lines, which a mystery can hide.
fn refuse_hidden(state: &ApiState) -> Result<(), ApiError> {
    match state.shows_lines() {
        true => Ok(()),
        false => Err(ApiError::hidden()),
    }
}

/// Renders the flame graph of a ticket.
pub(crate) async fn show(
    State(tickets): State<Arc<FlamegraphTickets>>,
    PathName(ticket): PathName,
) -> Result<Response, ApiError> {
    refuse_hidden(&tickets.state)?;
    let Some(query) = tickets.issued.find(&ticket) else {
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
    fn a_ticket_is_found_until_newer_tickets_replace_it() {
        let tickets = IssuedTickets::default();
        let first = tickets.add(HeapQuery::default()).to_string();
        assert!(tickets.find(&first).is_some());
        for _ in 0..MAX_TICKETS {
            tickets.add(HeapQuery::default());
        }
        assert!(
            tickets.find(&first).is_none(),
            "the oldest ticket is dropped"
        );
        for wrong in ["", "../../etc/passwd", "0", &Uuid::nil().to_string()] {
            assert!(tickets.find(wrong).is_none(), "{wrong:?}");
        }
    }
}
