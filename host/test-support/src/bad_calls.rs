//! A table of calls that must fail: each with its status, its code and words that help the caller.

use axum::http::Method;

use crate::TestHost;

/// Sends each call of a table and checks that its answer is as expected and that
/// `/admin/leaks/status` stays the same.
///
/// A line is `METHOD /path body => status code: word, word`. The words must be in the message or in
/// the hint; for a 405 they must be in the `Allow` header. Empty lines and lines with `#` are
/// skipped.
///
/// # Panics
///
/// With a list of all calls whose answer is not as expected.
pub async fn check(host: &TestHost, table: &str) {
    let before = host.leak_states().await;
    let mut wrong = Vec::new();
    for line in table.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let call = BadCall::parse(line);
        let request = host.request(call.method.clone(), call.path);
        let answer = request.body(call.body.to_owned()).send().await;
        let is_json = answer.content_type().starts_with("application/json");
        if (answer.status.as_u16(), is_json) != (call.status, true) {
            wrong.push(format!("{line}: {} {}", answer.status, answer.text));
            continue;
        }
        let code = answer.error_code(line);
        if code != call.code {
            wrong.push(format!("{line}: code {code} instead of {}", call.code));
        }
        let help = match call.status {
            405 => answer.header("allow"),
            _ => &answer.text,
        };
        let missing = call.words.iter().filter(|word| !help.contains(**word));
        wrong.extend(missing.map(|word| format!("{line}: no {word:?} in {help}")));
        let after = host.leak_states().await;
        if after != before {
            wrong.push(format!("{line}: changed the state\n{before}\n{after}"));
        }
    }
    let count = wrong.len();
    assert!(wrong.is_empty(), "{count} wrong:\n{}", wrong.join("\n"));
}

#[derive(Debug)]
struct BadCall<'a> {
    method: Method,
    path: &'a str,
    body: &'a str,
    status: u16,
    code: &'a str,
    words: Vec<&'a str>,
}

impl<'a> BadCall<'a> {
    fn parse(line: &'a str) -> Self {
        let (call, answer) = line.rsplit_once(" => ").expect("a call and its answer");
        let mut call = call.splitn(3, ' ');
        let (status, answer) = answer.split_once(' ').expect("a status and a code");
        let (code, words) = answer.split_once(": ").unwrap_or((answer, ""));
        Self {
            method: call.next().unwrap().parse().unwrap(),
            path: call.next().expect("a path"),
            body: call.next().unwrap_or_default(),
            status: status.parse().unwrap(),
            code,
            words: words.split(", ").filter(|word| !word.is_empty()).collect(),
        }
    }
}
