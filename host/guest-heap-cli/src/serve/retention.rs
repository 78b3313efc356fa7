//! What requests leave behind, by method and path.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Paths that are counted one by one. All further ones count together.
const MAX_NAMES: usize = 64;

/// The name of the paths that are not counted one by one.
const OTHERS: &str = "other paths";

/// Requests with one method and path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Retained {
    /// Requests that the guest has handled.
    pub(super) requests: u64,
    /// Those that the guest handled while it did nothing else.
    pub(super) measured: u64,
    /// Bytes by which the live heap grew in the measured ones.
    pub(super) bytes: i64,
    /// Bytes by which linear memory grew in the measured ones.
    pub(super) linear_bytes: i64,
}

/// How much memory a guest takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MemorySize {
    pub(super) live_bytes: u64,
    pub(super) linear_bytes: u64,
}

/// What requests leave behind, by method and path.
#[derive(Debug, Clone, Default)]
pub(super) struct Retention(BTreeMap<Arc<str>, Retained>);

impl Retention {
    /// The guest has handled a request.
    pub(super) fn count(&mut self, name: &Arc<str>) {
        let entry = self.entry(name);
        entry.requests += 1;
    }

    /// Memory went from one size to the other while the guest handled this request and nothing
    /// else.
    pub(super) fn measure(&mut self, name: &Arc<str>, from: MemorySize, to: MemorySize) {
        let entry = self.entry(name);
        entry.measured += 1;
        let change = |from: u64, to: u64| to as i64 - from as i64;
        let live = change(from.live_bytes, to.live_bytes);
        let linear = change(from.linear_bytes, to.linear_bytes);
        entry.bytes = entry.bytes.saturating_add(live);
        entry.linear_bytes = entry.linear_bytes.saturating_add(linear);
    }

    fn entry(&mut self, name: &Arc<str>) -> &mut Retained {
        let is_counted = self.0.contains_key(name) || self.0.len() < MAX_NAMES;
        let name = if is_counted {
            name.clone()
        } else {
            OTHERS.into()
        };
        self.0.entry(name).or_default()
    }

    /// All paths: those that leave most behind first.
    pub(super) fn paths(&self) -> Vec<(Arc<str>, Retained)> {
        let mut paths: Vec<_> = self
            .0
            .iter()
            .map(|(name, it)| (name.clone(), *it))
            .collect();
        // The sort is stable, so equal ones stay in the order of their names.
        paths.sort_by_key(|(_, retained)| Reverse((retained.bytes, retained.linear_bytes)));
        paths
    }
}

/// Finds out what a request leaves behind: the difference between two moments at which the guest
/// has nothing to do, if there was one request between them.
#[derive(Debug)]
pub(super) struct Measurement {
    idle: MemorySize,
    since: Since,
}

/// The requests since the guest had nothing to do.
#[derive(Debug)]
enum Since {
    None,
    One(Arc<str>),
    Several,
}

impl Measurement {
    /// A measurement that begins with an idle guest.
    pub(super) fn new(idle: MemorySize) -> Self {
        Self {
            idle,
            since: Since::None,
        }
    }

    pub(super) fn begin_request(&mut self, name: &Arc<str>) {
        self.since = match self.since {
            Since::None => Since::One(name.clone()),
            Since::One(_) | Since::Several => Since::Several,
        };
    }

    /// The guest has nothing to do and takes this much memory. Returns the request that has left
    /// the difference behind, if it was one, and the size before it.
    pub(super) fn idle(&mut self, size: MemorySize) -> Option<(Arc<str>, MemorySize)> {
        let before = std::mem::replace(&mut self.idle, size);
        match std::mem::replace(&mut self.since, Since::None) {
            Since::One(name) => Some((name, before)),
            Since::None | Since::Several => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(live_bytes: u64) -> MemorySize {
        MemorySize {
            live_bytes,
            linear_bytes: 0,
        }
    }

    #[test]
    fn the_number_of_paths_is_bounded() {
        let mut retention = Retention::default();
        for number in 0..1000 {
            let name: Arc<str> = format!("GET /{number}").into();
            retention.count(&name);
            retention.measure(&name, MemorySize::default(), size(10));
        }
        let paths = retention.paths();
        assert_eq!(paths.len(), MAX_NAMES + 1);
        assert_eq!(&*paths[0].0, OTHERS);
        let requests: u64 = paths.iter().map(|(_, it)| it.requests).sum();
        assert_eq!(requests, 1000);
    }

    #[test]
    fn only_a_request_without_another_one_is_measured() {
        let (a, b): (Arc<str>, Arc<str>) = ("GET /a".into(), "GET /b".into());
        let mut measurement = Measurement::new(size(1000));
        measurement.begin_request(&a);
        let measured = measurement.idle(size(1100));
        assert_eq!(measured, Some((a.clone(), size(1000))));
        assert_eq!(measurement.idle(size(1100)), None);
        measurement.begin_request(&a);
        measurement.begin_request(&b);
        assert_eq!(measurement.idle(size(1500)), None);
        measurement.begin_request(&b);
        assert_eq!(measurement.idle(size(1400)), Some((b, size(1500))));
    }

    #[test]
    fn both_sizes_are_summed() {
        let name: Arc<str> = "GET /a".into();
        let mut retention = Retention::default();
        let grown = MemorySize {
            live_bytes: 90,
            linear_bytes: 65_536,
        };
        retention.measure(&name, size(100), grown);
        retention.measure(&name, grown, grown);
        let paths = retention.paths();
        let (_, retained) = &paths[0];
        assert_eq!((retained.measured, retained.bytes), (2, -10));
        assert_eq!(retained.linear_bytes, 65_536);
    }
}
