//! The judgement on made-up readings.

use super::progress::{LeakReading, Progress, Reading};
use super::{Action, EXERCISES, Step};

/// A host with the three leaks of the exercises, without a host.
struct Learner {
    progress: Progress,
    now: Reading,
}

impl Learner {
    fn new() -> Self {
        let leak = LeakReading {
            leaky: true,
            instance: (1, 1),
            linear_bytes: 1 << 20,
            ..LeakReading::default()
        };
        let ids = ["cache", "history", "listeners"];
        Learner {
            progress: Progress::default(),
            now: Reading {
                requests: 0,
                leaks: ids.map(|id| (id.to_owned(), leak.clone())).into(),
            },
        }
    }

    fn does(&mut self, action: Action) {
        self.progress.observe(self.now.clone(), &action);
    }

    fn switches(&mut self, id: &str, on: bool) {
        self.does(Action::Other);
        self.now.leaks.get_mut(id).unwrap().enabled = on;
        self.does(Action::Other);
    }

    /// Sends requests; each one leaves 5,000 bytes behind in each leak that is on.
    fn sends(&mut self, requests: u64) {
        self.now.requests += requests;
        for leak in self.now.leaks.values_mut().filter(|leak| leak.enabled) {
            leak.requests += requests;
            leak.retained_bytes += if leak.leaky { 5000 * requests } else { 0 };
        }
        self.does(Action::Other);
    }

    fn clears(&mut self, id: &str) {
        let leak = self.now.leaks.get_mut(id).unwrap();
        let dropped = if leak.retained_bytes > 0 {
            vec![id.to_owned()]
        } else {
            Vec::new()
        };
        leak.retained_bytes = 0;
        self.does(Action::Cleared { dropped });
    }

    fn collects(&mut self, id: &str) {
        let leak = self.now.leaks.get_mut(id).unwrap();
        leak.instance.1 += 1;
        leak.requests = 0;
        self.does(Action::Collected {
            recycled: vec![id.to_owned()],
        });
    }

    /// The steps of an exercise that are not done, with what is missing.
    fn missing(&self, exercise: usize) -> Vec<(&'static str, String)> {
        let step = |step: Step| Some((step.id(), self.progress.missing(step)?));
        Step::of(exercise).filter_map(step).collect()
    }

    fn has_done(&self, exercise: usize) -> bool {
        self.missing(exercise).is_empty()
    }
}

/// All exercises in order, as the README has them.
#[test]
fn a_learner_who_does_everything_is_done() {
    let mut learner = Learner::new();
    learner.does(Action::ReadMemory);
    learner.does(Action::ReadStatus);
    learner.sends(100);
    learner.does(Action::ReadMemory);
    assert_eq!(learner.missing(1), []);

    learner.switches("cache", true);
    learner.sends(1000);
    learner.does(Action::ReadStatus);
    assert_eq!(learner.missing(2), []);

    learner.sends(500);
    learner.does(Action::ReadStatus);
    assert_eq!(learner.missing(3), []);

    learner.does(Action::SetBaseline);
    learner.sends(200);
    learner.does(Action::ReadDiff {
        grown: vec!["cache".into()],
        sets_baseline: true,
    });
    learner.does(Action::ReadSnapshot);
    assert_eq!(learner.missing(4), []);

    learner.clears("cache");
    learner.collects("cache");
    learner.switches("cache", false);
    learner.sends(500);
    assert_eq!(learner.missing(5), []);

    for id in ["listeners", "history"] {
        learner.switches(id, true);
        learner.sends(500);
        learner.clears(id);
        learner.switches(id, false);
    }
    for id in ["cache", "listeners", "history"] {
        learner.switches(id, true);
    }
    learner.sends(100);
    assert_eq!(learner.missing(6), []);
}

#[test]
fn each_step_that_is_left_out_is_named() {
    let mut learner = Learner::new();
    let all: Vec<_> = (1..=6)
        .flat_map(|exercise| learner.missing(exercise))
        .collect();
    assert_eq!(all.len(), Step::ALL.len(), "nothing is done at the start");
    learner.does(Action::ReadStatus);
    learner.sends(60);
    let missing = learner.missing(1);
    let ids: Vec<_> = missing.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, ["1.2", "1.3", "1.4"]);
    assert_eq!(
        missing[1].1,
        "Send 40 more requests while every leak is off."
    );

    learner.switches("cache", true);
    learner.sends(999);
    learner.does(Action::ReadStatus);
    let missing = learner.missing(2);
    assert_eq!(
        missing[0],
        ("2.2", "Send 1 more request while `cache` is on.".into())
    );
    assert_eq!(missing[1], ("2.3", "Do step 2.2 first.".into()));
    learner.switches("cache", false);
    assert_eq!(
        learner.missing(2)[0].1,
        "Switch on the leaky variant of `cache`."
    );
}

#[test]
fn a_diff_without_requests_in_between_does_not_count() {
    let mut learner = Learner::new();
    learner.switches("cache", true);
    learner.sends(300);
    let diff = Action::ReadDiff {
        grown: vec!["cache".into()],
        sets_baseline: true,
    };
    learner.does(diff.clone());
    let missing = learner.missing(4);
    assert_eq!(
        missing[0],
        ("4.2", "Send 200 more requests while `cache` is on.".into())
    );
    learner.sends(200);
    learner.does(Action::ReadDiff {
        grown: vec!["history".into()],
        sets_baseline: true,
    });
    assert_eq!(learner.missing(4)[0].0, "4.3", "another plugin grew");
    learner.does(diff);
    assert_eq!(learner.missing(4)[0].0, "4.4");
}

#[test]
fn memory_is_flat_only_while_nothing_grows() {
    let mut learner = Learner::new();
    learner.switches("cache", true);
    learner.sends(100);
    learner.clears("cache");
    learner.switches("cache", false);
    learner.switches("history", true);
    learner.sends(499);
    assert_eq!(
        learner.missing(5)[1].1,
        "Send 500 more requests without growth."
    );
    learner.now.leaks.get_mut("history").unwrap().leaky = false;
    learner.sends(499);
    assert_eq!(
        learner.missing(5)[1].1,
        "Send 1 more request without growth."
    );
    learner.sends(1);
    let left: Vec<_> = learner.missing(5).iter().map(|(id, _)| *id).collect();
    assert_eq!(left, ["5.2"], "the memory was not returned");
}

#[test]
fn clearing_nothing_and_the_fixed_variant_do_not_count() {
    let mut learner = Learner::new();
    learner.clears("cache");
    assert_eq!(learner.missing(5)[0].0, "5.1");
    learner.now.leaks.get_mut("listeners").unwrap().leaky = false;
    learner.switches("listeners", true);
    learner.sends(600);
    assert_eq!(learner.missing(6)[0].0, "6.1");
}

#[test]
fn starting_over_forgets_what_came_before() {
    let mut learner = Learner::new();
    learner.does(Action::ReadOverview);
    learner.sends(100);
    learner.does(Action::ReadOverview);
    assert!(learner.has_done(1));
    learner.progress.start_over();
    learner.does(Action::Other);
    assert_eq!(learner.missing(1).len(), 4);
    assert_eq!(
        learner.missing(1)[2].1,
        "Send 100 more requests while every leak is off."
    );
}

#[test]
fn ids_count_up_within_each_exercise() {
    let mut seen = Vec::new();
    for exercise in 1..=EXERCISES {
        let ids: Vec<_> = Step::of(exercise).map(Step::id).collect();
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(*id, format!("{exercise}.{}", index + 1));
        }
        seen.extend(ids);
    }
    assert_eq!(seen.len(), Step::ALL.len());
}
