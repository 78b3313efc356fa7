//! What has grown per request, by line and by path.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use guest_heap::diff::{Baseline, Diff};
use guest_heap::grouped;
use guest_heap::snapshot::{GroupBy, GrowthGroup};
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
    /// Whether requests were in progress at one of the heaps, so that what they needed is in the
    /// numbers.
    is_approximate: bool,
    /// `null` if blocks are not measured.
    bytes_per_request: Option<f64>,
    blocks_per_request: Option<f64>,
    /// The lines that have grown, largest growth first.
    lines: Vec<Line>,
    linear_memory_bytes_per_request: f64,
    /// Where memory grew while no allocator entry point ran, largest growth first.
    unseen_lines: Vec<UnseenLine>,
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

#[derive(Debug, Serialize)]
struct UnseenLine {
    location: String,
    function: String,
    #[serde(skip)]
    has_line: bool,
    linear_memory_bytes_per_request: f64,
}

impl Server {
    /// Compares a heap of the live instance with an earlier one; `None` if there is none. `heap` is
    /// that of `now`.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub(super) async fn growth(
        &self,
        summary: &Summary,
        now: &CountedHeap,
        heap: &Heap,
    ) -> Result<Option<Growth>> {
        let Some((then, to)) = summary.comparison(now) else {
            return Ok(None);
        };
        let earlier = self.symbolize(&then.heap).await?;
        let is_now = Arc::ptr_eq(&to.heap, &now.heap);
        let later = match is_now {
            true => None,
            false => Some(self.symbolize(&to.heap).await?),
        };
        let later = later.as_ref().unwrap_or(heap);
        Ok(Some(Growth::between((then, &earlier), (to, later))))
    }
}

impl Growth {
    fn between((from, then): (&CountedHeap, &Heap), (to, now): (&CountedHeap, &Heap)) -> Self {
        let is_approximate = !(from.is_idle && to.is_idle);
        let (from, to) = (from.requests, to.requests);
        let baseline = Baseline::new(&then.snapshot);
        let diff = Diff::new(&baseline, &now.snapshot, GroupBy::Line, MAX_LINES);
        let requests = to.saturating_sub(from).max(1) as f64;
        let lines = diff.growing.iter().filter(|change| change.bytes > 0);
        let measured = now.measures_blocks();
        let linear = now.linear_memory as i64 - then.linear_memory as i64;
        Self {
            from_request: from,
            to_request: to,
            is_approximate,
            bytes_per_request: measured.then_some(diff.bytes as f64 / requests),
            blocks_per_request: measured.then_some(diff.objects as f64 / requests),
            linear_memory_bytes_per_request: linear as f64 / requests,
            unseen_lines: UnseenLine::between(then, now, requests),
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
        let blocks = match (self.bytes_per_request, self.blocks_per_request) {
            (Some(bytes), Some(blocks)) => {
                format!("{} bytes in {blocks:+.2} blocks", signed(bytes))
            }
            _ => "live bytes not measured".to_owned(),
        };
        let mut text = format!(
            "per request, from request {} to {}: {blocks}; linear memory {} bytes\n",
            grouped(self.from_request),
            grouped(self.to_request),
            signed(self.linear_memory_bytes_per_request),
        );
        if self.is_approximate {
            text.push_str("approximate: requests were in progress, and what they needed counts\n");
        }
        if !self.lines.is_empty() {
            text.push_str(&format!(
                "{:>14} {:>14}  line\n",
                "bytes/request", "blocks/request"
            ));
        }
        for line in self.lines.iter().take(top) {
            text.push_str(&format!(
                "{:>14} {:>+14.2}  {}\n",
                signed(line.bytes_per_request),
                line.blocks_per_request,
                place(&line.location, &line.function, line.has_line),
            ));
        }
        if !self.unseen_lines.is_empty() {
            text.push_str(&format!(
                "{:>14}  growth that no allocator entry point made\n",
                "bytes/request"
            ));
        }
        for line in self.unseen_lines.iter().take(top) {
            text.push_str(&format!(
                "{:>14}  {}\n",
                signed(line.linear_memory_bytes_per_request),
                place(&line.location, &line.function, line.has_line),
            ));
        }
        text
    }
}

impl UnseenLine {
    fn between(then: &Heap, now: &Heap, requests: f64) -> Vec<Self> {
        let groups = |heap: &Heap| heap.snapshot.top_growth(GroupBy::Line, usize::MAX);
        let earlier: HashMap<Arc<str>, u64> = groups(then)
            .into_iter()
            .map(|group| (group.location, group.unseen_bytes))
            .collect();
        let mut grown: Vec<(u64, GrowthGroup)> = groups(now)
            .into_iter()
            .map(|group| {
                let before = earlier.get(&group.location).copied().unwrap_or_default();
                (group.unseen_bytes.saturating_sub(before), group)
            })
            .filter(|(bytes, _)| *bytes > 0)
            .collect();
        grown.sort_by_key(|(bytes, _)| Reverse(*bytes));
        grown.truncate(MAX_LINES);
        let lines = grown.into_iter().map(|(bytes, group)| Self {
            location: group.location.to_string(),
            function: group.site.function.to_string(),
            has_line: group.site.line.is_some(),
            linear_memory_bytes_per_request: bytes as f64 / requests,
        });
        lines.collect()
    }
}

/// What the requests have left behind, by method and path. `measures_blocks`: see
/// [`Heap::measures_blocks`].
pub(super) fn of_paths(
    paths: &[(Arc<str>, Retained)],
    top: usize,
    measures_blocks: bool,
) -> String {
    if paths.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "{:>14} {:>14} {:>14}  path\n",
        "bytes/request", "linear memory", "requests"
    );
    for (name, retained) in paths.iter().take(top) {
        let shown = |bytes: Option<f64>| bytes.map_or("?".to_owned(), signed);
        let bytes = match measures_blocks {
            true => shown(retained.bytes_per_request()),
            false => "not measured".to_owned(),
        };
        let linear = shown(retained.linear_bytes_per_request());
        text.push_str(&format!(
            "{bytes:>14} {linear:>14} {:>14}  {name}\n",
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

    /// Bytes by which one request makes linear memory grow, in the mean.
    pub(super) fn linear_bytes_per_request(&self) -> Option<f64> {
        (self.measured > 0).then(|| self.linear_bytes as f64 / self.measured as f64)
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
            linear_bytes: 131_072,
        };
        let other = Retained {
            requests: 5,
            measured: 0,
            bytes: 0,
            linear_bytes: 0,
        };
        let paths = [("GET /a".into(), measured), ("GET /b".into(), other)];
        let text = of_paths(&paths, 20, true);
        for row in [
            "          +100        +65,536              3  GET /a\n",
            "             ?              ?              5  GET /b\n",
            "never idle",
        ] {
            assert!(text.contains(row), "{text}");
        }
        assert!(of_paths(&paths, 1, true).contains("1 more paths"));
        let unseen = of_paths(&paths, 20, false);
        let row = "  not measured        +65,536              3  GET /a\n";
        assert!(unseen.contains(row), "{unseen}");
    }
}
