//! Recognises components that serve one request per instance, such as those with a `fetch` event:
//! their instance answers its first request, and fails each later one.

/// What to do about such a component.
pub(crate) const ADVICE: &str = "every request after the first one of its instance has failed: the \
    component may be made for one request per instance, as one that listens to `fetch` events is. \
    Serve it with --instance-per-request, or let it export `incomingHandler` instead of a listener";

/// Traps that are no accident.
const MIN_TRAPS: u64 = 2;

/// How requests have ended, by their place in their instance.
#[derive(Debug, Default)]
pub(crate) struct OneRequestSigns {
    has_first: bool,
    later_answers: u64,
    later_traps: u64,
    later_silences: u64,
}

/// How a request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestEnd {
    Answered,
    Trapped,
    /// The guest has returned without an answer.
    Silent,
}

impl OneRequestSigns {
    /// Counts a request. `is_first`: it was the first one of its instance.
    pub(crate) fn add(&mut self, is_first: bool, end: RequestEnd) {
        match (is_first, end) {
            (true, RequestEnd::Answered) => self.has_first = true,
            (true, _) => {}
            (false, RequestEnd::Answered) => self.later_answers += 1,
            (false, RequestEnd::Trapped) => self.later_traps += 1,
            (false, RequestEnd::Silent) => self.later_silences += 1,
        }
    }

    /// Whether the component looks like one that serves one request per instance.
    pub(crate) fn are_clear(&self) -> bool {
        let failed = self.later_silences > 0 || self.later_traps >= MIN_TRAPS;
        self.has_first && self.later_answers == 0 && failed
    }
}

#[cfg(test)]
mod tests {
    use super::RequestEnd::{Answered, Silent, Trapped};
    use super::*;

    fn are_clear(requests: &[(bool, RequestEnd)]) -> bool {
        let mut signs = OneRequestSigns::default();
        for (is_first, end) in requests {
            signs.add(*is_first, *end);
        }
        signs.are_clear()
    }

    #[test]
    fn only_failures_of_all_later_requests_are_clear() {
        assert!(are_clear(&[(true, Answered), (false, Silent)]));
        let traps = [(true, Answered), (false, Trapped)];
        assert!(!are_clear(&traps));
        assert!(are_clear(&[traps, traps].concat()));
        assert!(!are_clear(&[
            (true, Answered),
            (false, Answered),
            (false, Silent)
        ]));
        assert!(
            !are_clear(&[(true, Silent), (false, Silent)]),
            "nothing works"
        );
        assert!(!are_clear(&[(true, Answered), (true, Answered)]));
    }
}
