//! A label with too many values.
//!
//! **Symptom.** Memory grows with every request, a little each time, and answering `/metrics` takes ever
//! longer: the answer grows with it. After a restart all is well for some days.
//!
//! **Cause.** A metric has a label that comes from the request, here its id. For each new value the
//! registry interns the label's text and makes a series with buckets of its own, and keeps both for as
//! long as the process lives: a counter must not forget.
//!
//! **Fix.** `variant: fixed` labels by the route, of which there are as many as the program has, and
//! counts whatever would exceed `max_series` under `other`. Series that were made before the switch are
//! dropped in steps of [`SHRINK_STEP`] per request.

use std::collections::VecDeque;
use std::rc::Rc;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HashMap, HeapSize, LeakPlugin, Payload, Request, Retention,
    SHRINK_STEP, Variant,
};

leak_plugin_sdk::settings! {
    /// The bound of the fixed variant.
    pub struct LabelSettings {
        /// Series that the fixed variant makes before it counts under "other".
        pub max_series: usize = 100, in 1..=1_000_000;
    }
}

/// A registry with one histogram: the time taken, by label.
#[derive(Debug, Default)]
pub struct MetricLabels {
    series: HashMap<Rc<str>, Series>,
    /// The labels from the oldest series to the newest.
    by_age: VecDeque<Rc<str>>,
    owned_bytes: usize,
}

/// One histogram.
#[derive(Debug)]
struct Series {
    observations: u64,
    sum_us: u64,
    /// Its buckets, each with an example.
    buckets: Payload,
    by_route: bool,
}

/// What a series takes up in the containers, with its control byte in the map.
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
            each_its_own(call.request, call.sequence)
        };
        if by_route {
            self.drop_old(SHRINK_STEP);
            if self.series.len() >= call.settings.max_series && !self.series.contains_key(&label) {
                label = "other".into();
            }
        }
        if !self.series.contains_key(&label) {
            let overhead = label.heap_bytes() + SLOT_BYTES;
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

    /// Drops up to `most` series that the leak has made.
    fn drop_old(&mut self, most: usize) {
        for _ in 0..most.min(self.by_age.len()) {
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

/// The bug: as many values as there are requests. The sequence number keeps them apart even if an id
/// comes twice.
fn each_its_own(request: &Request, sequence: u64) -> Rc<str> {
    let Request {
        method, path, id, ..
    } = request;
    format!("method={method:?},path={path:?},request={id}.{sequence}").into()
}

/// As many values as the program has routes: parts of the path that look like an id are left out.
fn route(request: &Request) -> Rc<str> {
    let parts = request.path.split('/').map(|part| {
        if part.contains(|c: char| c.is_ascii_digit()) {
            "{id}"
        } else {
            part
        }
    });
    let path = parts.collect::<Vec<_>>().join("/");
    format!("method={:?},path={path:?}", request.method).into()
}

leak_plugin_sdk::export!(MetricLabels);

#[cfg(test)]
mod tests;
