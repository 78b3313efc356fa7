//! What grew and what shrank since a baseline.
//!
//! A baseline survives the instance it was taken from: entries meet by line, function, file or call stack, never by an
//! instance's numbering. Call stacks are offsets in one build of a component; between builds only their lines are compared.

use std::collections::HashMap;
use std::sync::Arc;

use crate::reading::Context;
use crate::snapshot::{Entry, GroupBy, Key, Snapshot};
use crate::symbols::{Frame, Site};

/// What one context held when a baseline was taken.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) context: Context,
    pub(crate) site: Arc<Site>,
    pub(crate) bytes: u64,
    pub(crate) objects: u64,
}

impl From<&Entry> for Held {
    fn from(entry: &Entry) -> Self {
        Self {
            context: entry.context.clone(),
            site: Arc::clone(&entry.site),
            bytes: entry.usage.live_bytes,
            objects: entry.usage.live_objects,
        }
    }
}

/// A snapshot to compare with, reduced to what held memory.
#[derive(Debug, Clone)]
pub struct Baseline {
    held: Vec<Held>,
    build: u64,
}

impl Baseline {
    /// Keeps what a comparison needs: 48 bytes for each context that holds memory.
    pub fn new(snapshot: &Snapshot) -> Self {
        let live = snapshot
            .entries()
            .iter()
            .filter(|entry| entry.usage.live_objects > 0);
        let mut held: Vec<Held> = live.map(Held::from).collect();
        held.shrink_to_fit();
        Self {
            held,
            build: snapshot.symbols().build(),
        }
    }

    /// A baseline in which nothing was held, for a guest that came later.
    pub fn empty(snapshot: &Snapshot) -> Self {
        Self {
            held: Vec::new(),
            build: snapshot.symbols().build(),
        }
    }

    pub(crate) fn from_held(held: Vec<Held>, build: u64) -> Self {
        Self { held, build }
    }

    pub(crate) fn held(&self) -> &[Held] {
        &self.held
    }

    /// Bytes that were live.
    pub fn live_bytes(&self) -> u64 {
        self.held.iter().map(|held| held.bytes).sum()
    }

    /// Blocks that were live.
    pub fn live_objects(&self) -> u64 {
        self.held.iter().map(|held| held.objects).sum()
    }

    /// Whether call stacks of this baseline mean the same as the snapshot's.
    pub fn is_same_build(&self, snapshot: &Snapshot) -> bool {
        self.build == snapshot.symbols().build()
    }

    /// Bytes that the baseline holds itself, without the stacks and sites that it shares with the symbols.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.held.capacity() * size_of::<Held>()
    }
}

/// How much one line, function, file or call stack changed.
#[derive(Debug, Clone)]
pub struct Change {
    /// `file:line`, a function or a file, as grouped; for call stacks the line that they are attributed to.
    pub location: Arc<str>,
    /// A site of the group, the one that holds the most now.
    pub site: Arc<Site>,
    /// Bytes now less bytes then.
    pub bytes: i64,
    /// Blocks now less blocks then.
    pub objects: i64,
    /// Live bytes now.
    pub current_bytes: u64,
    /// Live blocks now.
    pub current_objects: u64,
    /// The stack, innermost first; empty unless grouped by call stack within one build.
    pub frames: Vec<Frame>,
    context: Option<Context>,
}

/// The difference of two moments.
#[derive(Debug, Clone, Default)]
pub struct Diff {
    /// What grew, most first.
    pub growing: Vec<Change>,
    /// What shrank, most first.
    pub shrinking: Vec<Change>,
    /// Live bytes now less then, over everything and not only over what is listed.
    pub bytes: i64,
    /// Live blocks now less then, over everything.
    pub objects: i64,
}

impl Diff {
    /// Compares a snapshot with a baseline and lists at most `limit` of each kind.
    pub fn new(baseline: &Baseline, snapshot: &Snapshot, by: GroupBy, limit: usize) -> Self {
        let now: Vec<Held> = snapshot.entries().iter().map(Held::from).collect();
        let same_build = baseline.is_same_build(snapshot);
        // The line of a stack outlives the build that the stack belongs to.
        let compared = if by == GroupBy::Trace && !same_build {
            GroupBy::Line
        } else {
            by
        };
        let mut diff = Self::between(&baseline.held, &now, compared, limit);
        for change in diff.growing.iter_mut().chain(&mut diff.shrinking) {
            change.frames = change
                .context
                .as_ref()
                .map(|context| snapshot.frames(context))
                .unwrap_or_default();
        }
        diff
    }

    pub(crate) fn between(then: &[Held], now: &[Held], by: GroupBy, limit: usize) -> Self {
        let mut changes: HashMap<Key<'_>, Tally<'_>> = HashMap::with_capacity(now.len());
        for held in now {
            let tally = changes
                .entry(by.key(&held.context, &held.site))
                .or_insert_with(|| Tally::of(held));
            tally.now_bytes += held.bytes;
            tally.now_objects += held.objects;
            if held.bytes > tally.largest.bytes {
                tally.largest = held;
            }
        }
        for held in then {
            let tally = changes
                .entry(by.key(&held.context, &held.site))
                .or_insert_with(|| Tally::of(held));
            tally.then_bytes += held.bytes;
            tally.then_objects += held.objects;
        }
        let mut diff = Self::default();
        for tally in changes.into_values() {
            let change = tally.change(by);
            diff.bytes += change.bytes;
            diff.objects += change.objects;
            match (change.bytes, change.objects) {
                (0, 0) => {}
                difference if difference > (0, 0) => diff.growing.push(change),
                _ => diff.shrinking.push(change),
            }
        }
        let by_size = |a: &Change, b: &Change| {
            let size =
                |change: &Change| (change.bytes.unsigned_abs(), change.objects.unsigned_abs());
            size(b)
                .cmp(&size(a))
                .then_with(|| a.location.cmp(&b.location))
        };
        diff.growing.sort_by(by_size);
        diff.shrinking.sort_by(by_size);
        diff.growing.truncate(limit);
        diff.shrinking.truncate(limit);
        diff
    }
}

/// Both sides of one group.
struct Tally<'a> {
    largest: &'a Held,
    now_bytes: u64,
    now_objects: u64,
    then_bytes: u64,
    then_objects: u64,
}

impl<'a> Tally<'a> {
    fn of(held: &'a Held) -> Self {
        Self {
            largest: held,
            now_bytes: 0,
            now_objects: 0,
            then_bytes: 0,
            then_objects: 0,
        }
    }

    fn change(self, by: GroupBy) -> Change {
        Change {
            location: Arc::clone(by.location(&self.largest.site)),
            site: Arc::clone(&self.largest.site),
            bytes: signed_difference(self.now_bytes, self.then_bytes),
            objects: signed_difference(self.now_objects, self.then_objects),
            current_bytes: self.now_bytes,
            current_objects: self.now_objects,
            frames: Vec::new(),
            context: (by == GroupBy::Trace).then(|| self.largest.context.clone()),
        }
    }
}

/// A guest's memory is far below the range of either type.
pub(crate) fn signed_difference(now: u64, then: u64) -> i64 {
    now.checked_signed_diff(then)
        .unwrap_or(if now > then { i64::MAX } else { i64::MIN })
}
