//! Every family by its name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Error;

use super::Exposition;
use super::family::{About, AnyFamily, Family, Instrument};

/// Families by name.
#[derive(Default)]
pub struct MetricsRegistry {
    families: Mutex<BTreeMap<&'static str, Arc<dyn AnyFamily>>>,
    /// Bytes of the last page: the next one is about as long.
    page_bytes: AtomicUsize,
}

impl fmt::Debug for MetricsRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(families.keys()).finish()
    }
}

impl MetricsRegistry {
    /// A new family.
    ///
    /// # Errors
    /// When its name is taken, or its name or buckets are not valid.
    pub fn family<M: Instrument>(&self, about: About) -> Result<Family<M>, Error> {
        let family = Family::new(about)?;
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let name = family.about().name;
        if families.contains_key(name) {
            return Err(Error::AlreadyReg);
        }
        families.insert(name, Arc::new(family.clone()));
        Ok(family)
    }

    /// A new family of one series that has no labels but constant ones.
    ///
    /// # Errors
    /// Those of [`MetricsRegistry::family`].
    pub fn single<M: Instrument>(&self, about: About) -> Result<M, Error> {
        self.family(about)?.series(&[])
    }

    /// Each family that has series now, in the order of their names.
    pub fn families(&self) -> Vec<Arc<dyn AnyFamily>> {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let families = families.values().filter(|family| !family.is_empty());
        families.cloned().collect()
    }

    /// Every family in the format that a scraper's `Accept` header asks for.
    pub fn render(&self, accept: Option<&str>) -> Exposition {
        let about = self.page_bytes.load(Ordering::Relaxed);
        let page = Exposition::negotiate(&self.families(), accept, about);
        self.page_bytes.store(page.body.len(), Ordering::Relaxed);
        page
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

    use super::*;

    #[test]
    fn families_come_by_name_and_a_name_is_taken_once() {
        let registered = MetricsRegistry::default();
        let counter = |name| registered.single::<IntCounter>(About::new(name, "Counts."));
        counter("b_total").unwrap();
        counter("a_total").unwrap();
        assert!(counter("b_total").is_err());
        let empty = About::new("c_total", "Counts.").labels(&["label"]);
        registered.family::<IntCounter>(empty).unwrap();
        let families = registered.families();
        let names: Vec<_> = families.iter().map(|family| family.about().name).collect();
        assert_eq!(names, ["a_total", "b_total"]);
    }
}
