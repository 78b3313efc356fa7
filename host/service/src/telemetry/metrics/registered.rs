//! Every instrument by the name of its family.
//!
//! Each family is gathered by itself, so that a page can be written family by family: with a thousand plugins all of
//! them at once are tens of thousands of small allocations, and most of the time would go into moving them around.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Error;
use prometheus::core::Collector;
use prometheus::proto::{Metric, MetricFamily};

/// Families by name.
#[derive(Default)]
pub(super) struct Registered(Mutex<BTreeMap<String, Arc<dyn Collector>>>);

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(families.keys()).finish()
    }
}

impl Registered {
    /// Takes an instrument in.
    ///
    /// # Errors
    /// When its name is taken.
    pub(super) fn add<C: Collector + 'static>(&self, collector: C) -> Result<(), Error> {
        let name = collector.desc().first().map(|desc| desc.fq_name.clone());
        let name = name.ok_or_else(|| Error::Msg("an instrument without a name".into()))?;
        let mut families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if families.contains_key(&name) {
            return Err(Error::AlreadyReg);
        }
        families.insert(name, Arc::new(collector));
        Ok(())
    }

    /// Each family as it is now, in the order of their names, its series in the order of their labels' values. Those
    /// without series are left out, and so are labels without a value: in Prometheus's data model the two are the same.
    pub(super) fn families(&self) -> impl Iterator<Item = MetricFamily> {
        let collectors: Vec<Arc<dyn Collector>> = {
            let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            families.values().cloned().collect()
        };
        collectors
            .into_iter()
            .flat_map(|collector| collector.collect())
            .filter(|family| !family.get_metric().is_empty())
            .map(in_order)
            .map(without_empty_labels)
    }
}

/// Sorts the series, which come in no order. A series is some 200 bytes, so it is moved once: to its place.
fn in_order(mut family: MetricFamily) -> MetricFamily {
    let mut series: Vec<Option<Metric>> = family.take_metric().into_iter().map(Some).collect();
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_unstable_by(|&one, &other| {
        let labels = |at: usize| {
            series
                .get(at)
                .and_then(Option::as_ref)
                .map(Metric::get_label)
        };
        let (Some(one), Some(other)) = (labels(one), labels(other)) else {
            return Ordering::Equal;
        };
        let values = one.iter().map(|label| label.value());
        values.cmp(other.iter().map(|label| label.value()))
    });
    let place = |at: usize| series.get_mut(at).and_then(Option::take);
    family.set_metric(order.into_iter().filter_map(place).collect());
    family
}

fn without_empty_labels(mut family: MetricFamily) -> MetricFamily {
    for metric in family.mut_metric() {
        let labels = metric.get_label();
        if labels.iter().any(|label| label.value().is_empty()) {
            let mut labels = metric.take_label();
            labels.retain(|label| !label.value().is_empty());
            metric.set_label(labels);
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

    use super::*;

    #[test]
    fn families_come_by_name_and_a_name_is_taken_once() {
        let registered = Registered::default();
        let counter = |name| IntCounter::new(name, "Counts.").unwrap();
        registered.add(counter("b_total")).unwrap();
        registered.add(counter("a_total")).unwrap();
        assert!(registered.add(counter("b_total")).is_err());
        let names: Vec<_> = registered.families().map(|f| f.name().to_owned()).collect();
        assert_eq!(names, ["a_total", "b_total"]);
    }
}
