//! The progress of this host's learners: readings of the registry, judged after each call.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value as Json_, json};

use super::progress::{Action, LeakReading, Progress, Reading};
use super::step::Step;
use lab::post_mortem::{PostMortem, PreviousRun};
use plugin_host::driver::handle::Plugin;
use plugin_host::registry::Registry;

/// A run that was killed longer ago than this belongs to an earlier lesson.
const MAX_RESTORED_AGE: Duration = Duration::from_secs(15 * 60);

/// The field of the post-mortem's document with the steps that are done.
pub(crate) const DOCUMENT_FIELD: &str = "exercises_done";

/// The progress of everybody who works with this host, in the page or with other clients.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Progress>);

impl Recorder {
    /// Goes on where the previous run was killed, as the last exercise does to it.
    pub(crate) fn after_previous_run(post_mortem: &PostMortem) -> Self {
        let previous = post_mortem.previous_run().ok().flatten();
        let done = previous.map(|run| done_in(&run, SystemTime::now()));
        Recorder(Mutex::new(Progress::restored(done.unwrap_or_default())))
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the leaks and judges the action that has just been answered.
    pub(crate) fn observe(&self, registry: &Registry, requests: impl Fn() -> u64, action: &Action) {
        let mut progress = self.lock();
        // Read under the lock, so that the readings arrive in their order.
        let plugins = registry.plugins();
        let leaks = plugins.iter().map(|p| (p.id().to_owned(), reading_of(p)));
        let reading = Reading {
            leaks: leaks.collect(),
            requests: requests(),
        };
        progress.observe(reading, action);
    }

    /// What is missing for each step; `None` for a step that is done.
    pub(crate) fn steps(&self, steps: impl Iterator<Item = Step>) -> Vec<(Step, Option<String>)> {
        let progress = self.lock();
        steps.map(|step| (step, progress.missing(step))).collect()
    }

    /// Forgets what has been done.
    pub(crate) fn start_over(&self) {
        self.lock().start_over();
    }

    /// The steps that are done, for the post-mortem's document.
    pub(crate) fn to_document(&self) -> Json_ {
        json!(self.lock().done().map(Step::id).collect::<Vec<_>>())
    }
}

fn reading_of(plugin: &Arc<Plugin>) -> LeakReading {
    let reading = plugin.reading();
    LeakReading {
        enabled: plugin.enabled(),
        leaky: plugin.details().settings.variant() == "leaky",
        instance: (plugin.incarnation(), reading.generation),
        requests: reading.requests,
        retained_bytes: reading.retained.bytes,
        linear_bytes: reading.linear.bytes,
    }
}

/// The steps that were done when a run was killed, unless that is long ago.
fn done_in(run: &PreviousRun, now: SystemTime) -> BTreeSet<Step> {
    let age = now.duration_since(run.written_at).unwrap_or_default();
    if age > MAX_RESTORED_AGE {
        return BTreeSet::new();
    }
    let document: Json_ = serde_json::from_slice(&run.document).unwrap_or_default();
    let ids = document.get(DOCUMENT_FIELD).and_then(Json_::as_array);
    let ids = ids.into_iter().flatten().filter_map(Json_::as_str);
    ids.filter_map(Step::with_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(document: &str, age: Duration) -> BTreeSet<Step> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let run = PreviousRun {
            document: document.as_bytes().to_vec(),
            written_at: now - age,
            cause: None,
        };
        done_in(&run, now)
    }

    #[test]
    fn the_steps_of_a_run_that_was_just_killed_are_restored() {
        let document = r#"{"exercises_done": ["2.1", "6.5", "9.9", 3]}"#;
        let expected = BTreeSet::from([Step::CacheOn, Step::AllOn]);
        assert_eq!(run(document, Duration::from_secs(60)), expected);
        assert!(run(document, Duration::from_secs(3600)).is_empty());
        for damaged in ["", "{}", r#"{"exercises_done": 1}"#] {
            assert!(run(damaged, Duration::ZERO).is_empty(), "{damaged}");
        }
    }
}
