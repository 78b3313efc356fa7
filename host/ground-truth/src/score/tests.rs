use super::*;
use crate::truth::Role;

fn leak(plugin: &str, limit_reached: Option<u64>) -> Truth {
    Truth {
        plugin: plugin.to_owned(),
        role: Role::Leak,
        onset: Some(1000),
        end: 5000,
        limit_reached,
        limit_expected: None,
        seconds_to_limit: Some(9000),
        bytes_per_request: 5000.0,
        linear_per_request: 5000.0,
    }
}

fn firing(alert: &str, plugin: Option<&str>, from: u64, resolved: Option<u64>) -> Firing {
    let name = [("alertname".to_owned(), alert.to_owned())];
    let plugin = plugin.map(|plugin| ("plugin".to_owned(), plugin.to_owned()));
    Firing {
        labels: name.into_iter().chain(plugin).collect(),
        from,
        resolved,
    }
}

fn observation<'a>(truths: &'a [Truth], restarts: &'a [u64]) -> Observation<'a> {
    Observation {
        truths,
        from: 0,
        until: 6000,
        grace_seconds: 100,
        restarts,
    }
}

fn one(firings: &[Firing], truths: &[Truth], restarts: &[u64]) -> AlertScore {
    let mut scores = judge(firings, &BTreeSet::new(), &observation(truths, restarts));
    scores.remove("A").unwrap()
}

#[test]
fn a_leak_is_found_from_its_onset_on() {
    let truths = [leak("cache", Some(4000))];
    let score = one(&[firing("A", Some("cache"), 1600, None)], &truths, &[]);
    assert_eq!(score.leaks[0].seconds_to_detect, Some(600));
    assert_eq!(score.leaks[0].lead_seconds, Some(2400));
    assert!(score.false_alarms.is_empty());
    let late = one(&[firing("A", None, 4010, None)], &truths, &[]);
    assert_eq!(late.leaks[0].lead_seconds, Some(-10));
}

#[test]
fn alerts_before_the_onset_or_about_another_plugin_are_false() {
    let truths = [leak("cache", None)];
    let early = one(&[firing("A", Some("cache"), 900, None)], &truths, &[]);
    assert_eq!(early.leaks[0].seconds_to_detect, None);
    assert_eq!(early.false_alarms, [900]);
    let other = one(&[firing("A", Some("warm-up"), 2000, None)], &truths, &[]);
    assert_eq!(
        (other.leaks[0].seconds_to_detect, other.false_alarms),
        (None, vec![2000])
    );
    let after = one(&[firing("A", Some("cache"), 5200, None)], &truths, &[]);
    assert_eq!(after.false_alarms, [5200]);
    let in_grace = one(&[firing("A", Some("cache"), 5050, None)], &truths, &[]);
    assert!(in_grace.false_alarms.is_empty());
}

#[test]
fn a_decoy_makes_every_alert_false() {
    let decoy = Truth {
        role: Role::Decoy,
        ..leak("sawtooth", None)
    };
    let score = one(
        &[firing("A", Some("sawtooth"), 2000, None)],
        std::slice::from_ref(&decoy),
        &[],
    );
    assert_eq!((score.false_alarms.len(), score.leaks.len()), (1, 0));
    assert_eq!(healthy_seconds(&observation(&[decoy], &[])), 6000);
    assert_eq!(
        healthy_seconds(&observation(&[leak("cache", None)], &[])),
        1000 + 900
    );
}

#[test]
fn an_alert_that_comes_again_flaps_unless_the_process_is_new() {
    let truths = [leak("cache", None)];
    let twice = [
        firing("A", Some("cache"), 1500, Some(1600)),
        firing("A", Some("cache"), 1900, None),
    ];
    assert_eq!(one(&twice, &truths, &[]).flaps, 1);
    assert_eq!(one(&twice, &truths, &[1700]).flaps, 0);
    let two_series = [
        firing("A", Some("cache"), 1500, None),
        firing("A", None, 1900, None),
    ];
    assert_eq!(one(&two_series, &truths, &[]).flaps, 0);
}

#[test]
fn an_alert_that_never_fires_misses_every_leak() {
    let names = BTreeSet::from(["Silent".to_owned()]);
    let truths = [leak("cache", Some(3000))];
    let scores = judge(&[], &names, &observation(&truths, &[]));
    assert_eq!(scores["Silent"].leaks[0].seconds_to_detect, None);
    assert_eq!(scores["Silent"].leaks[0].lead_seconds, None);
    assert!(!scores["Silent"].leaks[0].out_of_reach);
}

#[test]
fn together_the_first_alert_counts() {
    let truths = [leak("cache", None)];
    let firings = [
        firing("Slow", Some("cache"), 3000, None),
        firing("Fast", Some("cache"), 1200, None),
    ];
    let score = judge_together(&firings, &observation(&truths, &[]));
    assert_eq!(score.leaks[0].seconds_to_detect, Some(200));
}
