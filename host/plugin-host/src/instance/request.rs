//! A request in the form that guests receive. The host copies it once and lends it to each plugin.

use std::borrow::Cow;
use std::ops::Range;

use crate::bindings::exports::leak_lab::plugin::leak as wit;

/// Capacity in bytes that holds the texts of most requests.
const TEXT_CAPACITY: usize = 512;

/// The parts of a request, except its headers.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// A UUID.
    pub id: &'a str,
    /// Arrival time in milliseconds since 1970-01-01T00:00:00Z.
    pub time_unix_ms: u64,
    /// The HTTP method.
    pub method: &'a str,
    /// The path of the URL.
    pub path: &'a str,
    /// The query without its question mark; empty when there is none.
    pub query: &'a str,
    /// The first bytes of the body, as text.
    pub body_preview: &'a str,
    /// The status that the service is about to answer.
    pub status: u16,
    /// Time since the arrival, in microseconds.
    pub elapsed_us: u64,
    /// 32 lower-case hexadecimal digits.
    pub trace_id: &'a str,
}

/// One request. It keeps all its texts in one buffer: the host builds one for each HTTP request,
/// and as many separate strings would cost as much as a call.
#[derive(Debug)]
pub struct GuestRequest {
    texts: TextBuffer,
    id: Range<usize>,
    time_unix_ms: u64,
    method: Range<usize>,
    path: Range<usize>,
    query: Range<usize>,
    headers: Vec<(Range<usize>, Range<usize>)>,
    body_preview: Range<usize>,
    status: u16,
    elapsed_us: u64,
    trace_id: Range<usize>,
}

#[derive(Debug)]
struct TextBuffer(String);

impl TextBuffer {
    fn add(&mut self, text: &str) -> Range<usize> {
        let start = self.0.len();
        self.0.push_str(text);
        start..self.0.len()
    }

    fn get(&self, range: &Range<usize>) -> &str {
        self.0.get(range.clone()).unwrap_or_default()
    }
}

impl GuestRequest {
    /// Copies a request.
    pub fn new<'a>(
        head: &RequestHead<'a>,
        headers: impl Iterator<Item = (&'a str, Cow<'a, str>)>,
    ) -> Self {
        let mut texts = TextBuffer(String::with_capacity(TEXT_CAPACITY));
        let headers = headers.map(|(name, value)| (texts.add(name), texts.add(&value)));
        GuestRequest {
            headers: headers.collect(),
            id: texts.add(head.id),
            time_unix_ms: head.time_unix_ms,
            method: texts.add(head.method),
            path: texts.add(head.path),
            query: texts.add(head.query),
            body_preview: texts.add(head.body_preview),
            status: head.status,
            elapsed_us: head.elapsed_us,
            trace_id: texts.add(head.trace_id),
            texts,
        }
    }

    /// The names and values of the headers.
    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        let text = |range| self.texts.get(range);
        let headers = self.headers.iter();
        headers
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    /// The request in the types of the contract. `headers` are the request's own
    /// [headers](Self::headers); the caller keeps the list alive.
    pub(crate) fn to_wit<'a>(&'a self, headers: &'a [(&'a str, &'a str)]) -> wit::Request<'a> {
        wit::Request {
            id: self.texts.get(&self.id),
            time_unix_ms: self.time_unix_ms,
            method: self.texts.get(&self.method),
            path: self.texts.get(&self.path),
            query: self.texts.get(&self.query),
            headers,
            body_preview: self.texts.get(&self.body_preview),
            status: self.status,
            elapsed_us: self.elapsed_us,
            trace_id: self.texts.get(&self.trace_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_returns_its_own_text() {
        let head = RequestHead {
            id: "an id",
            time_unix_ms: 1,
            method: "GET",
            path: "/api/data",
            query: "user=ä",
            body_preview: "",
            status: 500,
            elapsed_us: 3,
            trace_id: "4bf9",
        };
        let given = [("host", "localhost"), ("empty", ""), ("host", "again")];
        let request = GuestRequest::new(&head, given.map(|(n, v)| (n, v.into())).into_iter());
        let headers = request.headers();
        assert_eq!(headers, given);
        let wit = request.to_wit(&headers);
        assert_eq!(
            (
                wit.id,
                wit.method,
                wit.path,
                wit.query,
                wit.body_preview,
                wit.trace_id
            ),
            ("an id", "GET", "/api/data", "user=ä", "", "4bf9")
        );
        assert_eq!((wit.time_unix_ms, wit.status, wit.elapsed_us), (1, 500, 3));
    }
}
