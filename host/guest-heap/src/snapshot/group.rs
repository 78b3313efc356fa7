//! Entries that belong together.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Entry, Usage};
use crate::reading::Context;
use crate::symbols::{Frame, Site};

/// What makes entries one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// The source line.
    Line,
    /// The function that holds the line.
    Function,
    /// The source file.
    File,
    /// The whole call stack.
    Trace,
}

/// What one line, function, file or call stack holds.
#[derive(Debug, Clone)]
pub struct Group {
    /// `file:line`, a function or a file, as grouped; for call stacks the line that they are attributed to.
    pub location: Arc<str>,
    /// The site that contributes the most to the group.
    pub site: Arc<Site>,
    /// What it holds.
    pub usage: Usage,
    /// The stack, innermost first; empty unless grouped by call stack.
    pub frames: Vec<Frame>,
    pub(crate) context: Option<Context>,
}

/// The identity of a group. Texts are compared, so that groups of different instances and builds meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key<'a> {
    Text(&'a str),
    Context(&'a Context),
}

impl GroupBy {
    pub(crate) fn key<'a>(self, context: &'a Context, site: &'a Site) -> Key<'a> {
        match self {
            GroupBy::Trace => Key::Context(context),
            _ => Key::Text(self.location(site)),
        }
    }

    /// What a group is called. Without a file the location stands for it, which says what the context is.
    pub(crate) fn location(self, site: &Site) -> &Arc<str> {
        match self {
            GroupBy::Line | GroupBy::Trace => &site.location,
            GroupBy::Function => &site.function,
            GroupBy::File => site.file.as_ref().unwrap_or(&site.location),
        }
    }
}

/// Sums entries by group, in no particular order.
pub(crate) fn gather<'a>(by: GroupBy, entries: impl Iterator<Item = &'a Entry>) -> Vec<Group> {
    struct Sum<'a> {
        largest: &'a Entry,
        usage: Usage,
    }
    let mut sums: HashMap<Key<'a>, Sum<'a>> = HashMap::new();
    for entry in entries {
        let empty = Sum {
            largest: entry,
            usage: Usage::default(),
        };
        let sum = sums
            .entry(by.key(&entry.context, &entry.site))
            .or_insert(empty);
        sum.usage.add(entry.usage);
        if entry.usage.live_bytes > sum.largest.usage.live_bytes {
            sum.largest = entry;
        }
    }
    sums.into_values()
        .map(|Sum { largest, usage }| Group {
            location: Arc::clone(by.location(&largest.site)),
            site: Arc::clone(&largest.site),
            usage,
            frames: Vec::new(),
            context: (by == GroupBy::Trace).then(|| largest.context.clone()),
        })
        .collect()
}

/// Sorts by size, largest first, with equal sizes in the order of their names, and cuts at the limit.
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
