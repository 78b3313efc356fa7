//! The record of one request.

use leak_plugin_sdk::{HeapSize, Payload, Request};

/// A complete request, and padding that fills the record up to its size.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) request: Request,
    pub(crate) padding: Payload,
}

impl Record {
    /// The bytes of padding with which a record of `request` retains `payload_bytes` in total.
    ///
    /// At least two thirds of `payload_bytes` are padding. So a request with many headers retains
    /// more than `payload_bytes`, as it would in a real history.
    pub(crate) fn padding_bytes(request: &Request, payload_bytes: usize) -> usize {
        let overhead = size_of::<Box<Self>>() + size_of::<Self>() + request.heap_bytes();
        payload_bytes
            .saturating_sub(overhead)
            .max(payload_bytes * 2 / 3)
    }
}

impl HeapSize for Record {
    fn heap_bytes(&self) -> usize {
        self.request.heap_bytes() + self.padding.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use leak_plugin_sdk::testing::request;

    use super::*;

    #[test]
    fn padding_fills_the_record_and_is_at_least_two_thirds_of_it() {
        let mut request = request(1);
        for (payload_bytes, min) in [(1536, 1024), (15_360, 10_240), (3, 2), (0, 0)] {
            let padding = Record::padding_bytes(&request, payload_bytes);
            assert!(padding >= min, "{padding} of {payload_bytes}");
        }
        let record = size_of::<Box<Record>>() + size_of::<Record>() + request.heap_bytes();
        assert_eq!(Record::padding_bytes(&request, 15_360) + record, 15_360);
        request
            .headers
            .push(("cookie".to_owned(), "x".repeat(4000)));
        assert_eq!(Record::padding_bytes(&request, 1536), 1024);
    }
}
