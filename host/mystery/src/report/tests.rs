use super::*;
use crate::game::tests::game;
use crate::grade::grade;

fn report(name: &str) -> Report {
    played_report(name, Duration::from_secs(600))
}

fn played_report(name: &str, played: Duration) -> Report {
    let game = game(5, 5);
    let elapsed = Duration::from_secs(590);
    let answer = Answer {
        leaking: vec!["<b>|x|</b>".to_owned()],
        ..Answer::default()
    };
    let participant = |name: &str, answer: Answer| Participant {
        name: name.to_owned(),
        elapsed,
        hints: 1,
        grade: grade(&game, &[], &answer, 1, elapsed),
        answer,
    };
    let truth = game.truth();
    let right = Answer {
        leaking: truth.iter().map(|leak| leak.alias.clone()).collect(),
        ..Answer::default()
    };
    let participants = vec![participant(name, answer), participant("Zoe", right)];
    let measured = truth.iter().map(|leak| Measured {
        alias: leak.alias.clone(),
        bytes_per_request: Some(1234.5),
        location: vec!["plugins/x.rs:7".to_owned()],
        ..Measured::default()
    });
    Report::new(&game, played, measured.collect(), participants)
}

#[test]
fn a_report_has_the_solution_the_timeline_and_the_grades() {
    let report = report("Ann");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["order"]["duration_seconds"], 600.0);
    assert_eq!(json["participants"][0]["name"], "Zoe");
    assert_eq!(json["participants"][0]["elapsed_seconds"], 590.0);
    assert!(report.timeline.is_sorted_by_key(|entry| entry.at));
    for text in [report.to_markdown(), report.to_html()] {
        for leak in &report.truth {
            assert!(text.contains(&leak.plugin), "{text}");
        }
        for expected in [
            "Seed 5, difficulty 5, 10:00 long.",
            "A deploy gives all plugins fresh instances.",
            "is switched on.",
            "The traffic changes to",
            "plugins/x.rs:7",
            "It retained 1234 bytes per request.",
            "Zoe answers and gets",
            "The answer came at 9:50",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}

#[test]
fn what_was_planned_for_after_the_end_is_not_in_the_timeline() {
    let report = played_report("Ann", Duration::from_secs(1));
    let events: Vec<_> = report.timeline.iter().map(|entry| &*entry.text).collect();
    assert!(events[0].starts_with("The traffic begins"), "{events:?}");
    let rest = events[1..].iter();
    assert!(
        rest.clone().all(|text| text.contains("answers")),
        "{events:?}"
    );
}

#[test]
fn nothing_that_a_player_wrote_becomes_markup() {
    let name = "<script>alert(1)</script> | [x](javascript:1) 'q' \"r\" `c`\n# h";
    let report = report(name);
    let html = report.to_html();
    assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    assert!(
        html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{html}"
    );
    assert!(html.contains("&quot;r&quot;"), "{html}");
    assert_eq!(html.matches("<style>").count(), 1);
    let markdown = report.to_markdown();
    assert!(!markdown.contains('<'), "{markdown}");
    assert!(markdown.contains("\\| \\[x\\](javascript:1)"), "{markdown}");
    assert!(!markdown.contains("\n# h"), "{markdown}");
    let rows = markdown.lines().filter(|line| line.starts_with("| "));
    for row in rows {
        let cells = row.replace("\\|", "").matches('|').count();
        assert_eq!(cells, 5, "{row}");
    }
}
