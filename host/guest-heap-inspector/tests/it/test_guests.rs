//! Guests whose heaps a test sets, and the router over them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use guest_heap::reading::{Context, ContextRecord, Reading, Totals};
use guest_heap::snapshot::Snapshot;
use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Attribution, LiveRange};
use guest_heap_inspector::{HeapError, HeapReading, HeapSource, Inspector, Options};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

/// The heap of a made-up guest: its lines with their live bytes, each in one block.
#[derive(Clone, Default)]
pub(crate) struct FakeHeap {
    pub(crate) lines: Vec<(String, u64)>,
    pub(crate) calls: Option<u64>,
    /// How long a reading takes.
    pub(crate) delay: Duration,
}

/// Guests that a test changes while the router serves them.
#[derive(Clone, Default)]
pub(crate) struct FakeGuests {
    heaps: Arc<Mutex<BTreeMap<String, FakeHeap>>>,
    readings: Arc<AtomicU64>,
}

impl FakeGuests {
    /// Guests with these lines.
    pub(crate) fn with(guests: &[(&str, &[(&str, u64)])]) -> Self {
        let fake = Self::default();
        for (guest, lines) in guests {
            fake.set(guest, lines);
        }
        fake
    }

    pub(crate) fn set(&self, guest: &str, lines: &[(&str, u64)]) {
        self.change(guest, |heap| {
            heap.lines = lines
                .iter()
                .map(|(line, n)| ((*line).to_owned(), *n))
                .collect();
        });
    }

    pub(crate) fn change(&self, guest: &str, change: impl FnOnce(&mut FakeHeap)) {
        change(
            self.heaps
                .lock()
                .unwrap()
                .entry(guest.to_owned())
                .or_default(),
        );
    }

    pub(crate) fn remove(&self, guest: &str) {
        self.heaps.lock().unwrap().remove(guest);
    }

    /// The readings that the inspector has made.
    pub(crate) fn readings(&self) -> u64 {
        self.readings.load(Ordering::SeqCst)
    }
}

impl HeapSource for FakeGuests {
    fn guests(&self) -> Vec<String> {
        self.heaps.lock().unwrap().keys().cloned().collect()
    }

    async fn read(&self, guest: &str) -> Result<HeapReading, HeapError> {
        self.readings.fetch_add(1, Ordering::SeqCst);
        let heap = self.heaps.lock().unwrap().get(guest).cloned();
        let heap = heap.ok_or(HeapError::Unknown)?;
        tokio::time::sleep(heap.delay).await;
        let snapshot = snapshot(&heap.lines);
        let live = snapshot.totals().live_bytes;
        let range = LiveRange {
            at_least: live,
            at_most: Some(live),
        };
        let reading = HeapReading::of_snapshot(Arc::new(snapshot), Attribution::Exact, range);
        Ok(match heap.calls {
            Some(calls) => reading.with_calls(calls),
            None => reading,
        })
    }
}

fn snapshot(lines: &[(String, u64)]) -> Snapshot {
    let symbols = Symbols::new(b"\0asm\x01\0\0\0", SymbolOptions::default()).unwrap();
    let mut reading = Reading::default();
    for (index, (_, bytes)) in (0..).zip(lines) {
        reading.contexts.push(ContextRecord {
            index,
            allocated_bytes: *bytes,
            allocated_objects: 1,
            ..ContextRecord::default()
        });
    }
    let bytes = lines.iter().map(|(_, bytes)| bytes).sum();
    reading.totals = Totals {
        live_bytes: bytes,
        live_objects: lines.len() as u64,
        allocated_bytes: bytes,
        allocated_objects: lines.len() as u64,
        contexts: lines.len() as u64,
        ..Totals::default()
    };
    let context = |index: u32| {
        let (line, _) = lines.get(index as usize)?;
        Some(Context::Synthetic(Arc::from(line.as_str())))
    };
    Snapshot::new(&reading, context, Arc::new(symbols))
}

/// An answer of the router.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// A router over guests, whose history has only the readings that queries make.
pub(crate) struct Mounted(pub(crate) Router);

impl Mounted {
    pub(crate) fn of(source: impl HeapSource) -> Self {
        // Each query makes a reading, so that a test sees its own changes.
        let options = Options {
            max_reading_age: Duration::ZERO,
            ..Options::default()
        };
        Self::with_options(source, options)
    }

    pub(crate) fn with_options(source: impl HeapSource, options: Options) -> Self {
        Self(Inspector::new(source, options).router())
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.0.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).body(Body::empty()).unwrap();
        self.send(request).await
    }

    /// The JSON of a call that succeeds.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// The code, the message and the hint of a call that fails with this status.
    pub(crate) async fn error(&self, path: &str, status: u16) -> [String; 3] {
        let answer = self.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let body = answer.json();
        ["code", "message", "hint"].map(|field| {
            let text = body["error"][field].as_str();
            text.unwrap_or_else(|| panic!("{path}: {body}")).to_owned()
        })
    }
}
