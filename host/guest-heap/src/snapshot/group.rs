//! Groups the entries of a snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use super::entry::{Entry, Usage};
use crate::reading::Context;
use crate::symbols::{Frame, Site};

/// The property by which entries are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// The source line.
    Line,
    /// The function that contains the line.
    Function,
    /// The source file.
    File,
    /// The whole call stack.
    Trace,
}

/// The memory of one line, function, file or call stack.
#[derive(Debug, Clone)]
pub struct Group {
    /// `file:line`, a function or a file, depending on the grouping. A call stack has the line that
    /// it is attributed to.
    pub location: Arc<str>,
    /// The site in the group with the most live bytes.
    pub site: Arc<Site>,
    /// The sum over the group.
    pub usage: Usage,
    /// Set if contexts of the group have resized blocks.
    pub resized: Option<ResizedGroup>,
    /// The call stack, innermost frame first. Empty unless grouped by call stack.
    pub frames: Vec<Frame>,
    pub(crate) context: Option<Context>,
}

/// Lines of one group from which blocks were taken over.
const MAX_FROM: usize = 8;

/// What the contexts of a group have done to blocks that existed already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResizedGroup {
    /// Blocks that the group has ever resized.
    pub objects: u64,
    /// The part of the live bytes that the group has added itself.
    pub own_bytes: u64,
    /// The other lines, functions or files from which blocks were taken over, at most 8.
    pub from: Vec<Arc<str>>,
}

impl ResizedGroup {
    fn add(&mut self, by: GroupBy, entry: &Entry) {
        let Some(resized) = entry.resized.as_deref() else {
            self.own_bytes += entry.usage.live_bytes;
            return;
        };
        self.objects += resized.objects;
        let own = by.location(&entry.site);
        let from = resized.from.as_ref().map(|site| by.location(site));
        match from.filter(|from| *from != own) {
            Some(from) => {
                self.own_bytes += resized.own_bytes;
                if self.from.len() < MAX_FROM && !self.from.contains(from) {
                    self.from.push(Arc::clone(from));
                }
            }
            // Taken over from a context of the same group.
            None => self.own_bytes += entry.usage.live_bytes,
        }
    }
}

/// The groups with live blocks that have resized blocks, by their keys.
pub(crate) fn resized_groups(
    by: GroupBy,
    entries: &[Entry],
) -> HashMap<GroupKey<'_>, ResizedGroup> {
    let mut groups: HashMap<GroupKey<'_>, ResizedGroup> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.usage.live_objects > 0) {
        let key = by.key(&entry.context, &entry.site);
        groups.entry(key).or_default().add(by, entry);
    }
    groups.retain(|_, group| group.objects > 0);
    groups
}

/// The identity of a group. Keys compare texts, so that they match across instances and builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum GroupKey<'a> {
    Text(&'a str),
    Context(&'a Context),
}

impl GroupBy {
    pub(crate) fn key<'a>(self, context: &'a Context, site: &'a Site) -> GroupKey<'a> {
        match self {
            GroupBy::Trace => GroupKey::Context(context),
            _ => GroupKey::Text(self.location(site)),
        }
    }

    /// The location of a group. A site without a file has its own location also when grouped by
    /// file.
    pub(crate) fn location(self, site: &Site) -> &Arc<str> {
        match self {
            GroupBy::Line | GroupBy::Trace => &site.location,
            GroupBy::Function => &site.function,
            GroupBy::File => site.file.as_ref().unwrap_or(&site.location),
        }
    }
}

/// Sums entries by group, in no particular order.
pub(crate) fn sum_by_group<'a>(
    by: GroupBy,
    entries: impl Iterator<Item = &'a Entry>,
) -> Vec<Group> {
    struct GroupSum<'a> {
        largest: &'a Entry,
        usage: Usage,
        resized: ResizedGroup,
    }
    let mut sums: HashMap<GroupKey<'a>, GroupSum<'a>> = HashMap::new();
    for entry in entries {
        let empty = GroupSum {
            largest: entry,
            usage: Usage::default(),
            resized: ResizedGroup::default(),
        };
        let sum = sums
            .entry(by.key(&entry.context, &entry.site))
            .or_insert(empty);
        sum.usage.add(entry.usage);
        if entry.usage.live_objects > 0 {
            sum.resized.add(by, entry);
        }
        if entry.usage.live_bytes > sum.largest.usage.live_bytes {
            sum.largest = entry;
        }
    }
    sums.into_values()
        .map(
            |GroupSum {
                 largest,
                 usage,
                 resized,
             }| Group {
                location: Arc::clone(by.location(&largest.site)),
                site: Arc::clone(&largest.site),
                usage,
                resized: (resized.objects > 0).then_some(resized),
                frames: Vec::new(),
                context: (by == GroupBy::Trace).then(|| largest.context.clone()),
            },
        )
        .collect()
}

/// Sorts by size, largest first, then by location, and keeps the first `limit` groups.
pub(crate) fn keep_largest<Size: Ord>(
    groups: &mut Vec<Group>,
    limit: usize,
    size: impl Fn(&Group) -> Size,
) {
    groups.sort_by(|a, b| {
        size(b)
            .cmp(&size(a))
            .then_with(|| a.location.cmp(&b.location))
    });
    groups.truncate(limit);
}
