use fleet::AskError;
use fleet::summary::Verdict;

use super::*;

fn answered(address: &str, summary: HostSummary) -> HostAnswer {
    HostAnswer {
        address: address.parse().unwrap(),
        answer: Ok(json!(summary)),
        summary: Some(summary),
    }
}

fn failed(address: &str) -> HostAnswer {
    HostAnswer {
        address: address.parse().unwrap(),
        summary: None,
        answer: Err(AskError::Refused {
            code: "unknown_leak".to_owned(),
            message: "there is no leak x".to_owned(),
            hint: "use\u{1b}[2J cache".to_owned(),
        }),
    }
}

fn host(name: &str, severity: &str) -> HostSummary {
    HostSummary {
        name: name.to_owned(),
        revision: "b".to_owned(),
        uptime_seconds: 3725.0,
        rss_bytes: 64 << 20,
        limit_bytes: Some(256 << 20),
        leaks_enabled: vec!["cache".to_owned()],
        verdict: Verdict {
            severity: severity.to_owned(),
            sentence: format!("it is {severity}"),
            bytes_per_request: 2048.0,
            seconds_to_limit: Some(90.0),
            ..Verdict::default()
        },
        ..HostSummary::default()
    }
}

#[test]
fn each_host_has_a_row_and_each_failure_a_line() {
    let hosts = || {
        let first = answered("10.0.0.1", host("pod-a", "leak"));
        vec![
            first,
            failed("10.0.0.2"),
            answered("10.0.0.3", host("b\u{1b}[2J", "calm")),
        ]
    };
    let status = Report::status(hosts());
    let expected = "\
HOST   ADDRESS        REVISION  UP       MEMORY               LEAKS ON  VERDICT
pod-a  10.0.0.1:8080  b         1 h 2 m  64.0 MB of 256.0 MB  cache     it is leak
b[2J   10.0.0.3:8080  b         1 h 2 m  64.0 MB of 256.0 MB  cache     it is calm
FAILED  10.0.0.2:8080: there is no leak x: use[2J cache
3 hosts: 2 done, 1 failed, 1 with a leak
";
    assert_eq!(status.text(), expected);
    assert_eq!((status.failed(), status.leaking()), (1, 1));
    let json = status.json();
    assert_eq!(json["hosts"][1]["error"]["code"], "unknown_leak");
    assert_eq!(json["hosts"][0]["answer"]["name"], "pod-a");
    assert_eq!((&json["asked"], &json["failed"]), (&json!(3), &json!(1)));

    let verdicts = Report::verdicts(hosts()).text();
    assert!(
        verdicts.contains("leak      2.0 KB       1 m 30 s  it is leak"),
        "{verdicts}"
    );
    assert!(
        verdicts.contains("calm      -            1 m 30 s  it is calm"),
        "{verdicts}"
    );
}

#[test]
fn a_diff_says_how_many_lines_it_leaves_out() {
    let line = |number: i64| LineTotal {
        location: format!("lib.rs:{number}"),
        plugin: "cache".to_owned(),
        function: "keep".to_owned(),
        size_diff_bytes: -3 * 1024 * number,
        count_diff: 2,
        current_size_bytes: 1,
        hosts: 4,
        most: ("pod-a".to_owned(), 1_572_864),
    };
    let report = Report::diff(Vec::new(), (1..=3).map(line).collect(), 1);
    let expected = "\
GROWTH   OBJECTS  HOSTS  MOST ON        PLUGIN  LINE      FUNCTION
-3.0 KB  +2       4      pod-a +1.5 MB  cache   lib.rs:1  keep
2 more lines: --limit shows them
0 hosts: 0 done, 0 failed
";
    assert_eq!(report.text(), expected);
    assert_eq!(report.json()["lines"].as_array().unwrap().len(), 1);
}

#[test]
fn characters_that_change_a_terminal_are_escaped_in_json() {
    let name = json!({"name": "a\u{9b}2J\u{202e}b\u{7f}é"});
    let text = escaped(&serde_json::to_string_pretty(&name).unwrap());
    assert_eq!(text, "{\n  \"name\": \"a\\u009b2J\\u202eb\\u007fé\"\n}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), name);
    assert_eq!(plain("a\u{9b}\u{202e}b"), "ab");
}
