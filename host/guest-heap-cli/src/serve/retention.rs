//! What requests leave behind, by method and path.

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

    /// The live heap grew by `bytes` while the guest handled this request and nothing else.
    pub(super) fn measure(&mut self, name: &Arc<str>, bytes: i64) {
        let entry = self.entry(name);
        entry.measured += 1;
        entry.bytes = entry.bytes.saturating_add(bytes);
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
        paths.sort_by_key(|(_, retained)| std::cmp::Reverse(retained.bytes));
        paths
    }
}

/// Finds out what a request leaves behind: the difference between two moments at which the guest
/// has nothing to do, if there was one request between them.
#[derive(Debug)]
pub(super) struct Measurement {
    idle_bytes: u64,
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
    pub(super) fn new(idle_bytes: u64) -> Self {
        Self {
            idle_bytes,
            since: Since::None,
        }
    }

    pub(super) fn begin_request(&mut self, name: &Arc<str>) {
        self.since = match self.since {
            Since::None => Since::One(name.clone()),
            Since::One(_) | Since::Several => Since::Several,
        };
    }

    /// The guest has nothing to do and holds this many bytes. Returns the request that has left
    /// the difference behind, if it was one.
    pub(super) fn idle(&mut self, bytes: u64) -> Option<(Arc<str>, i64)> {
        let retained = bytes as i64 - self.idle_bytes as i64;
        self.idle_bytes = bytes;
        match std::mem::replace(&mut self.since, Since::None) {
            Since::One(name) => Some((name, retained)),
            Since::None | Since::Several => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_paths_is_bounded() {
        let mut retention = Retention::default();
        for number in 0..1000 {
            let name: Arc<str> = format!("GET /{number}").into();
            retention.count(&name);
            retention.measure(&name, 10);
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
        let mut measurement = Measurement::new(1000);
        measurement.begin_request(&a);
        assert_eq!(measurement.idle(1100), Some((a.clone(), 100)));
        assert_eq!(measurement.idle(1100), None);
        measurement.begin_request(&a);
        measurement.begin_request(&b);
        assert_eq!(measurement.idle(1500), None);
        measurement.begin_request(&b);
        assert_eq!(measurement.idle(1400), Some((b, -100)));
    }
}
