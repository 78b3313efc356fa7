//! A request as the guests get it: copied once from the service, and lent to each of them.

use std::borrow::Cow;
use std::ops::Range;

use crate::bindings::exports::leak_lab::plugin::leak as wit;

/// What a request is made of, its headers aside.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// A UUID.
    pub id: &'a str,
    /// When it arrived, in milliseconds since 1970-01-01T00:00:00Z.
    pub time_unix_ms: u64,
    /// Its method.
    pub method: &'a str,
    /// Its path.
    pub path: &'a str,
    /// Without the question mark; empty when there is none.
    pub query: &'a str,
    /// The first bytes of its body, as text.
    pub body_preview: &'a str,
    /// The status that the service is going to answer.
    pub status: u16,
    /// Time taken so far, in microseconds.
    pub elapsed_us: u64,
    /// 32 lower-case hexadecimal digits.
    pub trace_id: &'a str,
}

/// One request. Its texts are in one place: it is made for each request of the service, and that many small strings
/// would cost as much as a call.
#[derive(Debug)]
pub struct Request {
    texts: Texts,
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

/// Texts, one after the other.
#[derive(Debug)]
struct Texts(String);

impl Texts {
    /// Room for the texts of most requests.
    const ROOM: usize = 512;

    fn add(&mut self, text: &str) -> Range<usize> {
        let start = self.0.len();
        self.0.push_str(text);
        start..self.0.len()
    }

    fn get(&self, place: &Range<usize>) -> &str {
        self.0.get(place.clone()).unwrap_or_default()
    }
}

impl Request {
    /// Copies a request.
    pub fn new<'a>(
        head: &Head<'a>,
        headers: impl Iterator<Item = (&'a str, Cow<'a, str>)>,
    ) -> Self {
        let mut texts = Texts(String::with_capacity(Texts::ROOM));
        let headers = headers.map(|(name, value)| (texts.add(name), texts.add(&value)));
        Request {
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

    /// The names and values of its headers.
    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        let text = |place| self.texts.get(place);
        let headers = self.headers.iter();
        headers.map(|(n, value)| (text(n), text(value))).collect()
    }

    /// The request in the words of the contract, with its own [headers](Self::headers).
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
    fn every_text_is_in_its_place() {
        let head = Head {
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
        let request = Request::new(&head, given.map(|(n, v)| (n, v.into())).into_iter());
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
