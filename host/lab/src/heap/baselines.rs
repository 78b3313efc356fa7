//! What snapshots are compared with: one baseline without a name, which each diff replaces, and named ones, which
//! stay, so that several people can compare at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use guest_heap::diff::Baseline;
use jiff::Timestamp;

use super::Attributed;
use plugin_host::driver::handle::Plugin;

/// Named baselines that are kept at once.
pub const MOST: usize = 32;

/// A moment to compare with.
#[derive(Debug, Clone)]
pub struct Moment {
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Requests that the service had served.
    pub requests: u64,
    /// What each plugin held.
    pub plugins: BTreeMap<String, PluginMoment>,
}

/// One plugin at that moment.
#[derive(Debug, Clone)]
pub struct PluginMoment {
    /// Its heap; none when it kept no books.
    pub heap: Option<Arc<Baseline>>,
    /// Its numbers.
    pub marks: Marks,
}

/// The numbers of one plugin at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Linear memory in bytes.
    pub linear_bytes: u64,
    /// Live bytes.
    pub heap_live_bytes: u64,
    /// Objects that the pattern holds.
    pub retained_objects: u64,
    /// Whose they are: an id can be given to another plugin.
    pub life: u64,
    /// Which instance it was.
    pub generation: u64,
    /// Requests that it had been offered.
    pub requests: u64,
}

impl Marks {
    /// The numbers of a plugin now.
    pub fn of(plugin: &Plugin) -> Self {
        let reading = plugin.reading();
        Marks {
            linear_bytes: reading.linear.bytes,
            heap_live_bytes: reading.heap_live.unwrap_or(0),
            retained_objects: reading.retained.objects,
            life: plugin.incarnation(),
            generation: reading.generation,
            requests: reading.requests,
        }
    }
}

impl Moment {
    /// Now: every plugin, with its heap where it keeps books.
    pub fn now(plugins: &[Arc<Plugin>], heaps: &[Attributed], requests: u64) -> Self {
        let of = |plugin: &Arc<Plugin>| {
            let heap = heaps.iter().find(|a| a.plugin.id() == plugin.id());
            PluginMoment {
                heap: heap.map(|a| Arc::new(Baseline::new(&a.snapshot))),
                marks: Marks::of(plugin),
            }
        };
        Moment {
            taken_at: Timestamp::now(),
            requests,
            plugins: plugins.iter().map(|p| (p.id().to_owned(), of(p))).collect(),
        }
    }

    /// What a plugin held; nothing of one that had its id before.
    pub fn of(&self, plugin: &Plugin) -> Option<&PluginMoment> {
        let moment = self.plugins.get(plugin.id());
        moment.filter(|m| m.marks.life == plugin.incarnation())
    }

    /// Live bytes of all plugins together.
    pub fn live_bytes(&self) -> u64 {
        self.plugins.values().map(|p| p.marks.heap_live_bytes).sum()
    }
}

/// All baselines.
#[derive(Debug, Default)]
pub struct Baselines(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    unnamed: Option<Arc<Moment>>,
    named: BTreeMap<String, Arc<Moment>>,
}

/// There are [`MOST`] named baselines already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Baselines {
    /// Puts a moment in the place of the baseline without a name, and gives back the one that was there.
    pub fn replace(&self, moment: Moment) -> Option<Arc<Moment>> {
        self.lock().unnamed.replace(Arc::new(moment))
    }

    /// The named one.
    pub fn get(&self, name: &str) -> Option<Arc<Moment>> {
        self.lock().named.get(name).cloned()
    }

    /// All names with their moments.
    pub fn named(&self) -> BTreeMap<String, Arc<Moment>> {
        self.lock().named.clone()
    }

    /// Keeps a moment under a name; one of that name is replaced.
    ///
    /// # Errors
    ///
    /// [`Full`], and nothing has changed.
    pub fn put(&self, name: &str, moment: Moment) -> Result<Arc<Moment>, Full> {
        let mut kept = self.lock();
        if kept.named.len() >= MOST && !kept.named.contains_key(name) {
            return Err(Full);
        }
        let moment = Arc::new(moment);
        kept.named.insert(name.to_owned(), moment.clone());
        Ok(moment)
    }

    /// Forgets a named one; says whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        self.lock().named.remove(name).is_some()
    }

    /// Forgets what plugins held that are not loaded any more: their symbols with it.
    pub fn keep_only(&self, plugins: &[Arc<Plugin>]) {
        let loaded = |id: &String, life: u64| {
            let at = plugins.binary_search_by(|p| p.id().cmp(id));
            at.ok()
                .and_then(|at| plugins.get(at))
                .is_some_and(|p| p.incarnation() == life)
        };
        let mut kept = self.lock();
        let Kept { unnamed, named } = &mut *kept;
        for moment in unnamed.iter_mut().chain(named.values_mut()) {
            let stale = |(id, m): (&String, &PluginMoment)| !loaded(id, m.marks.life);
            if moment.plugins.iter().any(stale) {
                Arc::make_mut(moment)
                    .plugins
                    .retain(|id, m| loaded(id, m.marks.life));
            }
        }
    }

    /// Forgets all.
    pub fn clear(&self) {
        *self.lock() = Kept::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(requests: u64) -> Moment {
        Moment {
            taken_at: Timestamp::UNIX_EPOCH,
            requests,
            plugins: BTreeMap::new(),
        }
    }

    #[test]
    fn each_diff_replaces_the_unnamed_one_and_leaves_the_named() {
        let baselines = Baselines::default();
        assert!(baselines.replace(moment(1)).is_none());
        baselines.put("mine", moment(2)).unwrap();
        assert_eq!(baselines.replace(moment(3)).unwrap().requests, 1);
        assert_eq!(baselines.get("mine").unwrap().requests, 2);
        baselines.clear();
        assert!(baselines.get("mine").is_none());
        assert!(baselines.replace(moment(4)).is_none());
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let baselines = Baselines::default();
        for n in 0..MOST {
            baselines.put(&n.to_string(), moment(0)).unwrap();
        }
        assert_eq!(baselines.put("one more", moment(0)).unwrap_err(), Full);
        assert!(baselines.put("0", moment(9)).is_ok());
        assert!(baselines.remove("0") && !baselines.remove("0"));
        assert!(baselines.put("one more", moment(0)).is_ok());
    }
}
