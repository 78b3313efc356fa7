//! The steps of the exercises: what a learner does, and in which exercise.

/// The requests that the baseline of exercise 1 takes.
pub(super) const IDLE_REQUESTS: u64 = 100;
/// The requests of the sustained traffic in exercise 2.
pub(super) const LEAK_REQUESTS: u64 = 1000;
/// The requests of the burst in exercise 3, after those of exercise 2.
pub(super) const BURST_REQUESTS: u64 = 500;
/// The requests between the two diffs of exercise 4.
pub(super) const DIFF_REQUESTS: u64 = 200;
/// The requests without growth at the end of exercise 5, and those of each leak in exercise 6.
pub(super) const SETTLED_REQUESTS: u64 = 500;
/// The requests with all three leaks of exercise 6 on.
pub(super) const ALL_REQUESTS: u64 = 100;

/// Defines [`Step`] from one table.
macro_rules! steps {
    ($($variant:ident = $id:literal, $title:literal;)*) => {
        /// A step of an exercise.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Step {
            $(#[doc = $title] $variant,)*
        }

        impl Step {
            /// All steps in order.
            pub const ALL: &[Step] = &[$(Step::$variant,)*];

            /// The number of the exercise and of the step: `2.1`.
            pub fn id(self) -> &'static str {
                match self {
                    $(Step::$variant => $id,)*
                }
            }

            /// What to do, with source code and paths between backticks.
            pub fn title(self) -> &'static str {
                match self {
                    $(Step::$variant => $title,)*
                }
            }
        }
    };
}

steps! {
    StatusRead = "1.1", "Check that every leak is off";
    MemoryRead = "1.2", "Look at the memory";
    IdleRequests = "1.3", "Send 100 requests with every leak off";
    IdleFlat = "1.4", "Look at the memory again: the plugins hold no more than before";
    CacheOn = "2.1", "Switch on `cache`";
    CacheRequests = "2.2", "Send 1,000 requests";
    CacheRead = "2.3", "Look at what `cache` retains, and at the time that is left";
    Burst = "3.1", "Send a burst of 500 more requests";
    BurstRead = "3.2", "Look at the bytes per request again: they are the same";
    BaselineSet = "4.1", "Take a baseline of the heap";
    DiffRequests = "4.2", "Send 200 requests while `cache` is on";
    DiffRead = "4.3", "Read the diff: it names the line that grew";
    SnapshotRead = "4.4", "Read a snapshot: what each line holds now";
    Cleared = "5.1", "Clear what `cache` retains";
    Collected = "5.2", "Return the memory with gc";
    CacheOff = "5.3", "Switch `cache` off, or run its fixed variant";
    Settled = "5.4", "Send 500 requests in a row without growth";
    ListenersRequests = "6.1", "Switch on `listeners` and send 500 requests";
    ListenersCleared = "6.2", "Clear `listeners`";
    HistoryRequests = "6.3", "Switch on `history` and send 500 requests";
    HistoryCleared = "6.4", "Clear `history`";
    AllOn = "6.5", "Switch on all three and send 100 requests";
}

impl Step {
    /// The number of the exercise, from 1.
    pub fn exercise(self) -> usize {
        let number = self.id().split('.').next();
        number.and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// The step with this id.
    pub(super) fn with_id(id: &str) -> Option<Step> {
        Step::ALL.iter().copied().find(|step| step.id() == id)
    }

    /// The steps of one exercise.
    pub fn of(exercise: usize) -> impl Iterator<Item = Step> {
        let all = Step::ALL.iter().copied();
        all.filter(move |step| step.exercise() == exercise)
    }
}
