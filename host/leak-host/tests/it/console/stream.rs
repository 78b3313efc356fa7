//! The event stream of an open page: its updates and its bounds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::components::{LAB, renamed};
use crate::lab::{Lab, number};

/// The timeout for one event, and for the end of the stream, on a busy machine.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The event stream of one page.
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

    /// The lines of the next event. None if the stream has ended.
    async fn event(&mut self) -> Option<Vec<String>> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let lines = event.lines().map(str::to_owned).collect();
                self.text = rest.to_owned();
                return Some(lines);
            }
            let chunk = timeout(EVENT_TIMEOUT, self.response.chunk())
                .await
                .expect("the next event is in time");
            self.text += std::str::from_utf8(&chunk.ok()??).expect("the stream is UTF-8");
        }
    }

    /// The next update of the page.
    async fn update(&mut self) -> Value {
        let event = self.event().await.expect("the stream continues");
        let [name, id, data] = event.as_slice() else {
            panic!("not three lines: {event:?}");
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
async fn an_update_has_the_readings_of_the_admin_api_and_the_charts() {
    let lab = Lab::with(&LAB).start().await;
    let mut page = Page::open(&lab, "?window=1m&wide=false").await;
    let first = page.update().await;
    assert!(
        first["charts"]["plugins"].as_object().unwrap().is_empty(),
        "no chart before the first request"
    );
    lab.enable("cache").await;
    lab.traffic(20).await;
    let update = loop {
        let update = page.update().await;
        if number(&update, "/leaks/cache/count") == 20.0
            && update["charts"]["plugins"]["cache"].is_string()
        {
            break update;
        }
    };
    assert_eq!(number(&update, "/requests"), 20.0);
    let chart = update["charts"]["plugins"]["cache"].as_str().unwrap();
    assert!(
        chart.starts_with("<svg") && chart.contains("aria-label=\"cache, last 60 s"),
        "{chart}"
    );
    for picture in ["process", "ledger"] {
        assert!(
            update["charts"][picture].as_str().unwrap().contains("MiB"),
            "{picture}"
        );
    }
    let kinds: Vec<&str> = update["events"]
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
    let ledger = update["ledger"].as_object().unwrap();
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
async fn a_plugin_that_reports_impossible_sizes_breaks_no_view() {
    let plugins = ["fixture-misreports", "fixture-overstates"];
    let lab = Lab::with(&plugins[..1])
        .file("other.wasm", &renamed(plugins[0], plugins[1]))
        .start()
        .await;
    for plugin in plugins {
        let settings = json!({"enabled": true, "says": "underflow"});
        lab.configure(plugin, settings).await;
    }
    let mut page = Page::open(&lab, "?window=1m&wide=false").await;
    lab.traffic(3).await;
    for plugin in plugins {
        loop {
            let update = page.update().await;
            let bytes = update.to_string().len();
            assert!(bytes < 1 << 20, "{bytes} bytes");
            let chart = update["charts"]["plugins"][plugin].as_str();
            if chart.is_some_and(|chart| chart.contains("PiB")) {
                break;
            }
        }
    }
    for path in ["/admin/memory", "/admin/memory/diff", "/admin/leaks/status"] {
        lab.get(path).await;
    }
    let cleared = lab.clear("all").await;
    assert_eq!(
        number(&cleared, "/total_removed"),
        2.0 * 2_f64.powi(53),
        "{cleared}"
    );
    lab.data().await;
}

#[tokio::test]
async fn an_update_lists_the_events_of_each_plugin() {
    let lab = Lab::with(&LAB).start().await;
    let settings = json!({"enabled": true, "memory_limit_mb": 2});
    lab.configure("history", settings).await;
    while lab.leak("history").await["state"] == "running" {
        lab.traffic(20).await;
    }
    lab.reset("history").await;
    lab.enable("listeners").await;
    lab.traffic(1).await;
    lab.clear("listeners").await;
    lab.disable("listeners").await;
    let update = Page::open(&lab, "").await.update().await;
    let events = update["events"].as_array().unwrap();
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

/// Clients that open streams and read nothing must not keep people out.
#[tokio::test]
async fn silent_streams_lock_out_no_reader() {
    let lab = Lab::with(&[]).start().await;
    let mut silent: Vec<TcpStream> = (0..80)
        .map(|_| {
            let mut stream = TcpStream::connect(lab.address()).unwrap();
            let request =
                "GET /console/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).unwrap();
            // The host has opened the stream.
            stream.read_exact(&mut [0; 12]).unwrap();
            stream
        })
        .collect();
    let mut page = Page::open(&lab, "").await;
    for _ in 0..3 {
        page.update().await;
    }
    // The page took the place of the oldest stream, which has ended.
    silent[0].set_read_timeout(Some(EVENT_TIMEOUT)).unwrap();
    let mut rest = Vec::new();
    silent[0].read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "the end of a chunked body");
    page.update().await;
}

#[tokio::test]
async fn sigterm_ends_the_stream() {
    let mut lab = Lab::with(&LAB).start().await;
    let mut page = Page::open(&lab, "").await;
    page.update().await;
    lab.signal("TERM");
    while page.event().await.is_some() {}
    assert!(lab.exits_within(EVENT_TIMEOUT).await.success());
    assert!(
        !lab.output().contains("connections still open"),
        "{}",
        lab.output()
    );
}
