//! Answers to what is not HTTP, as JSON like every other error.
//!
//! hyper answers such a request itself, before a service sees it, with a status and an empty body.
//! There is no setting for it, so the answer is replaced on its way to the socket.

use admin_api::error::{ApiError, ErrorCode};

/// An answer of hyper begins with one of these. The host itself answers with no other version.
const ERRORS: [(&[u8], ErrorCode, &str, &str); 3] = [
    (
        b"HTTP/1.1 400 ",
        ErrorCode::MalformedRequest,
        "this is not an HTTP/1.1 request",
        "send a request line, headers and a body as RFC 9112 describes them",
    ),
    (
        b"HTTP/1.1 414 ",
        ErrorCode::HeadersTooLarge,
        "the address is too long",
        "send less than 64 KiB, together with the headers",
    ),
    (
        b"HTTP/1.1 431 ",
        ErrorCode::HeadersTooLarge,
        "the request has too many headers, or they and its address are too long",
        "send at most 100 headers, and less than 64 KiB together with the address",
    ),
];

/// An answer in place of one that hyper writes.
pub(super) struct Replacement {
    bytes: Vec<u8>,
    sent: usize,
    /// Bytes that hyper wants to write.
    replaces: usize,
}

impl Replacement {
    /// The answer in place of `head`, if `head` is an error that hyper made.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let (_, code, message, hint) = ERRORS.iter().find(|error| head.starts_with(error.0))?;
        // The host's own errors have a body and say of what type it is.
        let text = std::str::from_utf8(head).ok()?;
        let is_empty = text.ends_with("\r\n\r\n") && text.contains("\r\ncontent-length: 0\r\n");
        if !is_empty || text.contains("\r\ncontent-type:") {
            return None;
        }
        let body = ApiError::new(*code, *message, *hint).to_json();
        let headers = format!(
            "\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        let bytes = text.replacen("\r\ncontent-length: 0\r\n", &headers, 1) + &body;
        Some(Self {
            bytes: bytes.into_bytes(),
            sent: 0,
            replaces: head.len(),
        })
    }

    /// What the socket has not taken yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    pub(super) fn add_sent(&mut self, bytes: usize) {
        self.sent += bytes;
    }

    /// How many bytes of its own answer hyper may take for written.
    pub(super) fn replaces(&self) -> usize {
        self.replaces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_without_a_body_gets_one() {
        let head = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
            content-length: 0\r\ndate: today\r\n\r\n";
        let mut answer = Replacement::of(head).unwrap();
        assert_eq!(answer.replaces(), head.len());
        let text = String::from_utf8(answer.rest().to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "headers_too_large");
        answer.add_sent(text.len() - 2);
        assert_eq!(answer.rest(), b"}}");
    }

    #[test]
    fn a_long_address_is_an_error_like_the_others() {
        let head = b"HTTP/1.1 414 URI Too Long\r\ncontent-length: 0\r\n\r\n";
        let answer = Replacement::of(head).unwrap();
        let text = String::from_utf8(answer.rest().to_vec()).unwrap();
        assert!(text.starts_with("HTTP/1.1 414 "), "{text}");
        assert!(text.contains("headers_too_large"), "{text}");
    }

    #[test]
    fn the_answers_of_the_host_are_left_as_they_are() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
        ] {
            assert!(Replacement::of(answer).is_none());
        }
    }
}
