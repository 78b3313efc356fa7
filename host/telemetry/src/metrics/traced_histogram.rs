//! A histogram that keeps an exemplar for each of its buckets.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::TraceId;
use prometheus::core::Metric as _;
use prometheus::{Error, Histogram};

use super::exemplar::Exemplar;
use super::family::{Instrument, Labels, MetricDesc, MetricKind, Visitor};

/// A bucket takes a new exemplar at most this often. A scrape reads only the last one.
const MIN_AGE: Duration = Duration::from_secs(1);

/// A histogram with an exemplar for each bucket.
#[derive(Debug, Clone)]
pub(super) struct TracedHistogram {
    histogram: Histogram,
    bounds: &'static [f64],
    /// One more than there are bounds: the last bucket has none.
    exemplars: Arc<[Mutex<Option<Exemplar>>]>,
}

impl TracedHistogram {
    /// Counts an observation. `recorded` is its trace, if spans of it are recorded.
    pub(super) fn observe(&self, value: f64, recorded: Option<TraceId>) {
        self.histogram.observe(value);
        let Some(trace_id) = recorded else { return };
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        // Any of the observations will do, so none waits for another one or for a scrape.
        if let Some(slot) = self.exemplars.get(bucket)
            && let Ok(mut slot) = slot.try_lock()
        {
            let at = SystemTime::now();
            // A clock that was set back replaces the exemplar too.
            let is_new = |last: Exemplar| at.duration_since(last.at).is_ok_and(|age| age < MIN_AGE);
            if !slot.is_some_and(is_new) {
                *slot = Some(Exemplar {
                    trace_id,
                    value,
                    at,
                });
            }
        }
    }
}

impl Instrument for TracedHistogram {
    const KIND: MetricKind = MetricKind::Histogram;

    fn create(desc: &MetricDesc) -> Result<Self, Error> {
        Ok(Self {
            histogram: Histogram::create(desc)?,
            bounds: desc.buckets,
            exemplars: (0..=desc.buckets.len()).map(|_| Mutex::default()).collect(),
        })
    }

    fn visit(&self, labels: &Labels, visitor: &mut dyn Visitor) {
        let read = |slot: &Mutex<Option<Exemplar>>| slot.lock().ok().and_then(|slot| *slot);
        let exemplars: Vec<_> = self.exemplars.iter().map(read).collect();
        let histogram = self.histogram.metric();
        visitor.traced_histogram(labels, histogram.get_histogram(), &exemplars);
    }
}

#[cfg(test)]
mod tests {
    use prometheus::proto;

    use super::*;
    use crate::metrics::family::{AnyFamily as _, Family};

    #[derive(Default)]
    struct Exemplars(Vec<Option<(f64, TraceId)>>);

    impl Visitor for Exemplars {
        fn number(&mut self, _: &Labels, _: f64) {}

        fn histogram(&mut self, _: &Labels, _: &proto::Histogram) {}

        fn traced_histogram(
            &mut self,
            _: &Labels,
            _: &proto::Histogram,
            exemplars: &[Option<Exemplar>],
        ) {
            let pairs = exemplars.iter().copied();
            self.0 = pairs
                .map(|exemplar| exemplar.map(|found| (found.value, found.trace_id)))
                .collect();
        }
    }

    #[test]
    fn each_bucket_keeps_a_recorded_trace_for_a_second() {
        let desc = MetricDesc::new("wait_seconds", "Waits.").buckets(&[0.5, 1.0]);
        let family = Family::<TracedHistogram>::new(desc).unwrap();
        let waits = family.series(&[]).unwrap();
        let trace = |id: u128| Some(TraceId::from(id));
        waits.observe(0.1, trace(1));
        waits.observe(0.5, trace(2));
        waits.observe(0.3, None);
        waits.observe(7.0, trace(3));
        let mut found = Exemplars::default();
        family.visit(&mut found);
        let expected = [
            Some((0.1, TraceId::from(1))),
            None,
            Some((7.0, TraceId::from(3))),
        ];
        assert_eq!(found.0, expected);
    }
}
