//! The requests of a check: always the same, with a clock of their own.

use std::time::Duration;

use crate::instance::request::{GuestRequest, RequestHead};

/// Time of the first request: 2026-01-01T00:00:00Z. It is fixed, so each check sees the same dates.
const FIRST_REQUEST_UNIX_MS: u64 = 1_767_225_600_000;

/// The request with this number, from 0, at this time since the first one.
pub(super) fn generate_request(number: u64, clock: Duration) -> GuestRequest {
    let cookie = format!("session={number:08x}");
    let headers = [
        ("host", "localhost:8080"),
        ("user-agent", "leak-host check"),
        ("accept", "*/*"),
        ("cookie", &cookie),
    ];
    let head = RequestHead {
        id: &format!("00000000-0000-4000-8000-{number:012x}"),
        time_unix_ms: FIRST_REQUEST_UNIX_MS
            + u64::try_from(clock.as_millis()).unwrap_or(u64::MAX / 2),
        method: "GET",
        path: "/api/data",
        query: &format!("user={}&page={}", number % 50, number % 7),
        body_preview: "",
        status: if number % 10 == 9 { 500 } else { 200 },
        elapsed_us: 100 + number % 10,
        trace_id: &format!("{:032x}", u128::from(number) + 1),
    };
    let headers = headers.into_iter();
    GuestRequest::new(&head, headers.map(|(name, value)| (name, value.into())))
}
