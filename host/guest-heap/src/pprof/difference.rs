//! Profiles of what has changed between two snapshots, as Go's `?seconds=` gives them.

use std::collections::HashMap;

use super::{ProfileBuilder, Values, values};
use crate::reading::Context;
use crate::snapshot::Snapshot;

impl ProfileBuilder {
    /// Adds what has changed in one guest between two snapshots. Call stacks that have not changed
    /// are left out.
    ///
    /// Live numbers are negative where the guest freed more than it allocated. Ever allocated
    /// numbers begin at 0 with each instance. If the guest got a new instance in between, they are
    /// those of the new instance.
    pub fn add_difference(&mut self, plugin: &str, earlier: &Snapshot, now: &Snapshot) {
        let is_new_instance = earlier.totals().allocated_bytes > now.totals().allocated_bytes
            || earlier.totals().allocated_objects > now.totals().allocated_objects;
        let before = |usage| {
            let [objects, bytes, allocated_objects, allocated_bytes] = values(usage);
            if is_new_instance {
                [objects, bytes, 0, 0]
            } else {
                [objects, bytes, allocated_objects, allocated_bytes]
            }
        };
        if earlier.symbols().build() == now.symbols().build() {
            let mut changes: HashMap<&Context, Values> = HashMap::new();
            for entry in now.entries() {
                add(&mut changes, &entry.context, values(&entry.usage));
            }
            for entry in earlier.entries() {
                let freed = before(&entry.usage).map(|value| -value);
                add(&mut changes, &entry.context, freed);
            }
            self.add_samples(plugin, now.symbols(), changed(changes));
            return;
        }
        // The offsets of one build mean nothing in another, so each has a mapping of its own.
        let mut gone: HashMap<&Context, Values> = HashMap::new();
        for entry in earlier.entries() {
            let [objects, bytes, _, _] = values(&entry.usage);
            add(&mut gone, &entry.context, [-objects, -bytes, 0, 0]);
        }
        self.add_samples(plugin, earlier.symbols(), changed(gone));
        self.add(plugin, now);
    }
}

fn add<'a>(changes: &mut HashMap<&'a Context, Values>, context: &'a Context, change: Values) {
    let sum = changes.entry(context).or_default();
    for (sum, change) in sum.iter_mut().zip(change) {
        *sum = sum.saturating_add(change);
    }
}

fn changed(changes: HashMap<&Context, Values>) -> impl Iterator<Item = (&Context, Values)> {
    changes
        .into_iter()
        .filter(|(_, values)| *values != Values::default())
}
