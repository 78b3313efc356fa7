//! Bad calls: each gets the status and the code that a client can act on, and changes nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::components::LAB;
use crate::lab::{Answer, Lab};

/// One call: `METHOD /path body => status code: words that the answer must have`. What needs a
/// state or a special body has a test of its own.
const TABLE: &str = r##"
# Names that do not exist.
POST /admin/leaks/nope {"enabled":true} => 404 unknown_leak: nope, cache
POST /admin/leaks/nope/reset => 404 unknown_leak: nope
POST /admin/leaks/clear {"leak_type":"nope"} => 404 unknown_leak: nope, cache
POST /admin/leaks/clear {"leak_type":""} => 404 unknown_leak: cache
GET /admin/plugins/nope => 404 unknown_plugin: nope
POST /admin/leaks/%FF {"enabled":true} => 404 unknown_leak
GET /nope => 404 not_found: /nope
GET /admin/nope => 404 not_found: /admin/nope
GET /nope/ => 404 not_found: /docs
GET /console/nope => 404 not_found: /docs
GET /console/%FF => 404 not_found
GET /console/pictures/nope => 404 unknown_picture
GET /console/events?window=7m => 422 invalid_value: window, 1m, 5m
GET /console/events?color=red => 422 invalid_value
POST / => 405 method_not_allowed: GET
POST /console/pictures?baseline=nope => 404 unknown_baseline: nope
GET /admin/memory/source => 422 invalid_query: location
GET /admin/memory/source?plugin=nope&location=a.rs:1 => 404 unknown_plugin: nope
GET /admin/memory/source?plugin=cache&location=nonsense => 422 invalid_value: location
GET /admin/memory/source?plugin=cache&location=a.rs:1&context=201 => 422 invalid_value: context
GET /admin/memory/source?plugin=cache&location=/etc/passwd:1 => 404 unknown_source
GET /admin/memory/source?plugin=cache&location=../../etc/passwd:1 => 404 unknown_source
# Methods that a path does not have.
DELETE /admin/leaks/cache => 405 method_not_allowed: POST
DELETE /admin/leaks/status => 405 method_not_allowed: GET
GET /admin/leaks/clear => 405 method_not_allowed: POST
PUT /admin/gc => 405 method_not_allowed: POST
GET /admin/reset => 405 method_not_allowed: POST
POST /admin/memory => 405 method_not_allowed: GET
POST /api/data => 405 method_not_allowed: GET
POST /health => 405 method_not_allowed: GET
DELETE /metrics => 405 method_not_allowed: GET
# What is not JSON.
POST /admin/leaks/cache {"enabled": tru => 400 malformed_json
POST /admin/leaks/cache enabled=true => 400 malformed_json
POST /admin/leaks/cache {"enabled":true} trailing => 400 malformed_json
POST /admin/leaks/cache {"probability":NaN} => 400 malformed_json
POST /admin/leaks/clear {'leak_type':'cache'} => 400 malformed_json
# JSON that is no object, or lacks something.
POST /admin/leaks/cache => 422 missing_field: enabled
POST /admin/leaks/cache {} => 422 missing_field: enabled
POST /admin/leaks/cache [true] => 400 malformed_json: object
POST /admin/leaks/cache true => 400 malformed_json: object
POST /admin/leaks/cache {"enabled":"yes"} => 422 invalid_value: enabled, true or false
POST /admin/leaks/cache {"enabled":1} => 422 invalid_value: enabled, true or false
POST /admin/leaks/cache {"enabled":null} => 422 invalid_value: enabled, true or false
POST /admin/leaks/clear {"leak_type":7} => 422 invalid_value: leak_type
POST /admin/leaks/clear [] => 400 malformed_json: object
# A misspelt field would otherwise clear everything.
POST /admin/leaks/clear {"leaktype":"cache"} => 422 unknown_field: leaktype, leak_type
# Settings: names, types, ranges.
POST /admin/leaks/cache {"enabled":true,"colour":"red"} => 422 unknown_setting: colour, payload_bytes
POST /admin/leaks/cache {"max_entires":5} => 422 unknown_setting: max_entires, max_entries
POST /admin/leaks/cache {"payload_bytes":-1} => 422 invalid_value: payload_bytes, from, to
POST /admin/leaks/cache {"payload_bytes":1e18} => 422 invalid_value: payload_bytes, from, to
POST /admin/leaks/cache {"payload_bytes":99999999999999999999999} => 422 invalid_value: payload_bytes
POST /admin/leaks/cache {"payload_bytes":1.5} => 422 invalid_value: payload_bytes, whole number
POST /admin/leaks/cache {"payload_bytes":"big"} => 422 invalid_value: payload_bytes, whole number
POST /admin/leaks/cache {"payload_bytes":true} => 422 invalid_value: payload_bytes, whole number
POST /admin/leaks/cache {"payload_bytes":[1]} => 422 invalid_value: payload_bytes
POST /admin/leaks/cache {"probability":1.01} => 422 invalid_value: probability, 0, 1
POST /admin/leaks/cache {"probability":-0.1} => 422 invalid_value: probability, 0, 1
POST /admin/leaks/cache {"variant":"broken"} => 422 invalid_value: variant, leaky, fixed
POST /admin/leaks/cache {"variant":1} => 422 invalid_value: variant, leaky, fixed
POST /admin/leaks/cache {"max_mb":-1} => 422 invalid_value: max_mb
POST /admin/leaks/cache {"ttl_seconds":-5} => 422 invalid_value: ttl_seconds
# One bad value among good ones: the good ones are not taken either.
POST /admin/leaks/cache {"enabled":true,"payload_bytes":-1} => 422 invalid_value: payload_bytes
POST /admin/leaks/cache {"probability":0.5,"variant":"fixed","max_entries":0} => 422 invalid_value: max_entries
"##;

/// A line of the table, taken apart.
#[derive(Debug)]
struct Bad<'a> {
    method: Method,
    path: &'a str,
    body: &'a str,
    status: u16,
    code: &'a str,
    /// In the message or the hint, so that a person knows what to do.
    says: Vec<&'a str>,
}

impl<'a> Bad<'a> {
    fn parse(line: &'a str) -> Self {
        let (call, answer) = line.rsplit_once(" => ").expect("a call and its answer");
        let mut call = call.splitn(3, ' ');
        let (status, answer) = answer.split_once(' ').expect("a status and a code");
        let (code, says) = answer.split_once(": ").unwrap_or((answer, ""));
        Self {
            method: call.next().unwrap().parse().unwrap(),
            path: call.next().expect("a path"),
            body: call.next().unwrap_or_default(),
            status: status.parse().unwrap(),
            code,
            says: says.split(", ").filter(|word| !word.is_empty()).collect(),
        }
    }
}

const CACHE: &str = "/admin/leaks/cache";
const CLEAR: &str = "/admin/leaks/clear";

/// What a call that fails must leave as it was.
async fn state(lab: &Lab) -> Value {
    let status = lab.get("/admin/leaks/status").await;
    let leaks = status["leaks"].as_object().unwrap().iter();
    let kept = [
        "enabled",
        "state",
        "variant",
        "count",
        "generation",
        "settings",
        "expires_at",
    ];
    leaks
        .map(|(name, leak)| {
            let fields = kept
                .iter()
                .map(|field| ((*field).to_owned(), leak[*field].clone()));
            (name.clone(), Value::Object(fields.collect()))
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A lab in which everything that a failed call could spoil is different from its default.
async fn lab_with_something_to_lose() -> Lab {
    let lab = Lab::with(&LAB).start().await;
    lab.post(
        "/admin/leaks/history",
        json!({"enabled": true, "payload_bytes": 2048}),
    )
    .await;
    lab.traffic(3).await;
    lab
}

#[tokio::test]
async fn each_bad_call_has_its_status_and_code_and_changes_nothing() {
    let lab = lab_with_something_to_lose().await;
    let before = state(&lab).await;
    let mut wrong = Vec::new();
    for line in TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (bad, what) = (Bad::parse(line), line);
        let request = lab
            .request(bad.method.clone(), bad.path)
            .body(bad.body.to_owned());
        let answer = Answer::of(request).await;
        if (
            answer.status.as_u16(),
            answer.content_type.starts_with("application/json"),
        ) != (bad.status, true)
        {
            wrong.push(format!("{what}: {} {}", answer.status, answer.text));
            continue;
        }
        let code = answer.error_code(what);
        if code != bad.code {
            wrong.push(format!("{what}: code {code} instead of {}", bad.code));
        }
        // What a path takes is told by a header, everything else by the message or the hint.
        let told = match bad.status {
            405 => format!("{:?}", answer.headers.get("allow")),
            _ => answer.text.clone(),
        };
        let missing = bad.says.iter().filter(|word| !told.contains(**word));
        wrong.extend(missing.map(|word| format!("{what}: does not say {word:?}: {told}")));
        let after = state(&lab).await;
        if after != before {
            wrong.push(format!("{what}: changed the state\n{before}\n{after}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_has_arrived() {
    let lab = lab_with_something_to_lose().await;
    let before = state(&lab).await;
    let mut connection = TcpStream::connect(lab.address()).unwrap();
    let length = 16 << 20;
    let head = format!("POST {CACHE} HTTP/1.1\r\nhost: lab\r\ncontent-length: {length}\r\n\r\n");
    connection.write_all(head.as_bytes()).unwrap();
    connection
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut answer = String::new();
    // The host may end the connection after its answer, or wait for more.
    let _ended = connection.take(4096).read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains(r#""code":"body_too_large""#), "{answer}");
    assert_eq!(state(&lab).await, before);
}

/// A client that sends everything before it reads has its answer too.
#[tokio::test]
async fn a_body_that_is_too_large_is_answered_when_it_has_been_sent() {
    let lab = lab_with_something_to_lose().await;
    let before = state(&lab).await;
    let body = vec![b' '; 3 << 20];
    let length = format!("content-length: {}", body.len());
    let chunk = [
        format!("{:x}\r\n", body.len()).as_bytes(),
        &body,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    for call in [format!("POST {CACHE}"), "GET /api/data".to_owned()] {
        for (framing, sent) in [(&*length, &body), ("transfer-encoding: chunked", &chunk)] {
            for _ in 0..10 {
                let mut connection = TcpStream::connect(lab.address()).unwrap();
                let head = format!(
                    "{call} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n{framing}\r\n\r\n"
                );
                connection.write_all(head.as_bytes()).unwrap();
                connection.write_all(sent).unwrap();
                let mut answer = String::new();
                connection.read_to_string(&mut answer).unwrap();
                assert!(
                    answer.starts_with("HTTP/1.1 413 "),
                    "{call} {framing}: {answer}"
                );
                assert!(answer.contains(r#""code":"body_too_large""#), "{answer}");
            }
        }
    }
    assert_eq!(state(&lab).await, before);
}

#[tokio::test]
async fn bytes_that_are_not_text_are_malformed_json() {
    let lab = lab_with_something_to_lose().await;
    let deep = "[".repeat(50_000).into_bytes();
    for body in [
        b"\xff\xfe{}".to_vec(),
        b"{\"enabled\":\"\xc3\"}".to_vec(),
        b"\0".to_vec(),
        deep,
    ] {
        let answer = Answer::of(lab.request(Method::POST, CACHE).body(body)).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.error_code("no text"), "malformed_json");
    }
    lab.data().await;
}

#[tokio::test]
async fn a_json_body_is_accepted_whatever_its_content_type() {
    let lab = Lab::with(&LAB).start().await;
    let types = [
        None,
        Some("application/json"),
        Some("application/x-www-form-urlencoded"),
        Some("text/plain; charset=utf-8"),
        Some("application/octet-stream"),
        Some("nonsense"),
    ];
    for (round, content_type) in types.into_iter().enumerate() {
        let enabled = round % 2 == 0;
        let mut request = lab
            .request(Method::POST, CACHE)
            .body(json!({"enabled": enabled}).to_string());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 200, "{content_type:?}: {}", answer.text);
        assert_eq!(
            lab.leak("cache").await["enabled"],
            json!(enabled),
            "{content_type:?}"
        );
    }
}

#[tokio::test]
async fn an_empty_body_counts_as_an_empty_object() {
    let lab = Lab::with(&LAB).start().await;
    lab.enable("cache").await;
    lab.traffic(4).await;
    for body in [None, Some(""), Some("  \n"), Some("{}")] {
        for path in [
            CLEAR,
            "/admin/gc",
            "/admin/leaks/cache/reset",
            "/admin/reset",
        ] {
            let mut request = lab.request(Method::POST, path);
            if let Some(body) = body {
                request = request.body(body);
            }
            let answer = Answer::of(request).await;
            assert_eq!(answer.status, 200, "{path} {body:?}: {}", answer.text);
        }
    }
    lab.enable("cache").await;
    lab.traffic(4).await;
    let cleared = Answer::of(lab.request(Method::POST, CLEAR)).await.json();
    assert_eq!(
        (&cleared["cleared"], &cleared["total_removed"]),
        (&json!("all"), &json!(4))
    );
}

#[tokio::test]
async fn a_setting_alone_needs_no_enabled_and_does_not_enable() {
    let lab = Lab::with(&LAB).start().await;
    let answer = lab.post(CACHE, json!({"payload_bytes": 2000})).await;
    assert_eq!(answer["enabled"], json!(false));
    assert_eq!(answer["settings"]["payload_bytes"], json!(2000));
    let status = lab.leak("cache").await;
    assert_eq!(status["settings"], answer["settings"]);
    assert_eq!(status["enabled"], json!(false));
}
