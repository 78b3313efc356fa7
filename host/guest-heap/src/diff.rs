//! Differences: what has grown and what has shrunk since a baseline.
//!
//! A baseline outlives the instance that it was taken from: a diff matches entries by line,
//! function, file or call stack, not by the numbers of contexts. Call stacks are offsets in one
//! build of a component. Between different builds a diff compares lines instead.

use std::collections::HashMap;
use std::sync::Arc;

use crate::reading::Context;
use crate::snapshot::{
    Entry, GroupBy, GroupKey, HandleGroup, ResizedGroup, Snapshot, resized_groups,
};
use crate::symbols::{Frame, Site};

/// The live memory of one context.
#[derive(Debug, Clone)]
pub(crate) struct LiveUsage {
    pub(crate) context: Context,
    pub(crate) site: Arc<Site>,
    pub(crate) bytes: u64,
    pub(crate) objects: u64,
}

impl From<&Entry> for LiveUsage {
    fn from(entry: &Entry) -> Self {
        Self {
            context: entry.context.clone(),
            site: Arc::clone(&entry.site),
            bytes: entry.usage.live_bytes,
            objects: entry.usage.live_objects,
        }
    }
}

/// The live contexts of a snapshot, to compare later snapshots with.
#[derive(Debug, Clone)]
pub struct Baseline {
    entries: Vec<LiveUsage>,
    /// Lines with live handles; `None` if they are not known.
    handles: Option<Vec<HandleGroup>>,
    /// See [`Symbols::build`](crate::symbols::Symbols::build).
    build: u64,
}

impl Baseline {
    /// Takes a baseline. It needs 48 bytes for each context with live blocks.
    pub fn new(snapshot: &Snapshot) -> Self {
        let live = snapshot
            .entries()
            .iter()
            .filter(|entry| entry.usage.live_objects > 0);
        let mut entries: Vec<LiveUsage> = live.map(LiveUsage::from).collect();
        entries.shrink_to_fit();
        Self {
            entries,
            handles: Some(live_handles(snapshot)),
            build: snapshot.symbols().build(),
        }
    }

    /// A baseline without live contexts, for a guest that was loaded later.
    pub fn empty(snapshot: &Snapshot) -> Self {
        Self {
            entries: Vec::new(),
            handles: Some(Vec::new()),
            build: snapshot.symbols().build(),
        }
    }

    /// A baseline of chosen entries. Handles in more than `max_handle_lines` lines are not kept.
    pub(crate) fn of_entries(
        entries: Vec<LiveUsage>,
        max_handle_lines: usize,
        snapshot: &Snapshot,
    ) -> Self {
        let handles = live_handles(snapshot);
        Self {
            entries,
            handles: (handles.len() <= max_handle_lines).then_some(handles),
            build: snapshot.symbols().build(),
        }
    }

    /// A baseline of entries at a time when the handles are not known.
    pub(crate) fn without_handles(entries: Vec<LiveUsage>, snapshot: &Snapshot) -> Self {
        Self {
            entries,
            handles: None,
            build: snapshot.symbols().build(),
        }
    }

    /// Whether the handles at that time are known, so that a difference has them.
    pub fn has_handles(&self) -> bool {
        self.handles.is_some()
    }

    pub(crate) fn entries(&self) -> &[LiveUsage] {
        &self.entries
    }

    /// Sum of the live bytes.
    pub fn live_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// Sum of the live blocks.
    pub fn live_objects(&self) -> u64 {
        self.entries.iter().map(|entry| entry.objects).sum()
    }

    /// Whether the baseline and the snapshot are of the same build of a component, so that their
    /// call stacks are comparable.
    pub fn is_same_build(&self, snapshot: &Snapshot) -> bool {
        self.build == snapshot.symbols().build()
    }

    /// Bytes of memory that the baseline takes, without the stacks and sites that it shares with
    /// the symbols.
    pub fn memory_bytes(&self) -> usize {
        let handles = self.handles.as_ref().map_or(0, Vec::capacity);
        size_of::<Self>()
            + self.entries.capacity() * size_of::<LiveUsage>()
            + handles * size_of::<HandleGroup>()
    }
}

/// The lines and types with live handles.
fn live_handles(snapshot: &Snapshot) -> Vec<HandleGroup> {
    let mut handles = snapshot.top_handles(GroupBy::Line, usize::MAX);
    handles.retain(|group| group.live > 0);
    handles.shrink_to_fit();
    handles
}

/// The change of one line, function, file or call stack.
#[derive(Debug, Clone)]
pub struct Change {
    /// `file:line`, a function or a file, depending on the grouping. A call stack has the line that
    /// it is attributed to.
    pub location: Arc<str>,
    /// The site in the group with the most live bytes now.
    pub site: Arc<Site>,
    /// Live bytes now minus live bytes at the baseline.
    pub bytes: i64,
    /// Live blocks now minus live blocks at the baseline.
    pub objects: i64,
    /// Live bytes now.
    pub current_bytes: u64,
    /// Live blocks now.
    pub current_objects: u64,
    /// The call stack, innermost frame first. Empty unless grouped by call stack within one build.
    pub frames: Vec<Frame>,
    /// Set if contexts of the group have resized blocks that live now.
    pub resized: Option<ResizedGroup>,
    context: Option<Context>,
}

/// The difference between a baseline and a snapshot.
#[derive(Debug, Clone, Default)]
pub struct Diff {
    /// Groups that have grown, largest growth first.
    pub growing: Vec<Change>,
    /// Groups that have shrunk, largest reduction first.
    pub shrinking: Vec<Change>,
    /// Change of the live bytes of all groups, not only of the listed ones.
    pub bytes: i64,
    /// Change of the live blocks of all groups, not only of the listed ones.
    pub objects: i64,
    /// The lines and types whose live handles have changed, largest growth first. Empty if the
    /// handles of the baseline are not known.
    pub handles: Vec<HandleChange>,
}

/// The change of the handles of one type at one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleChange {
    /// `file:line`, or the name of a synthetic context.
    pub location: Arc<str>,
    /// The type, as in [`HandleRecord::ty`](crate::HandleRecord::ty).
    pub ty: Arc<str>,
    /// Live handles now minus live handles at the baseline.
    pub change: i64,
    /// Live handles now.
    pub current: u64,
}

impl Diff {
    /// Compares a snapshot with a baseline. Lists at most `limit` growing and `limit` shrinking
    /// groups.
    pub fn new(baseline: &Baseline, snapshot: &Snapshot, by: GroupBy, limit: usize) -> Self {
        let now: Vec<LiveUsage> = snapshot.entries().iter().map(LiveUsage::from).collect();
        let same_build = baseline.is_same_build(snapshot);
        // A stack is valid only in its own build; its line is valid in other builds, too.
        let compared = if by == GroupBy::Trace && !same_build {
            GroupBy::Line
        } else {
            by
        };
        let mut diff = Self::between(&baseline.entries, &now, compared, limit);
        if let Some(then) = &baseline.handles {
            diff.handles = handle_changes(then, &snapshot.top_handles(GroupBy::Line, usize::MAX));
        }
        let resized = resized_groups(compared, snapshot.entries());
        for change in diff.growing.iter_mut().chain(&mut diff.shrinking) {
            let key = match &change.context {
                Some(context) => GroupKey::Context(context),
                None => GroupKey::Text(&change.location),
            };
            change.resized = resized.get(&key).cloned();
            change.frames = change
                .context
                .as_ref()
                .map(|context| snapshot.frames(context))
                .unwrap_or_default();
        }
        diff
    }

    pub(crate) fn between(
        then: &[LiveUsage],
        now: &[LiveUsage],
        by: GroupBy,
        limit: usize,
    ) -> Self {
        let mut changes: HashMap<GroupKey<'_>, GroupSums<'_>> = HashMap::with_capacity(now.len());
        for entry in now {
            let sums = changes
                .entry(by.key(&entry.context, &entry.site))
                .or_insert_with(|| GroupSums::new(entry));
            sums.now_bytes += entry.bytes;
            sums.now_objects += entry.objects;
            if entry.bytes > sums.largest.bytes {
                sums.largest = entry;
            }
        }
        for entry in then {
            let sums = changes
                .entry(by.key(&entry.context, &entry.site))
                .or_insert_with(|| GroupSums::new(entry));
            sums.then_bytes += entry.bytes;
            sums.then_objects += entry.objects;
        }
        let mut diff = Self::default();
        for sums in changes.into_values() {
            let change = sums.change(by);
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

/// The changes of live handles by line and type.
fn handle_changes(then: &[HandleGroup], now: &[HandleGroup]) -> Vec<HandleChange> {
    let mut sums: HashMap<_, (u64, u64)> = HashMap::new();
    for group in then {
        sums.entry((&group.location, &group.ty)).or_default().0 += group.live;
    }
    for group in now {
        sums.entry((&group.location, &group.ty)).or_default().1 += group.live;
    }
    let mut changes: Vec<HandleChange> = sums
        .into_iter()
        .filter(|(_, (then, now))| then != now)
        .map(|((location, ty), (then, now))| HandleChange {
            location: Arc::clone(location),
            ty: Arc::clone(ty),
            change: signed_difference(now, then),
            current: now,
        })
        .collect();
    changes.sort_by(|a, b| {
        let by_growth = b.change.cmp(&a.change);
        by_growth.then_with(|| (&a.location, &a.ty).cmp(&(&b.location, &b.ty)))
    });
    changes
}

/// The sums of one group on both sides of a comparison.
struct GroupSums<'a> {
    largest: &'a LiveUsage,
    now_bytes: u64,
    now_objects: u64,
    then_bytes: u64,
    then_objects: u64,
}

impl<'a> GroupSums<'a> {
    fn new(entry: &'a LiveUsage) -> Self {
        Self {
            largest: entry,
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
            resized: None,
            frames: Vec::new(),
            context: (by == GroupBy::Trace).then(|| self.largest.context.clone()),
        }
    }
}

/// `now - then`. The result saturates, but the memory of a guest is far below its range.
pub(crate) fn signed_difference(now: u64, then: u64) -> i64 {
    now.checked_signed_diff(then)
        .unwrap_or(if now > then { i64::MAX } else { i64::MIN })
}
