use super::*;

/// What promtool 3.16 printed for two windows of 50 evaluations, 5 s apart. `LABELS` stands for
/// more labels.
const OUTPUT: &str = r#"Processing test file: t.yml
  FAILED:
    expr: "count_values without ()", time: 4m5s,
        exp: nil
        got: {LABELS, score_bits="1125899902779136", score_window="0"} 1E+00, {score_window="0"} 1
    expr: "count_values without ()", time: 8m15s,
        exp: nil
        got: {LABELS, score_bits="5", score_window="1"} 1E+00, {score_window="1"} 1E+00
"#;

const LABELS: &str =
    r#"alertname="High", alertstate="firing", plugin="p", severity="a\"b\\c{d}, {e""#;

#[test]
fn states_are_read_from_labels_and_become_times() {
    let answers = Answers::read(&OUTPUT.replace("LABELS", LABELS));
    assert_eq!(answers.evaluated, 2);
    let fired = firings(&answers.states, 5, 495);
    let times: Vec<_> = fired.iter().map(|f| (f.from, f.resolved)).collect();
    // Bits 8 to 15, 22 to 49, and the first and the third of the second window.
    let bits = 1_125_899_902_779_136_u64;
    let set = |bit: u64| bits >> bit & 1 == 1;
    assert!(set(49) && !set(0));
    let first = (0..50).find(|bit| set(*bit)).unwrap() * 5;
    assert_eq!(times.first().unwrap().0, first);
    assert_eq!(times.last().unwrap(), &(260, Some(265)));
    // The one before goes on from the first window into the second.
    let (from, resolved) = times[times.len() - 2];
    assert!(from < 250 && resolved == Some(255), "{times:?}");
    assert_eq!(fired[0].labels["severity"], r#"a"b\c{d}, {e"#);
    assert!(!fired[0].labels.contains_key("alertstate"));
}

#[test]
fn an_alert_that_fires_at_the_end_is_not_resolved() {
    let labels = BTreeMap::from([("alertname".to_owned(), "A".to_owned())]);
    let states = BTreeMap::from([(labels, BTreeMap::from([(0, 0b1100)]))]);
    assert_eq!(firings(&states, 30, 90)[0].resolved, None);
    assert_eq!(firings(&states, 30, 120)[0].resolved, Some(120));
}

#[test]
fn durations_of_prometheus_are_read() {
    assert_eq!(seconds("1m30s"), Some(90));
    assert_eq!(seconds("2h"), Some(7200));
    assert_eq!(seconds("500ms"), None);
    assert_eq!(seconds("x"), None);
}

#[test]
fn a_missing_promtool_says_how_to_get_it() {
    let error = find(None, &[PathBuf::from("/nowhere/promtool")]).unwrap_err();
    assert!(error.to_string().contains("cargo xtask stack tools"));
    let error = find(Some(Path::new("/nowhere")), &[]).unwrap_err();
    assert!(error.to_string().contains("/nowhere"), "{error}");
}
