//! Which scenario files are accepted, and what the errors of the others say.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use self::schema::is_valid;
use super::file::Scenario;

mod schema;

const SCHEMA: &str = include_str!("../../../../scenarios/scenario.schema.json");

const EXAMPLES: [(&str, &str); 3] = [
    ("burst", include_str!("../../../../scenarios/burst.yaml")),
    (
        "decoy-first",
        include_str!("../../../../scenarios/decoy-first.yaml"),
    ),
    (
        "game-day",
        include_str!("../../../../scenarios/game-day.yaml"),
    ),
];

/// Files that are refused, each with the error.
const REFUSED: &[(&str, &str)] = &[
    ("", "line 1: takes a map of fields, not nothing"),
    ("- 1\n", "line 1: takes a map of fields, not a list"),
    ("name: x\n", "line 1, steps: is required: a list of leaks"),
    (
        "name: x\nsteps: []\n",
        "line 2, steps: takes 1 to 100 steps",
    ),
    (
        "name: x\nsteps:\n  - start_after: 5m\n",
        "line 3, steps[0].leak: is required: the name of a leak",
    ),
    (
        "name: x\nstepz:\n  - leak: cache\n",
        "line 3, stepz: there is no such field; allowed are name, description, steps",
    ),
    (
        "name: x\nsteps:\n  - leak: cache\n    during: 5m\n",
        "line 4, steps[0].during: there is no such field; \
         allowed are leak, start_after, duration, repeat, settings, traffic",
    ),
    (
        "name: x\nsteps:\n  - leak: cache\n    duration: 5\n",
        "line 4, steps[0].duration: \
         takes a time with its unit, such as 90s, 5m or 1h30m, not a number",
    ),
    (
        "name: x\nsteps:\n  - leak: cache\n    duration: 5 minutes\n",
        "line 4, steps[0].duration: takes a time with its unit, such as 90s, 5m or 1h30m",
    ),
    (
        "name: x\nsteps:\n  - leak: cache\n    duration: 0s\n",
        "line 4, steps[0].duration: takes 1s to 168h",
    ),
    (
        "name: x\nsteps:\n  - leak: cache\n    start_after: 169h\n",
        "line 4, steps[0].start_after: takes 0s to 168h",
    ),
    (
        "name: x\nsteps:\n  - leak: cache\n    repeat: 5m\n",
        "line 4, steps[0].repeat: needs duration: without it, the leak stays on",
    ),
    (
        "name: x\nsteps:\n  - leak: cache\n    duration: 5m\n    repeat: 300s\n",
        "line 5, steps[0].repeat: takes more than duration, which is 300s",
    ),
    (
        "name: x\nsteps:\n  - leak: cache\n  - leak: history\n  - leak: cache\n",
        "line 5, steps[2].leak: cache is the leak of steps[0] already; \
         a leak has one schedule, repeat starts it again",
    ),
    (
        "name: x\nsteps:\n  - leak: cache\n    settings:\n      duration_seconds: 5\n",
        "line 5, steps[0].settings.duration_seconds: is the field duration of the step",
    ),
    (
        "name: x\nsteps:\n  - leak: cache\n    settings:\n      max_mb: [5]\n",
        "line 5, steps[0].settings.max_mb: takes one value, not a list",
    ),
    (
        "name: x\nsteps:\n  - leak: cache\n    traffic: 20\n",
        "line 4, steps[0].traffic: takes a map of fields, not a number",
    ),
    (
        "name: x\nsteps:\n  - leak: cache\n    traffic:\n      requests_per_second: -1\n",
        "line 5, steps[0].traffic.requests_per_second: takes a number from 0 to 1000000",
    ),
    (
        "name: 7\nsteps:\n  - leak: cache\n",
        "line 1, name: takes a text, not a number",
    ),
    (
        "{\"name\": \"x\",\n \"steps\": [{\"leak\": \"cache\", \"repeat\": \"5m\"}]}",
        "line 2, steps[0].repeat: needs duration: without it, the leak stays on",
    ),
];

#[test]
fn an_error_names_line_and_field_and_what_is_allowed() {
    for (text, expected) in REFUSED {
        let error = Scenario::parse(text).unwrap_err().to_string();
        assert_eq!(&error, expected, "{text}");
    }
}

#[test]
fn a_text_that_is_not_yaml_is_refused_with_the_line() {
    for (text, line) in [
        ("name: x\nsteps: [\n", "line"),
        ("name: x\nname: y\nsteps:\n  - leak: cache\n", "line 2"),
        (
            "name: x\nsteps:\n  - leak: cache\n   duration: 5m\n",
            "line",
        ),
    ] {
        let error = Scenario::parse(text).unwrap_err().to_string();
        assert!(error.starts_with("this is not YAML: "), "{error}");
        assert!(error.contains(line), "{error}");
    }
    let nested = format!("name: x\nsteps: {}{}\n", "[".repeat(5000), "]".repeat(5000));
    assert!(Scenario::parse(&nested).is_err());
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let before = format!("*a{}", n - 1);
        let ten = vec![before; 10].join(", ");
        aliases += &format!("a{n}: &a{n} [{ten}]\n");
    }
    assert!(Scenario::parse(&aliases).is_err());
}

#[test]
fn the_examples_are_accepted_and_have_their_names() {
    for (name, text) in EXAMPLES {
        let scenario = Scenario::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(scenario.name, name);
        assert!(scenario.description.is_some(), "{name}");
        let modeline = "# yaml-language-server: $schema=scenario.schema.json\n";
        assert!(
            text.starts_with(modeline),
            "{name}: editors find the schema"
        );
    }
    let (_, game_day) = EXAMPLES[2];
    let scenario = Scenario::parse(game_day).unwrap();
    let ends = scenario
        .steps
        .iter()
        .map(|step| step.start_after.unwrap_or_default());
    let hour = Duration::from_secs(3600);
    assert!(
        ends.clone().all(|end| end < hour),
        "every leak starts within the hour"
    );
}

#[test]
fn the_schema_accepts_and_refuses_the_same_files() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let document = |text: &str| serde_saphyr::from_str::<Value>(text);
    for (name, text) in EXAMPLES {
        assert!(is_valid(&schema, &document(text).unwrap()), "{name}");
    }
    // What the schema leaves out: comparisons of times, and a leak that is named twice.
    let beyond = [
        "takes more than duration",
        "takes 0s to 168h",
        "steps[0] already",
    ];
    for (text, error) in REFUSED {
        let Ok(document) = document(text) else {
            continue;
        };
        let is_beyond = beyond.iter().any(|part| error.contains(part));
        assert_eq!(is_valid(&schema, &document), is_beyond, "{text}");
    }
}

#[test]
fn the_schema_has_the_fields_of_the_parser() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let names = |pointer: &str| -> BTreeSet<String> {
        let properties = schema.pointer(pointer).and_then(Value::as_object);
        properties.unwrap().keys().cloned().collect()
    };
    for (pointer, fields) in [
        ("/properties", &["name", "description", "steps"][..]),
        (
            "/$defs/step/properties",
            &[
                "leak",
                "start_after",
                "duration",
                "repeat",
                "settings",
                "traffic",
            ],
        ),
        (
            "/$defs/traffic/properties",
            &["requests_per_second", "note"],
        ),
    ] {
        let fields = fields.iter().map(|name| (*name).to_owned());
        assert_eq!(names(pointer), fields.collect(), "{pointer}");
    }
    assert_eq!(schema.pointer("/additionalProperties"), Some(&json!(false)));
}
