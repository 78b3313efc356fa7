//! The registered families, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Error;

use super::exposition::Exposition;
use super::family::{AnyFamily, Family, Instrument, MetricDesc};

/// Families of metrics with unique names.
#[derive(Default)]
pub struct MetricsRegistry {
    families: Mutex<BTreeMap<&'static str, Arc<dyn AnyFamily>>>,
    /// Bytes of the last rendered page. The next page has a similar length.
    last_page_bytes: AtomicUsize,
}

impl fmt::Debug for MetricsRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(families.keys()).finish()
    }
}

impl MetricsRegistry {
    /// Registers a family.
    ///
    /// # Errors
    /// When the name is taken, or the name or the buckets are not valid.
    pub fn family<M: Instrument>(&self, desc: MetricDesc) -> Result<Family<M>, Error> {
        let family = Family::new(desc)?;
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let name = family.desc().name;
        if families.contains_key(name) {
            return Err(Error::AlreadyReg);
        }
        families.insert(name, Arc::new(family.clone()));
        Ok(family)
    }

    /// Registers a family with one series, which has no labels except constant ones.
    ///
    /// # Errors
    /// Those of [`MetricsRegistry::family`].
    pub fn single<M: Instrument>(&self, desc: MetricDesc) -> Result<M, Error> {
        self.family(desc)?.series(&[])
    }

    /// The families that have series, sorted by name.
    pub fn families(&self) -> Vec<Arc<dyn AnyFamily>> {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let families = families.values().filter(|family| !family.is_empty());
        families.cloned().collect()
    }

    /// Renders families in the format that a scraper's `Accept` header prefers.
    pub fn render(&self, families: &[Arc<dyn AnyFamily>], accept: Option<&str>) -> Exposition {
        let expected_bytes = self.last_page_bytes.load(Ordering::Relaxed);
        let page = Exposition::negotiate(families, accept, expected_bytes);
        self.last_page_bytes
            .store(page.body.len(), Ordering::Relaxed);
        page
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

    use super::*;

    #[test]
    fn families_are_sorted_and_names_are_unique() {
        let registered = MetricsRegistry::default();
        let counter = |name| registered.single::<IntCounter>(MetricDesc::new(name, "Counts."));
        counter("b_total").unwrap();
        counter("a_total").unwrap();
        assert!(counter("b_total").is_err());
        let empty = MetricDesc::new("c_total", "Counts.").labels(&["label"]);
        registered.family::<IntCounter>(empty).unwrap();
        let families = registered.families();
        let names: Vec<_> = families.iter().map(|family| family.desc().name).collect();
        assert_eq!(names, ["a_total", "b_total"]);
    }
}
