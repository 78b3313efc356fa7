//! The call stacks at any second of the past.
//!
//! A history has lines for every second, but call stacks only for every minute. So the bytes of a
//! line at a second are split among its call stacks as they were at the nearest minute, or else as
//! they are now. A flame graph of the difference then agrees with the difference by line; only the
//! split of a line with several call stacks is an estimate.

use std::collections::HashMap;

use crate::diff::LiveUsage;
use crate::snapshot::{GroupBy, GroupKey};

/// The memory of each of `lines` as call stacks. `known` are the call stacks of other times, the
/// best ones first. A line without any stays a line.
pub(super) fn split_among_stacks(lines: Vec<LiveUsage>, known: &[&[LiveUsage]]) -> Vec<LiveUsage> {
    let by_line: Vec<_> = known.iter().map(|entries| group_by_line(entries)).collect();
    let mut split = Vec::with_capacity(lines.len());
    for line in lines {
        if line.bytes == 0 && line.objects == 0 {
            continue;
        }
        let key = GroupBy::Line.key(&line.context, &line.site);
        match by_line.iter().find_map(|stacks| stacks.get(&key)) {
            Some(stacks) => split_line(&line, stacks, &mut split),
            None => split.push(line),
        }
    }
    split
}

/// The entries with live bytes, by line.
fn group_by_line(entries: &[LiveUsage]) -> HashMap<GroupKey<'_>, Vec<&LiveUsage>> {
    let mut groups: HashMap<_, Vec<&LiveUsage>> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.bytes > 0) {
        let key = GroupBy::Line.key(&entry.context, &entry.site);
        groups.entry(key).or_default().push(entry);
    }
    groups
}

/// Splits a line in proportion to the bytes of its call stacks, so that they add up to it.
fn split_line(line: &LiveUsage, stacks: &[&LiveUsage], split: &mut Vec<LiveUsage>) {
    let mut weight_left: u64 = stacks.iter().map(|stack| stack.bytes).sum();
    let (mut bytes_left, mut objects_left) = (line.bytes, line.objects);
    for stack in stacks {
        let bytes = share(bytes_left, stack.bytes, weight_left);
        let objects = share(objects_left, stack.bytes, weight_left);
        weight_left -= stack.bytes;
        bytes_left -= bytes;
        objects_left -= objects;
        split.push(LiveUsage {
            context: stack.context.clone(),
            site: stack.site.clone(),
            bytes,
            objects,
        });
    }
}

/// `amount · weight / all`, rounded. The last of several weights, which is all that is left, gets
/// the rest.
fn share(amount: u64, weight: u64, all: u64) -> u64 {
    let (amount, weight, all) = (u128::from(amount), u128::from(weight), u128::from(all));
    let share = (amount * weight + all / 2) / all.max(1);
    u64::try_from(share.min(amount)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::reading::Context;
    use crate::symbols::Site;

    fn usage(line: &str, stack: &[u32], bytes: u64, objects: u64) -> LiveUsage {
        LiveUsage {
            context: match stack {
                [] => Context::Synthetic(line.into()),
                stack => Context::Stack(stack.into()),
            },
            site: Arc::new(Site {
                location: line.into(),
                function: "f".into(),
                file: None,
                line: None,
            }),
            bytes,
            objects,
        }
    }

    fn amounts(split: &[LiveUsage]) -> Vec<(u64, u64)> {
        split
            .iter()
            .map(|usage| (usage.bytes, usage.objects))
            .collect()
    }

    #[test]
    fn the_stacks_of_a_line_add_up_to_the_line() {
        let minute = [
            usage("a.rs:1", &[1, 2], 300, 3),
            usage("a.rs:1", &[1, 3], 100, 1),
            usage("b.rs:2", &[4], 50, 5),
        ];
        let lines = vec![usage("a.rs:1", &[], 1001, 11), usage("b.rs:2", &[], 7, 1)];
        let split = split_among_stacks(lines, &[&minute]);
        assert_eq!(amounts(&split), [(751, 8), (250, 3), (7, 1)]);
        assert_eq!(split[0].context, minute[0].context);
    }

    #[test]
    fn a_line_takes_the_first_stacks_that_are_known() {
        let minute = [usage("a.rs:1", &[1], 10, 1)];
        let now = [usage("a.rs:1", &[2], 10, 1), usage("b.rs:2", &[3], 10, 1)];
        let lines = ["a.rs:1", "b.rs:2", "gone.rs:3"].map(|line| usage(line, &[], 8, 2));
        let split = split_among_stacks(lines.to_vec(), &[&minute, &now]);
        let contexts: Vec<_> = split.iter().map(|usage| usage.context.clone()).collect();
        let gone = Context::Synthetic("gone.rs:3".into());
        assert_eq!(
            contexts,
            [minute[0].context.clone(), now[1].context.clone(), gone]
        );
        assert_eq!(amounts(&split), [(8, 2); 3]);
    }
}
