//! The heap profile for other tools: a pprof profile and a flame graph.

mod proto;

use std::io::Read as _;

use flate2::read::GzDecoder;
use prost::Message as _;
use reqwest::Method;
use serde_json::json;

use super::{ALL_LINES, cache_payload_line, sum};
use crate::components::LAB;
use crate::lab::{Answer, Lab, number};

/// A decoded pprof profile.
pub(super) struct Profile(proto::Profile);

impl Profile {
    pub(super) async fn of(lab: &Lab, query: &str) -> Self {
        let response = lab
            .request(Method::GET, &format!("/debug/pprof/heap{query}"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert!(
            response.headers()["content-disposition"]
                .to_str()
                .unwrap()
                .contains("attachment")
        );
        let zipped = response.bytes().await.unwrap();
        assert_eq!(
            zipped[..2],
            [0x1f, 0x8b],
            "gzip, independent of `Accept-Encoding`"
        );
        let mut bytes = Vec::new();
        GzDecoder::new(&zipped[..]).read_to_end(&mut bytes).unwrap();
        let profile = proto::Profile::decode(&bytes[..]).unwrap();
        assert_eq!(
            profile.string_table[0], "",
            "pprof requires an empty first string"
        );
        Self(profile)
    }

    fn text(&self, index: i64) -> &str {
        &self.0.string_table[usize::try_from(index).unwrap()]
    }

    /// The index of a sample type in the values of each sample.
    fn column(&self, sample_type: &str) -> usize {
        let named = |value_type: &proto::ValueType| self.text(value_type.r#type) == sample_type;
        self.0
            .sample_type
            .iter()
            .position(named)
            .expect("the profile has the sample type")
    }

    pub(super) fn total(&self, sample_type: &str) -> f64 {
        let column = self.column(sample_type);
        self.0
            .sample
            .iter()
            .map(|sample| sample.value[column] as f64)
            .sum()
    }

    fn total_of(&self, sample_type: &str, plugin: &str) -> f64 {
        let column = self.column(sample_type);
        let labelled = |sample: &&proto::Sample| {
            sample
                .label
                .iter()
                .any(|label| self.text(label.key) == "plugin" && self.text(label.str) == plugin)
        };
        let samples = self.0.sample.iter().filter(labelled);
        samples.map(|sample| sample.value[column] as f64).sum()
    }

    fn function(&self, id: u64) -> &proto::Function {
        let found = self.0.function.iter().find(|function| function.id == id);
        found.expect("the profile contains the function of each line")
    }

    /// Returns true if a call stack contains this source line.
    pub(super) fn has_line(&self, file: &str, line: i64) -> bool {
        let lines = self.0.location.iter().flat_map(|location| &location.line);
        lines.filter(|found| found.line == line).any(|found| {
            self.text(self.function(found.function_id).filename)
                .ends_with(file)
        })
    }
}

#[tokio::test]
async fn the_pprof_profile_has_the_totals_of_the_snapshot() {
    let lab = Lab::with(&LAB).start().await;
    for leak in LAB {
        lab.enable(leak).await;
    }
    lab.traffic(100).await;
    let snapshot = lab.get(ALL_LINES).await;
    let profile = Profile::of(&lab, "").await;

    let types: Vec<_> = profile
        .0
        .sample_type
        .iter()
        .map(|t| (profile.text(t.r#type), profile.text(t.unit)))
        .collect();
    let expected = [
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
    ];
    let mut sorted = types.clone();
    sorted.sort_unstable_by_key(|found| expected.iter().position(|wanted| wanted == found));
    assert_eq!(sorted, expected, "{types:?}");
    assert_eq!(profile.text(profile.0.default_sample_type), "inuse_space");

    let by_line = snapshot["by_line"].as_array().unwrap();
    assert_eq!(
        profile.total("inuse_space"),
        number(&snapshot, "/total_traced_bytes")
    );
    assert_eq!(profile.total("inuse_objects"), sum(by_line, "count"));
    assert!(profile.total("alloc_space") >= profile.total("inuse_space"));
    assert!(
        profile.total("alloc_objects") > profile.total("inuse_objects"),
        "a request also allocates blocks that it frees"
    );
    for leak in LAB {
        let live = number(&snapshot, &format!("/plugins/{leak}/heap_live_bytes"));
        assert_eq!(profile.total_of("inuse_space", leak), live, "{leak}");
        let narrowed = Profile::of(&lab, &format!("?plugin={leak}")).await;
        assert_eq!(narrowed.total("inuse_space"), live, "{leak}");
    }
    // Every sample refers to existing locations, and the leaking line is one of them.
    for sample in &profile.0.sample {
        assert_eq!(sample.value.len(), 4);
        assert!(!sample.location_id.is_empty());
        for id in &sample.location_id {
            assert!(profile.0.location.iter().any(|location| location.id == *id));
        }
    }
    let line = cache_payload_line();
    let (file, line) = line.rsplit_once(':').unwrap();
    assert!(profile.has_line(file, line.parse().unwrap()));
}

/// Asserts that every element is closed, in order. Function names contain `<`, so the scan skips
/// quoted text.
fn assert_well_formed(svg: &str) {
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        let special = [
            ("<?", "?>"),
            ("<!--", "-->"),
            ("<![CDATA[", "]]>"),
            ("<!", ">"),
        ];
        if let Some((_, end)) = special.iter().find(|(begin, _)| rest.starts_with(begin)) {
            rest = &rest[rest.find(end).expect("the markup ends") + end.len()..];
            continue;
        }
        let mut quote = None;
        let end = rest.char_indices().find(|(_, c)| match (quote, c) {
            (None, '"' | '\'') => {
                quote = Some(*c);
                false
            }
            (Some(opening), c) if opening == *c => {
                quote = None;
                false
            }
            (quote, c) => quote.is_none() && *c == '>',
        });
        let (tag, after) = rest.split_at(end.expect("a tag ends").0);
        rest = after;
        let name = tag
            .trim_start_matches(['<', '/'])
            .split([' ', '\n', '/'])
            .next()
            .unwrap();
        if tag.starts_with("</") {
            assert_eq!(open.pop(), Some(name), "elements are closed in order");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0], "all elements are closed");
}

pub(super) async fn flamegraph(lab: &Lab, query: &str) -> String {
    let path = format!("/admin/memory/flamegraph{query}");
    let answer = Answer::of(lab.request(Method::GET, &path)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    assert!(
        answer.content_type.starts_with("image/svg+xml"),
        "{answer:?}"
    );
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(
        policy.contains("sandbox"),
        "the SVG contains a script: {policy}"
    );
    assert!(answer.text.contains("<svg") && answer.text.trim_end().ends_with("</svg>"));
    assert_well_formed(&answer.text);
    answer.text
}

#[tokio::test]
async fn the_flame_graph_shows_the_call_stacks() {
    let lab = Lab::with(&LAB).start().await;
    lab.enable("cache").await;
    super::put_baseline(&lab, "before").await;
    lab.traffic(50).await;
    for query in ["", "?plugin=cache", "?baseline=before", "?since=5m"] {
        let svg = flamegraph(&lab, query).await;
        for name in ["on_request", "plugins/cache/src/lib.rs", "alloc"] {
            assert!(svg.contains(name), "{query}: the flame graph lacks {name}");
        }
    }
    let other = flamegraph(&lab, "?plugin=history&baseline=before").await;
    assert!(!other.contains("on_request"), "history was not called");
    lab.disable("cache").await;
    flamegraph(&lab, "").await;
}

#[tokio::test]
async fn every_view_works_without_plugins() {
    let lab = Lab::with(&[]).start().await;
    flamegraph(&lab, "").await;
    flamegraph(&lab, "?since=5m").await;
    super::put_baseline(&lab, "nothing").await;
    flamegraph(&lab, "?baseline=nothing").await;
    assert_eq!(Profile::of(&lab, "").await.total("inuse_space"), 0.0);
    assert_eq!(lab.get(ALL_LINES).await["by_line"], json!([]));
    assert_eq!(lab.get("/admin/memory/history").await["series"], json!([]));
    assert_eq!(
        lab.get("/admin/memory/diff").await["status"],
        json!("baseline_set")
    );
    assert_eq!(
        lab.get("/admin/memory/diff").await["growing_allocations"],
        json!([])
    );
    assert_eq!(
        lab.get("/admin/memory?all=true").await["heap"]["attribution"],
        json!("off")
    );
}
