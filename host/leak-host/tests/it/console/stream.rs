//! The stream of an open page: its frames, its bounds, and what it costs when nobody looks.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;
use tokio::time::timeout;

use crate::components::{LAB, renamed};
use crate::lab::{Answer, Lab, number};

/// On a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open page, as the host sees it.
struct Page {
    response: Response,
    text: String,
}

impl Page {
    async fn open(lab: &Lab, query: &str) -> Self {
        let request = lab.request(Method::GET, &format!("/console/events{query}"));
        let response = request
            .timeout(Duration::from_secs(600))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let media_type = response.headers()["content-type"].to_str().unwrap();
        assert!(media_type.starts_with("text/event-stream"), "{media_type}");
        Page {
            response,
            text: String::new(),
        }
    }

    /// The next event's lines, or none when the stream has ended.
    async fn event(&mut self) -> Option<Vec<String>> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let lines = event.lines().map(str::to_owned).collect();
                self.text = rest.to_owned();
                return Some(lines);
            }
            let chunk = timeout(PATIENCE, self.response.chunk())
                .await
                .expect("a chunk in time");
            self.text += std::str::from_utf8(&chunk.ok()??).expect("text");
        }
    }

    async fn frame(&mut self) -> Value {
        let event = self.event().await.expect("an event");
        let [name, id, data] = event.as_slice() else {
            panic!("three lines: {event:?}");
        };
        assert_eq!(name, "event: update");
        assert!(
            id.strip_prefix("id: ").unwrap().parse::<u64>().is_ok(),
            "{id}"
        );
        serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_page_gets_what_the_admin_api_says_and_the_charts() {
    let lab = Lab::with(&LAB).start().await;
    let mut page = Page::open(&lab, "?window=1m&wide=false").await;
    let first = page.frame().await;
    assert!(
        first["charts"]["plugins"].as_object().unwrap().is_empty(),
        "nothing has happened"
    );
    lab.enable("cache").await;
    lab.traffic(20).await;
    let frame = loop {
        let frame = page.frame().await;
        if number(&frame, "/leaks/cache/count") == 20.0
            && frame["charts"]["plugins"]["cache"].is_string()
        {
            break frame;
        }
    };
    assert_eq!(number(&frame, "/requests"), 20.0);
    let chart = frame["charts"]["plugins"]["cache"].as_str().unwrap();
    assert!(
        chart.starts_with("<svg") && chart.contains("aria-label=\"cache, last 60 s"),
        "{chart}"
    );
    for picture in ["process", "ledger"] {
        assert!(
            frame["charts"][picture].as_str().unwrap().contains("MiB"),
            "{picture}"
        );
    }
    let kinds: Vec<&str> = frame["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["plugin"] == "cache")
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert!(
        kinds.contains(&"enabled") && kinds.contains(&"loaded"),
        "{kinds:?}"
    );
    let ledger = frame["ledger"].as_object().unwrap();
    let parts = ledger
        .iter()
        .filter(|(name, _)| name.ends_with("_bytes") && *name != "rss_bytes");
    let sum: i64 = parts.map(|(_, bytes)| bytes.as_i64().unwrap()).sum();
    assert_eq!(
        Some(sum),
        ledger["rss_bytes"].as_i64(),
        "the ledger adds up"
    );
}

#[tokio::test]
async fn plugins_that_say_they_hold_more_than_there_is_break_nothing() {
    let liars = ["fixture-misreports", "fixture-overstates"];
    let lab = Lab::with(&liars[..1])
        .file("other.wasm", &renamed(liars[0], liars[1]))
        .start()
        .await;
    for liar in liars {
        let says = serde_json::json!({"enabled": true, "says": "underflow"});
        lab.post(&format!("/admin/leaks/{liar}"), says).await;
    }
    let mut page = Page::open(&lab, "?window=1m&wide=false").await;
    lab.traffic(3).await;
    for liar in liars {
        loop {
            let frame = page.frame().await;
            let bytes = frame.to_string().len();
            assert!(bytes < 1 << 20, "{bytes} bytes");
            let chart = frame["charts"]["plugins"][liar].as_str();
            if chart.is_some_and(|chart| chart.contains("PiB")) {
                break;
            }
        }
    }
    for path in ["/admin/memory", "/admin/memory/diff", "/admin/leaks/status"] {
        lab.get(path).await;
    }
    let cleared = lab.post("/admin/leaks/clear", serde_json::json!({})).await;
    assert_eq!(
        number(&cleared, "/total_removed"),
        2.0 * 2_f64.powi(53),
        "{cleared}"
    );
    lab.data().await;
}

#[tokio::test]
async fn what_happens_to_a_plugin_is_told() {
    let lab = Lab::with(&LAB).start().await;
    lab.post(
        "/admin/leaks/history",
        serde_json::json!({"enabled": true, "memory_limit_mb": 2}),
    )
    .await;
    while lab.leak("history").await["state"] == "running" {
        lab.traffic(20).await;
    }
    lab.post("/admin/leaks/history/reset", serde_json::json!({}))
        .await;
    lab.enable("listeners").await;
    lab.traffic(1).await;
    lab.post(
        "/admin/leaks/clear",
        serde_json::json!({"leak_type": "listeners"}),
    )
    .await;
    lab.disable("listeners").await;
    let frame = Page::open(&lab, "").await.frame().await;
    let events = frame["events"].as_array().unwrap();
    let of = |plugin: &str| -> Vec<&str> {
        let of = events
            .iter()
            .filter(|event| event["plugin"] == plugin && event["kind"] != "grown");
        of.map(|event| event["kind"].as_str().unwrap()).collect()
    };
    assert_eq!(
        of("history"),
        ["reset", "exhausted", "enabled", "configured", "loaded"]
    );
    assert_eq!(
        of("listeners"),
        ["disabled", "cleared", "enabled", "loaded"]
    );
    let exhausted = events
        .iter()
        .find(|event| event["kind"] == "exhausted")
        .unwrap();
    assert!(
        exhausted["reason"]
            .as_str()
            .is_some_and(|why| !why.is_empty()),
        "{exhausted}"
    );
}

#[tokio::test]
async fn pages_are_bounded_and_one_that_closes_makes_room() {
    let lab = Lab::with(&[]).start().await;
    let mut pages = Vec::new();
    for _ in 0..64 {
        pages.push(Page::open(&lab, "").await);
    }
    let more = Answer::of(lab.request(Method::GET, "/console/events")).await;
    assert_eq!(more.status, 429);
    assert_eq!(more.error_code("one more"), "too_many_pages");
    for page in &mut pages {
        page.frame().await;
    }
    pages.clear();
    let opened = async {
        // The host learns at the next frame that a page has gone.
        while lab
            .request(Method::GET, "/console/events")
            .send()
            .await
            .unwrap()
            .status()
            != 200
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, opened).await.expect("room again");
}

#[tokio::test]
async fn the_end_of_the_host_ends_the_stream() {
    let mut lab = Lab::with(&LAB).start().await;
    let mut page = Page::open(&lab, "").await;
    page.frame().await;
    lab.signal("TERM");
    while page.event().await.is_some() {}
    assert!(lab.ends_within(PATIENCE).await.success());
    assert!(
        !lab.output().contains("connections still open"),
        "{}",
        lab.output()
    );
}
