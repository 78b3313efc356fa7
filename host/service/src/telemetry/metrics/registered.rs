//! Every instrument by the name of its family.
//!
//! Each family is gathered by itself, so that a page can be written family by family: with a thousand plugins all of
//! them at once are tens of thousands of small allocations, and most of the time would go into moving them around.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Error, Registry};

/// Families by name.
#[derive(Debug, Default)]
pub(super) struct Registered(Mutex<BTreeMap<String, Registry>>);

impl Registered {
    /// Takes an instrument in.
    ///
    /// # Errors
    /// When its name is taken or not valid.
    pub(super) fn add<C: Collector + 'static>(&self, collector: C) -> Result<(), Error> {
        let name = collector.desc().first().map(|desc| desc.fq_name.clone());
        let name = name.ok_or_else(|| Error::Msg("an instrument without a name".into()))?;
        let family = Registry::new();
        family.register(Box::new(collector))?;
        let mut families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if families.contains_key(&name) {
            return Err(Error::AlreadyReg);
        }
        families.insert(name, family);
        Ok(())
    }

    /// Each family as it is now, in the order of their names. Those without series are left out, and so are labels
    /// without a value: in Prometheus's data model the two are the same.
    pub(super) fn families(&self) -> impl Iterator<Item = MetricFamily> {
        let registries: Vec<Registry> = {
            let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            families.values().cloned().collect()
        };
        registries
            .into_iter()
            .flat_map(|registry| registry.gather())
            .map(without_empty_labels)
    }
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
