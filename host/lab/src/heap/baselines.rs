//! Baselines that later heaps are compared with.
//!
//! One baseline has no name, and each diff replaces it. Named baselines stay until they are
//! deleted, so several people can compare at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use guest_heap::diff::Baseline;
use jiff::Timestamp;

use super::PluginHeap;
use crate::sample_history::PluginSample;
use plugin_host::driver::handle::Plugin;

/// The most named baselines that are stored.
pub const MAX_NAMED_BASELINES: usize = 32;

/// All plugins at one time.
#[derive(Debug, Clone)]
pub struct LabBaseline {
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Requests that the service had served.
    pub requests: u64,
    /// Every plugin by its id.
    pub plugins: BTreeMap<String, PluginBaseline>,
}

/// One plugin at the time of a baseline.
#[derive(Debug, Clone)]
pub struct PluginBaseline {
    /// Its heap; `None` if the heap was not profiled or could not be read.
    pub heap: Option<Arc<Baseline>>,
    /// Its numbers.
    pub sample: PluginSample,
}

impl LabBaseline {
    /// A baseline of these plugins and heaps. `requests` are those that the service has served.
    pub fn now(plugins: &[Arc<Plugin>], heaps: &[PluginHeap], requests: u64) -> Self {
        let plugin_baseline = |plugin: &Arc<Plugin>| {
            let heap = heaps.iter().find(|h| h.plugin.id() == plugin.id());
            PluginBaseline {
                heap: heap.map(|h| Arc::new(Baseline::new(&h.snapshot))),
                sample: PluginSample::of(plugin),
            }
        };
        LabBaseline {
            taken_at: Timestamp::now(),
            requests,
            plugins: plugins
                .iter()
                .map(|p| (p.id().to_owned(), plugin_baseline(p)))
                .collect(),
        }
    }

    /// The baseline of one plugin. `None` if the id belonged to another plugin then.
    pub fn of(&self, plugin: &Plugin) -> Option<&PluginBaseline> {
        let baseline = self.plugins.get(plugin.id());
        baseline.filter(|b| b.sample.incarnation == plugin.incarnation())
    }

    /// Live bytes of all plugins.
    pub fn live_bytes(&self) -> u64 {
        let live = |plugin: &PluginBaseline| plugin.sample.heap_live_bytes;
        self.plugins.values().map(live).sum()
    }
}

/// The stored baselines.
#[derive(Debug, Default)]
pub struct Baselines(Mutex<Stored>);

#[derive(Debug, Default)]
struct Stored {
    /// The number of resets so far.
    resets: u64,
    unnamed: Option<Arc<LabBaseline>>,
    named: BTreeMap<String, Arc<LabBaseline>>,
}

/// Why a baseline is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// There are [`MAX_NAMED_BASELINES`] named baselines already.
    TooMany,
    /// All baselines were deleted while this one was taken: it shows the time before.
    Outdated,
}

/// When the taking of a baseline began, counted in resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun(u64);

impl Baselines {
    /// Call this before the heaps for a baseline are read.
    pub fn begin(&self) -> Begun {
        Begun(self.lock().resets)
    }

    /// Replaces the baseline without a name, and returns the previous one.
    ///
    /// # Errors
    ///
    /// [`NotStored::Outdated`]; then nothing has changed.
    pub fn replace(
        &self,
        begun: Begun,
        baseline: LabBaseline,
    ) -> Result<Option<Arc<LabBaseline>>, NotStored> {
        let mut stored = self.lock();
        if begun.0 != stored.resets {
            return Err(NotStored::Outdated);
        }
        Ok(stored.unnamed.replace(Arc::new(baseline)))
    }

    /// The baseline without a name.
    pub fn unnamed(&self) -> Option<Arc<LabBaseline>> {
        self.lock().unnamed.clone()
    }

    /// The baseline of this name.
    pub fn get(&self, name: &str) -> Option<Arc<LabBaseline>> {
        self.lock().named.get(name).cloned()
    }

    /// All named baselines by name.
    pub fn named(&self) -> BTreeMap<String, Arc<LabBaseline>> {
        self.lock().named.clone()
    }

    /// Stores a baseline under a name, in place of an earlier one of that name.
    ///
    /// # Errors
    ///
    /// When it is not stored. Then nothing has changed.
    pub fn put(
        &self,
        begun: Begun,
        name: &str,
        baseline: LabBaseline,
    ) -> Result<Arc<LabBaseline>, NotStored> {
        let mut stored = self.lock();
        if begun.0 != stored.resets {
            return Err(NotStored::Outdated);
        }
        if stored.named.len() >= MAX_NAMED_BASELINES && !stored.named.contains_key(name) {
            return Err(NotStored::TooMany);
        }
        let baseline = Arc::new(baseline);
        stored.named.insert(name.to_owned(), baseline.clone());
        Ok(baseline)
    }

    /// Deletes a named baseline. `false` if there is none of this name.
    pub fn remove(&self, name: &str) -> bool {
        self.lock().named.remove(name).is_some()
    }

    /// Drops all other plugins from the baselines, and their symbols with them. `plugins` are in
    /// the order of their ids.
    pub fn retain_loaded(&self, plugins: &[Arc<Plugin>]) {
        let is_loaded = |id: &String, baseline: &PluginBaseline| {
            let index = plugins.binary_search_by(|p| p.id().cmp(id));
            let plugin = index.ok().and_then(|index| plugins.get(index));
            plugin.is_some_and(|p| p.incarnation() == baseline.sample.incarnation)
        };
        let mut stored = self.lock();
        let Stored { unnamed, named, .. } = &mut *stored;
        for baseline in unnamed.iter_mut().chain(named.values_mut()) {
            let mut plugins = baseline.plugins.iter();
            if !plugins.all(|(id, plugin)| is_loaded(id, plugin)) {
                let baseline = Arc::make_mut(baseline);
                baseline.plugins.retain(|id, plugin| is_loaded(id, plugin));
            }
        }
    }

    /// Deletes all baselines, also those that are being taken.
    pub fn clear(&self) {
        let mut stored = self.lock();
        *stored = Stored {
            resets: stored.resets + 1,
            ..Stored::default()
        };
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(requests: u64) -> LabBaseline {
        LabBaseline {
            taken_at: Timestamp::UNIX_EPOCH,
            requests,
            plugins: BTreeMap::new(),
        }
    }

    #[test]
    fn a_diff_replaces_the_unnamed_baseline_and_leaves_the_named_ones() {
        let baselines = Baselines::default();
        let begun = baselines.begin();
        assert!(baselines.replace(begun, baseline(1)).unwrap().is_none());
        baselines.put(begun, "mine", baseline(2)).unwrap();
        let previous = baselines.replace(begun, baseline(3)).unwrap();
        assert_eq!(previous.unwrap().requests, 1);
        assert_eq!(baselines.get("mine").unwrap().requests, 2);
        baselines.clear();
        assert!(baselines.get("mine").is_none());
        let begun = baselines.begin();
        assert!(baselines.replace(begun, baseline(4)).unwrap().is_none());
    }

    #[test]
    fn a_baseline_that_is_taken_during_a_reset_is_not_stored() {
        let baselines = Baselines::default();
        let begun = baselines.begin();
        baselines.clear();
        let outdated = NotStored::Outdated;
        assert_eq!(baselines.replace(begun, baseline(1)).unwrap_err(), outdated);
        let named = baselines.put(begun, "mine", baseline(1));
        assert_eq!(named.unwrap_err(), outdated);
        assert!(baselines.unnamed().is_none() && baselines.named().is_empty());
        assert!(
            baselines
                .put(baselines.begin(), "mine", baseline(1))
                .is_ok()
        );
    }

    #[test]
    fn the_number_of_named_baselines_is_bounded() {
        let baselines = Baselines::default();
        let begun = baselines.begin();
        for n in 0..MAX_NAMED_BASELINES {
            baselines.put(begun, &n.to_string(), baseline(0)).unwrap();
        }
        assert_eq!(
            baselines.put(begun, "one more", baseline(0)).unwrap_err(),
            NotStored::TooMany
        );
        assert!(baselines.put(begun, "0", baseline(9)).is_ok());
        assert!(baselines.remove("0") && !baselines.remove("0"));
        assert!(baselines.put(begun, "one more", baseline(0)).is_ok());
    }

    #[test]
    fn plugins_that_are_not_loaded_are_dropped_from_all_baselines() {
        let with_plugin = |requests| {
            let mut baseline = baseline(requests);
            let plugin = PluginBaseline {
                heap: None,
                sample: PluginSample::default(),
            };
            baseline.plugins.insert("cache".to_owned(), plugin);
            baseline
        };
        let baselines = Baselines::default();
        let begun = baselines.begin();
        baselines.replace(begun, with_plugin(1)).unwrap();
        let named = baselines.put(begun, "mine", with_plugin(2)).unwrap();
        baselines.retain_loaded(&[]);
        assert!(baselines.get("mine").unwrap().plugins.is_empty());
        let previous = baselines.replace(begun, baseline(3)).unwrap();
        assert!(previous.unwrap().plugins.is_empty());
        assert_eq!(named.plugins.len(), 1, "a reader keeps its own copy");
    }
}
