use super::*;
use crate::game::tests::game;
use crate::random::Random;

const LATE: Duration = Duration::from_secs(600);

/// What a host would have measured at the end.
fn measured(game: &Game) -> Vec<Measured> {
    let measured = |(index, leak): (usize, LeakTruth)| Measured {
        bytes_per_request: Some(4000.0 + 2000.0 * index as f64),
        location: vec![format!("plugins/{}/src/lib.rs:67", leak.plugin)],
        functions: vec![format!("{}::Store::on_request", leak.plugin)],
        growth_bytes_per_second: 50_000.0,
        seconds_to_limit: Some(800.0),
        limit_bytes: Some(256 << 20),
        alias: leak.alias,
    };
    game.truth().into_iter().enumerate().map(measured).collect()
}

/// The right answer, which describes leak `which`.
fn right(game: &Game, which: usize) -> Answer {
    let aliases = |role| {
        game.with_role(role)
            .map(|player| player.alias.clone())
            .collect()
    };
    let (truth, measured) = (&game.truth()[which], &measured(game)[which]);
    let location = match game.visibility() {
        Visibility::Lines => measured.location[0].clone(),
        _ => measured.functions[0].clone(),
    };
    Answer {
        leaking: aliases(Role::Leak),
        decoys: aliases(Role::Decoy),
        location: Some(location),
        kind: Some(truth.kind),
        bytes_per_request: measured.bytes_per_request,
        started_at_seconds: Some(truth.onset.as_secs_f64()),
        seconds_to_limit: measured.seconds_to_limit,
        fix: truth.fixes.first().copied(),
    }
}

fn grade_late(game: &Game, answer: &Answer) -> Grade {
    grade(game, &measured(game), answer, 0, LATE)
}

/// The share of the points of one part.
fn share(grade: &Grade, name: &str) -> f64 {
    let part = grade.parts.iter().find(|part| part.name == name);
    let part = part.unwrap_or_else(|| panic!("{name} is not graded: {grade:?}"));
    (part.points / part.of * 10.0).round() / 10.0
}

fn games() -> impl Iterator<Item = Game> {
    let seeds = (0..100).flat_map(|seed| (1..=5).map(move |level| (seed, level)));
    seeds.map(|(seed, level)| game(seed, level))
}

/// A game of this level with two leaks.
fn game_with_two_leaks(level: u8) -> Game {
    let mut games = (0..).map(|seed| game(seed, level));
    games.find(|game| game.truth().len() == 2).unwrap()
}

#[test]
fn a_right_answer_gets_all_points_but_those_for_time_and_hints() {
    for game in games() {
        for which in 0..game.truth().len() {
            let grade = grade_late(&game, &right(&game, which));
            assert_eq!(grade.score, 90, "{grade:?}");
            assert_eq!(grade.time_cost, 10.0);
            let total: f64 = grade.parts.iter().map(|part| part.of).sum();
            assert!((99.5..=100.5).contains(&total), "{total}");
            assert!(grade.parts.iter().all(|part| part.points == part.of));
        }
        if game.truth().len() == 1 && game.order().difficulty.level() < 5 {
            let (onset, answer) = (game.first_onset(), right(&game, 0));
            let at_once = grade(&game, &measured(&game), &answer, 0, onset);
            assert_eq!((at_once.score, at_once.time_cost), (100, 0.0));
            let helped = grade(&game, &measured(&game), &answer, 3, onset);
            assert_eq!((helped.score, helped.hints_cost), (70, 30.0));
        }
    }
}

#[test]
fn an_empty_answer_and_one_that_names_everything_get_nothing() {
    for game in games() {
        let nothing = grade_late(&game, &Answer::default());
        assert_eq!(nothing.score, 0, "{nothing:?}");
        let all: Vec<String> = game
            .players()
            .iter()
            .map(|found| found.alias.clone())
            .collect();
        let everything = Answer {
            leaking: all.clone(),
            ..Answer::default()
        };
        assert_eq!(share(&grade_late(&game, &everything), "leaking"), 0.0);
        let twice = Answer {
            leaking: all.clone(),
            decoys: all,
            ..Answer::default()
        };
        assert_eq!(grade_late(&game, &twice).score, 0);
    }
}

#[test]
fn before_the_first_onset_no_answer_gets_points() {
    for game in games() {
        let before = game.first_onset() - Duration::from_millis(1);
        let grade = grade(&game, &measured(&game), &right(&game, 0), 0, before);
        assert_eq!(grade.score, 0);
        assert!(
            grade
                .parts
                .iter()
                .all(|part| part.explanation.contains("No leak had begun"))
        );
    }
}

#[test]
fn what_begins_after_the_answer_is_neither_right_nor_wrong() {
    let game = game_with_two_leaks(4);
    let mut truth = game.truth();
    truth.sort_by_key(|leak| leak.onset);
    let between = truth[1].onset - Duration::from_millis(1);
    let named = |names: &[&LeakTruth]| {
        let leaking = names.iter().map(|leak| leak.alias.clone()).collect();
        let answer = Answer {
            leaking,
            ..Answer::default()
        };
        share(&grade(&game, &[], &answer, 0, between), "leaking")
    };
    assert_eq!(named(&[&truth[0]]), 1.0);
    assert_eq!(named(&[&truth[0], &truth[1]]), 1.0);
    assert_eq!(named(&[&truth[1]]), 0.0);
}

#[test]
fn each_wrong_name_costs_and_half_of_the_leaks_is_half_of_the_points() {
    let game = game_with_two_leaks(5);
    let truth = game.truth();
    let innocent: Vec<&str> = game
        .with_role(Role::Bystander)
        .map(|found| found.alias.as_str())
        .collect();
    let leaking = |names: &[&str]| {
        let leaking = names.iter().map(|name| (*name).to_owned()).collect();
        let answer = Answer {
            leaking,
            ..Answer::default()
        };
        share(&grade_late(&game, &answer), "leaking")
    };
    let [first, second] = [truth[0].alias.as_str(), truth[1].alias.as_str()];
    assert_eq!(leaking(&[first]), 0.5);
    assert_eq!(leaking(&[first, first, " Plugin-Z"]), 0.3);
    assert_eq!(leaking(&[second, first]), 1.0);
    assert_eq!(leaking(&[second, first, innocent[0]]), 0.8);
    assert_eq!(leaking(&[innocent[0]]), 0.0);
    assert_eq!(
        leaking(&[&first.to_uppercase(), &format!(" {second} ")]),
        1.0
    );
    let undecided = Answer {
        leaking: vec![first.to_owned(), second.to_owned()],
        decoys: vec![first.to_owned()],
        ..Answer::default()
    };
    assert_eq!(share(&grade_late(&game, &undecided), "leaking"), 0.3);
}

#[test]
fn numbers_are_right_half_right_or_wrong() {
    let game = game(1, 2);
    let onset = game.truth()[0].onset.as_secs_f64();
    let mark = |name: &str, change: &dyn Fn(&mut Answer)| {
        let mut answer = right(&game, 0);
        change(&mut answer);
        share(&grade_late(&game, &answer), name)
    };
    for (bytes, expected) in [
        (4400.0, 1.0),
        (3600.0, 1.0),
        (4401.0, 0.5),
        (5200.0, 0.5),
        (5300.0, 0.0),
        (-4000.0, 0.0),
        (f64::NAN, 0.0),
        (f64::INFINITY, 0.0),
    ] {
        let change = |answer: &mut Answer| answer.bytes_per_request = Some(bytes);
        assert_eq!(mark("bytes_per_request", &change), expected, "{bytes}");
    }
    for (off, expected) in [
        (30.0, 1.0),
        (-30.0, 1.0),
        (31.0, 0.5),
        (89.0, 0.5),
        (91.0, 0.0),
    ] {
        let change = |answer: &mut Answer| answer.started_at_seconds = Some(onset + off);
        assert_eq!(mark("started_at", &change), expected, "{off}");
    }
    for (seconds, expected) in [(1000.0, 1.0), (600.0, 1.0), (1200.0, 0.5), (1300.0, 0.0)] {
        let change = |answer: &mut Answer| answer.seconds_to_limit = Some(seconds);
        assert_eq!(mark("seconds_to_limit", &change), expected, "{seconds}");
    }
    assert_eq!(
        mark("kind", &|answer| answer.kind = Some(LeakKind::Steps)),
        0.0
    );
    assert_eq!(
        mark("fix", &|answer| answer.fix = Some(Fix::ReuseOrCompact)),
        0.0
    );
    assert_eq!(mark("fix", &|answer| answer.fix = None), 0.0);
}

#[test]
fn a_line_counts_in_full_within_two_lines_and_half_in_its_file() {
    let game = game(1, 1);
    let file = format!("plugins/{}/src/lib.rs", game.truth()[0].plugin);
    for (location, expected) in [
        (format!("{file}:67"), 1.0),
        (format!("{file}:69"), 1.0),
        (format!("./{file}:65:12"), 1.0),
        ("src/lib.rs:67 ".to_owned(), 1.0),
        (format!("{file}:70"), 0.5),
        (file.clone(), 0.5),
        ("plugins/none/src/lib.rs:67".to_owned(), 0.0),
        ("rc/lib.rs:67".to_owned(), 0.0),
        (":67".to_owned(), 0.0),
        (String::new(), 0.0),
    ] {
        check_location(&game, &location, expected);
    }
}

/// Checks the share of its points that a location gets in an answer that is right otherwise.
#[track_caller]
fn check_location(game: &Game, location: &str, expected: f64) {
    let answer = Answer {
        location: Some(location.to_owned()),
        ..right(game, 0)
    };
    let found = share(&grade_late(game, &answer), "location");
    assert_eq!(found, expected, "{location}");
}

#[test]
fn a_function_counts_with_and_without_its_path() {
    let game = game(1, 2);
    for (location, expected) in [
        ("on_request", 1.0),
        ("Store::on_request()", 1.0),
        ("request", 0.0),
    ] {
        check_location(&game, location, expected);
    }
}

#[test]
fn parts_that_cannot_be_known_are_not_graded_and_the_others_scale() {
    let names = |grade: &Grade| grade.parts.iter().map(|part| part.name).collect::<Vec<_>>();
    let easy = game(1, 1);
    let expected = [
        "leaking",
        "location",
        "bytes_per_request",
        "started_at",
        "seconds_to_limit",
        "fix",
    ];
    assert_eq!(names(&grade_late(&easy, &right(&easy, 0))), expected);
    assert_eq!(graded_parts(&easy), expected);
    let hard = game(1, 4);
    let expected = [
        "leaking",
        "decoys",
        "kind",
        "bytes_per_request",
        "started_at",
        "seconds_to_limit",
    ];
    assert_eq!(names(&grade_late(&hard, &right(&hard, 0))), expected);
    let unmeasured = grade(&hard, &[], &right(&hard, 0), 0, LATE);
    assert_eq!(
        names(&unmeasured),
        ["leaking", "decoys", "kind", "started_at"]
    );
    assert_eq!(unmeasured.score, 90);
}

#[test]
fn with_two_leaks_the_values_describe_one_of_them() {
    let differ = |truth: &[LeakTruth]| match truth {
        [first, second] => {
            let apart = first.onset.abs_diff(second.onset);
            first.kind != second.kind && apart > Duration::from_secs(90)
        }
        _ => false,
    };
    let mut games = (0..).map(|seed| game(seed, 3));
    let game = games.find(|game| differ(&game.truth())).unwrap();
    let mut mixed = right(&game, 0);
    mixed.bytes_per_request = measured(&game)[1].bytes_per_request;
    let grade = grade_late(&game, &mixed);
    assert_eq!(share(&grade, "bytes_per_request"), 0.0);
    assert_eq!(
        (share(&grade, "kind"), share(&grade, "started_at")),
        (1.0, 1.0)
    );
}

#[test]
fn any_answer_has_a_score_and_the_order_of_names_does_not_matter() {
    let mut random = Random::new(99);
    for game in games() {
        let mut names: Vec<String> = game
            .players()
            .iter()
            .map(|found| found.alias.clone())
            .collect();
        names.push("nobody".to_owned());
        random.shuffle(&mut names);
        let split = random.whole(0, names.len() as u64) as usize;
        let mut answer = Answer {
            leaking: names[..split].to_vec(),
            decoys: names[split..].to_vec(),
            location: Some("lib.rs:1".to_owned()),
            kind: LeakKind::ALL.get(random.whole(0, 6) as usize).copied(),
            bytes_per_request: Some(random.between(-1e9, 1e9)),
            started_at_seconds: Some(random.between(-1e3, 1e3)),
            seconds_to_limit: Some(random.between(0.0, 1e3)),
            fix: Fix::ALL.get(random.whole(0, 9) as usize).copied(),
        };
        let hints = random.whole(0, 4) as usize;
        let elapsed = Duration::from_secs_f64(random.between(0.0, 1200.0));
        let first = grade(&game, &measured(&game), &answer, hints, elapsed);
        assert!(first.score <= 100);
        assert!(
            first
                .parts
                .iter()
                .all(|part| (0.0..=part.of).contains(&part.points))
        );
        answer.leaking.reverse();
        answer.decoys.reverse();
        assert_eq!(
            grade(&game, &measured(&game), &answer, hints, elapsed),
            first
        );
    }
}

#[test]
fn an_answer_in_json_may_leave_out_parts_and_has_no_unknown_ones() {
    let json = r#"{"leaking": ["plugin-a"], "kind": "on-error", "fix": "expire-entries"}"#;
    let answer: Answer = serde_json::from_str(json).unwrap();
    assert_eq!(answer.kind, Some(LeakKind::OnError));
    assert!(serde_json::from_str::<Answer>(r#"{"leak": []}"#).is_err());
}
