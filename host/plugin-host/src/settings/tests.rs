//! Which values the settings accept, and the policy that they produce.

use std::time::Duration;

use super::*;

fn settings() -> Settings {
    let declared = vec![SettingSpec {
        name: "payload_bytes".into(),
        description: String::new(),
        kind: SettingType::Integer { min: 0, max: 1000 },
        optional: false,
        default: Value::Integer(10),
        applied_by: AppliedBy::Plugin,
    }];
    let defaults = Defaults {
        deadline: Duration::from_millis(250),
        queue_timeout: Duration::from_secs(5),
        memory_limit: None,
        heap_profile: HeapProfile::Exact,
    };
    Settings::new("p", declared, &defaults)
}

#[test]
fn values_are_checked_against_type_and_range() {
    let cases: Vec<(&str, Value, bool)> = vec![
        ("payload_bytes", Value::Integer(0), true),
        ("payload_bytes", Value::Integer(1000), true),
        ("payload_bytes", Value::Integer(1001), false),
        ("payload_bytes", Value::Number(3.0), true),
        ("payload_bytes", Value::Number(3.5), false),
        ("payload_bytes", Value::Text("3".into()), false),
        ("payload_bytes", Value::Unset, false),
        ("probability", Value::Integer(1), true),
        ("probability", Value::Number(1.01), false),
        ("probability", Value::Number(f64::NAN), false),
        ("max_mb", Value::Unset, true),
        ("max_mb", Value::Number(-1.0), false),
        ("target_mb", Value::Integer(100), true),
        ("target_mb", Value::Unset, true),
        ("target_mb", Value::Integer(0), false),
        ("target_minutes", Value::Number(0.5), true),
        ("target_minutes", Value::Integer(0), false),
        ("target_minutes", Value::Unset, false),
        ("heap_profile", Value::Text("off".into()), true),
        ("heap_profile", Value::Text("on".into()), false),
    ];
    for (name, value, fits) in cases {
        let result = settings().with(vec![(name.into(), value.clone())]);
        assert_eq!(result.is_ok(), fits, "{name} = {value:?}");
    }
}

#[test]
fn a_refused_change_changes_nothing() {
    let before = settings();
    let changes = vec![
        ("payload_bytes".into(), Value::Integer(20)),
        ("probability".into(), Value::Number(2.0)),
    ];
    assert!(before.with(changes).is_err());
    assert_eq!(before.get("payload_bytes"), Some(&Value::Integer(10)));
}

#[test]
fn the_policy_follows_the_values() {
    let s = settings()
        .with(vec![("max_mb".into(), Value::Number(1.5))])
        .unwrap();
    assert_eq!(s.policy().retained_max, Some(1_572_864));
    assert_eq!(s.policy().memory_limit, WASM32_MEMORY_MAX);
    assert_eq!(s.at_defaults().policy().retained_max, None);
    assert_eq!(s.policy().target, None);
    let s = s
        .with(vec![("target_mb".into(), Value::Integer(100))])
        .unwrap();
    let target = s.policy().target.unwrap();
    assert_eq!(target.bytes, 100 << 20);
    assert_eq!(target.within, Duration::from_secs(600));
}

#[test]
fn the_nearest_payload_is_within_the_range() {
    let settings = settings();
    let (spec, payload) = settings.payload().unwrap();
    assert_eq!(payload, 10);
    for (bytes, nearest) in [(0, 0), (7, 7), (1001, 1000), (u64::MAX, 1000)] {
        assert_eq!(spec.nearest(bytes), Value::Integer(nearest));
    }
}

#[test]
fn only_changed_plugin_settings_are_passed_to_the_guest() {
    let old = settings();
    let new = old
        .with(vec![
            ("payload_bytes".into(), Value::Integer(20)),
            ("probability".into(), Value::Number(0.5)),
        ])
        .unwrap();
    let passed: Vec<_> = new
        .plugin_changes(&old)
        .map(|(s, _)| s.name.as_str())
        .collect();
    assert_eq!(passed, ["payload_bytes"]);
    assert!(old.plugin_changes(&old).next().is_none());
}

#[test]
fn a_new_version_keeps_the_values_that_it_still_accepts() {
    let old = settings()
        .with(vec![
            ("payload_bytes".into(), Value::Integer(20)),
            ("probability".into(), Value::Number(0.5)),
        ])
        .unwrap();
    let (kept, reset) = settings().keeping(&old);
    assert_eq!(kept.get("payload_bytes"), Some(&Value::Integer(20)));
    assert_eq!(kept.policy().probability, 0.5);
    assert_eq!(reset, []);

    let mut narrow = settings();
    for spec in &mut narrow.specs {
        if spec.name == "payload_bytes" {
            spec.kind = SettingType::Integer { min: 0, max: 15 };
        }
    }
    let (mut kept, reset) = narrow.keeping(&old);
    assert_eq!(kept.get("payload_bytes"), narrow.get("payload_bytes"));
    assert_eq!(reset.len(), 1);
    assert_eq!(reset[0].name, "payload_bytes");
    assert!(reset[0].reason.contains("to 15"), "{reset:?}");

    assert!(kept.reset("probability"));
    assert_eq!(kept.policy().probability, 1.0);
    assert!(!kept.reset("probability") && !kept.reset("nothing"));
}

#[test]
fn a_removed_setting_is_reported_if_it_was_changed() {
    let old = settings()
        .with(vec![("payload_bytes".into(), Value::Integer(20))])
        .unwrap();
    let mut without = settings();
    let at = without.specs.iter().position(|s| s.name == "payload_bytes");
    without.specs.remove(at.unwrap());
    without.values.remove(at.unwrap());
    let (_, reset) = without.keeping(&old);
    assert_eq!(reset[0].name, "payload_bytes");
    assert_eq!(without.keeping(&settings()).1, []);
}

#[test]
fn every_host_setting_accepts_its_default_and_is_reserved() {
    let settings = settings();
    for setting in HostSetting::ALL {
        let (spec, _) = settings
            .iter()
            .find(|(spec, _)| spec.name == setting.name())
            .unwrap();
        assert_eq!(spec.check(spec.default.clone()).unwrap(), spec.default);
        assert!(is_reserved(&spec.name));
    }
    assert!(is_reserved(names::ENABLED));
    assert!(!is_reserved(names::PAYLOAD_BYTES));
}

#[test]
fn a_schedule_must_end_before_it_repeats() {
    let change = |values: &[(&str, i64)]| {
        let changes = values.iter();
        let changes = changes.map(|(name, v)| ((*name).to_owned(), Value::Integer(*v)));
        settings().with(changes.collect())
    };
    let s = change(&[
        ("start_after_seconds", 60),
        ("duration_seconds", 30),
        ("repeat_seconds", 90),
    ]);
    let schedule = s.unwrap().policy().schedule.unwrap();
    assert_eq!(schedule.start_after, Duration::from_secs(60));
    assert_eq!(schedule.duration, Some(Duration::from_secs(30)));
    assert_eq!(schedule.repeat, Some(Duration::from_secs(90)));
    assert_eq!(settings().policy().schedule, None);
    for (values, says) in [
        (&[("repeat_seconds", 90)][..], "needs duration_seconds"),
        (
            &[("duration_seconds", 90), ("repeat_seconds", 90)],
            "takes more than duration_seconds, which is 90",
        ),
        (
            &[("duration_seconds", 0)],
            "takes a number from 1 to 604800, or null for none",
        ),
        (
            &[("start_after_seconds", 604_801)],
            "takes a number from 0 to 604800",
        ),
    ] {
        let error = change(values).unwrap_err().to_string();
        assert!(error.contains(says), "{values:?}: {error}");
    }
    // The order of the values within one call does not matter, and neither does an earlier call.
    let s = change(&[("repeat_seconds", 90), ("duration_seconds", 30)]).unwrap();
    let longer = s.with(vec![("duration_seconds".into(), Value::Integer(100))]);
    assert!(longer.is_err());
    let unset = s.with(vec![("duration_seconds".into(), Value::Unset)]);
    assert!(unset.is_err(), "repeat_seconds needs it");
}
