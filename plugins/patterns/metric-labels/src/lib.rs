//! A metric label with too many values (high cardinality).
//!
//! **Symptom.** Memory grows a little with every request. Each scrape of `/metrics` takes longer
//! than the one before, because the answer grows too. A restart helps for some days.
//!
//! **Cause.** A label contains the id of the request. For each new value the registry interns the
//! label and creates a series with buckets. It never removes them: a counter must keep its count.
//!
//! **Fix.** `variant: fixed` uses the route as the label, so the program's routes limit the number
//! of series. Beyond `max_series`, requests count under `other`. After a switch to `fixed`, each
//! request drops up to [`SHRINK_STEP`] leaked series.

use std::collections::VecDeque;
use std::rc::Rc;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HashMap, HeapSize, LeakPlugin, Payload, Request, Retention,
    SHRINK_STEP, Variant,
};

leak_plugin_sdk::settings! {
    /// The bound of the fixed variant.
    pub struct LabelSettings {
        /// Maximum number of series of the fixed variant; more routes count under "other".
        pub max_series: usize = 100, in 1..=1_000_000;
    }
}

/// A metrics registry with one histogram: the request duration by label.
#[derive(Debug, Default)]
pub struct MetricLabels {
    series: HashMap<Rc<str>, Series>,
    /// The labels of all series, oldest first.
    by_age: VecDeque<Rc<str>>,
    owned_bytes: usize,
}

/// One label value's histogram.
#[derive(Debug)]
struct Series {
    observations: u64,
    sum_us: u64,
    /// The buckets, each with an exemplar.
    buckets: Payload,
    by_route: bool,
}

/// Bytes of one series in the two containers, including its control byte in the map.
const SLOT_BYTES: usize = size_of::<(Rc<str>, Series)>() + 1 + size_of::<Rc<str>>();

impl LeakPlugin for MetricLabels {
    const TITLE: &'static str = "Metric label explosion";
    const UNIT: &'static str = "series";
    const PAYLOAD_BYTES: usize = 2048;
    type Settings = LabelSettings;

    fn on_request(&mut self, call: Call<'_, LabelSettings>) -> Result<Effect, Failure> {
        let by_route = call.variant == Variant::Fixed;
        let mut label = if by_route {
            route(call.request)
        } else {
            unique_label(call.request, call.sequence)
        };
        if by_route {
            self.drop_leaked(SHRINK_STEP);
            if self.series.len() >= call.settings.max_series && !self.series.contains_key(&label) {
                label = "other".into();
            }
        }
        if !self.series.contains_key(&label) {
            let overhead = label.heap_bytes() + SLOT_BYTES;
            // The largest part of the leak: the buckets of one more series.
            let buckets = call.payload(call.payload_bytes.saturating_sub(overhead));
            self.make(Rc::clone(&label), buckets, by_route);
        }
        if let Some(series) = self.series.get_mut(&label) {
            series.observations += 1;
            series.sum_us += call.request.elapsed_us;
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        let bytes = self.owned_bytes + self.series.block_bytes() + self.by_age.block_bytes();
        Retention::of(self.series.len(), bytes)
    }
}

impl MetricLabels {
    fn make(&mut self, label: Rc<str>, buckets: Payload, by_route: bool) {
        self.owned_bytes += label.heap_bytes() + buckets.heap_bytes();
        self.by_age.push_back(Rc::clone(&label));
        let series = Series {
            observations: 0,
            sum_us: 0,
            buckets,
            by_route,
        };
        self.series.insert(label, series);
    }

    /// Drops up to `max` series of the leaky variant. Series of routes move to the end.
    fn drop_leaked(&mut self, max: usize) {
        for _ in 0..max.min(self.by_age.len()) {
            let Some(label) = self.by_age.pop_front() else {
                break;
            };
            if self
                .series
                .get(&label)
                .is_some_and(|series| series.by_route)
            {
                self.by_age.push_back(label);
            } else if let Some(series) = self.series.remove(&label) {
                self.owned_bytes -= label.heap_bytes() + series.buckets.heap_bytes();
            }
        }
        self.series.shrink_sparse();
        self.by_age.shrink_sparse();
    }
}

/// The bug: the label contains the id of the request, so each request creates a new series. The
/// sequence number keeps the label unique even if two requests have the same id.
fn unique_label(request: &Request, sequence: u64) -> Rc<str> {
    let Request {
        method, path, id, ..
    } = request;
    format!("method={method:?},path={path:?},request={id}.{sequence}").into()
}

/// The fix: the label has one value per route. Each path segment with a digit becomes `{id}`.
fn route(request: &Request) -> Rc<str> {
    let segments = request.path.split('/').map(|segment| {
        if segment.contains(|c: char| c.is_ascii_digit()) {
            "{id}"
        } else {
            segment
        }
    });
    let path = segments.collect::<Vec<_>>().join("/");
    format!("method={:?},path={path:?}", request.method).into()
}

leak_plugin_sdk::export!(MetricLabels);

#[cfg(test)]
mod tests;
