//! What has grown per request, by line and by path.

use std::sync::Arc;

use anyhow::Result;
use guest_heap::diff::{Baseline, Diff};
use guest_heap::grouped;
use guest_heap::snapshot::GroupBy;
use serde::Serialize;

use crate::heap::Heap;
use crate::report::place;
use crate::serve::heap_requests::CountedHeap;
use crate::serve::retention::Retained;
use crate::serve::server::Server;
use crate::serve::tally::Summary;

/// Lines that a comparison keeps.
const MAX_LINES: usize = 1000;

/// The growth between two heaps of an instance, per request.
#[derive(Debug, Serialize)]
pub(super) struct Growth {
    /// Requests that the instance had handled at the first heap.
    from_request: u64,
    /// Requests that it had handled at the second one.
    to_request: u64,
    bytes_per_request: f64,
    blocks_per_request: f64,
    /// The lines that have grown, largest growth first.
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    location: String,
    function: String,
    #[serde(skip)]
    has_line: bool,
    bytes_per_request: f64,
    blocks_per_request: f64,
    live_bytes: u64,
}

impl Server {
    /// Compares a heap of the live instance with an earlier one; `None` if there is none.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub(super) async fn growth(
        &self,
        summary: &Summary,
        now: &CountedHeap,
        heap: &Heap,
    ) -> Result<Option<Growth>> {
        let Some(then) = summary.checkpoint(now.requests) else {
            return Ok(None);
        };
        let earlier = self.symbolize(&then.heap).await?;
        Ok(Some(Growth::between(
            then.requests,
            &earlier,
            now.requests,
            heap,
        )))
    }
}

impl Growth {
    fn between(from: u64, then: &Heap, to: u64, now: &Heap) -> Self {
        let baseline = Baseline::new(&then.snapshot);
        let diff = Diff::new(&baseline, &now.snapshot, GroupBy::Line, MAX_LINES);
        let requests = to.saturating_sub(from).max(1) as f64;
        let lines = diff.growing.iter().filter(|change| change.bytes > 0);
        Self {
            from_request: from,
            to_request: to,
            bytes_per_request: diff.bytes as f64 / requests,
            blocks_per_request: diff.objects as f64 / requests,
            lines: lines
                .map(|change| Line {
                    location: change.location.to_string(),
                    function: change.site.function.to_string(),
                    has_line: change.site.line.is_some(),
                    bytes_per_request: change.bytes as f64 / requests,
                    blocks_per_request: change.objects as f64 / requests,
                    live_bytes: change.current_bytes,
                })
                .collect(),
        }
    }

    /// For people.
    pub(super) fn text(&self, top: usize) -> String {
        let mut text = format!(
            "per request, from request {} to {}: {} bytes in {:+.2} blocks\n",
            grouped(self.from_request),
            grouped(self.to_request),
            signed(self.bytes_per_request),
            self.blocks_per_request,
        );
        if self.lines.is_empty() {
            return text;
        }
        text.push_str(&format!(
            "{:>14} {:>14}  line\n",
            "bytes/request", "blocks/request"
        ));
        for line in self.lines.iter().take(top) {
            text.push_str(&format!(
                "{:>14} {:>+14.2}  {}\n",
                signed(line.bytes_per_request),
                line.blocks_per_request,
                place(&line.location, &line.function, line.has_line),
            ));
        }
        text
    }
}

/// What the requests have left behind, by method and path.
pub(super) fn of_paths(paths: &[(Arc<str>, Retained)], top: usize) -> String {
    if paths.is_empty() {
        return String::new();
    }
    let mut text = format!("{:>14} {:>14}  path\n", "bytes/request", "requests");
    for (name, retained) in paths.iter().take(top) {
        let bytes = retained.bytes_per_request().map_or("?".to_owned(), signed);
        text.push_str(&format!(
            "{bytes:>14} {:>14}  {name}\n",
            grouped(retained.requests)
        ));
    }
    if paths.len() > top {
        text.push_str(&format!("{} more paths, see --top\n", paths.len() - top));
    }
    if paths.iter().any(|(_, retained)| retained.measured == 0) {
        text.push_str("? = the guest was never idle before and after one of these requests\n");
    }
    text
}

impl Retained {
    /// Bytes that one request leaves behind; `None` if no request could be measured.
    pub(super) fn bytes_per_request(&self) -> Option<f64> {
        (self.measured > 0).then(|| self.bytes as f64 / self.measured as f64)
    }
}

impl Summary {
    /// Which instance this is, and what has become of those before it.
    pub(super) fn instances(&self, instance_per_request: bool) -> String {
        let failed = self.ended.iter().filter(|(name, _)| **name != "as planned");
        let failed: Vec<String> = failed
            .map(|(name, count)| format!("{} {name}", grouped(*count)))
            .collect();
        let failed = failed.join(" and ");
        let number = grouped(self.number);
        let mut text = match instance_per_request {
            true => format!("{number} instances have handled one request each"),
            false => format!(
                "instance {number} has handled {} requests",
                grouped(self.requests)
            ),
        };
        if !failed.is_empty() {
            let before = match instance_per_request {
                true => "",
                false => "of the instances before it, ",
            };
            text.push_str(&format!("; {before}{failed}"));
        }
        text
    }
}

/// A number with its sign, and one decimal if it is small and not whole.
fn signed(bytes: f64) -> String {
    let sign = if bytes < 0.0 { '-' } else { '+' };
    let size = bytes.abs();
    if size >= 1000.0 || (size - size.round()).abs() < 0.05 {
        format!("{sign}{}", grouped(size.round() as u64))
    } else {
        format!("{bytes:+.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_sign_and_few_digits() {
        for (bytes, wanted) in [
            (0.0, "+0"),
            (100.0, "+100"),
            (12.34, "+12.3"),
            (-12.34, "-12.3"),
            (1234.5, "+1,235"),
            (-2000.0, "-2,000"),
        ] {
            assert_eq!(signed(bytes), wanted);
        }
    }

    #[test]
    fn a_path_without_a_measurement_says_so() {
        let measured = Retained {
            requests: 3,
            measured: 2,
            bytes: 200,
        };
        let other = Retained {
            requests: 5,
            measured: 0,
            bytes: 0,
        };
        let paths = [("GET /a".into(), measured), ("GET /b".into(), other)];
        let text = of_paths(&paths, 20);
        assert!(
            text.contains("          +100              3  GET /a\n"),
            "{text}"
        );
        assert!(
            text.contains("             ?              5  GET /b\n"),
            "{text}"
        );
        assert!(text.contains("never idle"), "{text}");
        assert!(of_paths(&paths, 1).contains("1 more paths"));
    }
}
