//! `/debug/pprof/heap` and `/debug/pprof/allocs`, read back with a protobuf decoder.

#[path = "../../../guest-heap/src/pprof/proto.rs"]
mod proto;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use flate2::read::GzDecoder;
use prost::Message as _;

use crate::test_guests::{FakeGuests, Mounted};

struct Profile(proto::Profile);

impl Profile {
    fn of(zipped: &[u8]) -> Self {
        let mut bytes = Vec::new();
        GzDecoder::new(zipped).read_to_end(&mut bytes).unwrap();
        Self(proto::Profile::decode(bytes.as_slice()).unwrap())
    }

    fn text(&self, index: i64) -> &str {
        &self.0.string_table[index as usize]
    }

    /// The numbers of each sample by the name of its guest and of its innermost function.
    fn samples(&self) -> BTreeMap<String, Vec<i64>> {
        let samples = self.0.sample.iter().map(|sample| {
            let location = &self.0.location[sample.location_id[0] as usize - 1];
            let function = &self.0.function[location.line[0].function_id as usize - 1];
            let guest = self.text(sample.label[0].str);
            (
                format!("{guest}/{}", self.text(function.name)),
                sample.value.clone(),
            )
        });
        samples.collect()
    }
}

#[tokio::test]
async fn both_profiles_have_all_numbers_and_differ_in_what_is_shown_first() {
    let guests = FakeGuests::with(&[("cart", &[("a", 10), ("b", 20)]), ("shop", &[("a", 7)])]);
    let mounted = Mounted::of(guests);
    for (name, first) in [("heap", "inuse_space"), ("allocs", "alloc_space")] {
        let answer = mounted.get(&format!("/debug/pprof/{name}")).await;
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        let file = format!("attachment; filename=\"{name}.pb.gz\"");
        assert_eq!(answer.header("content-disposition"), file);
        let profile = Profile::of(&answer.body);
        assert_eq!(profile.text(profile.0.default_sample_type), first);
        let samples = profile.samples();
        assert_eq!(samples["cart/b"], [1, 20, 1, 20]);
        assert_eq!(samples["shop/a"], [1, 7, 1, 7]);
        assert_eq!(samples.len(), 3);
    }
    let one = mounted
        .get("/debug/pprof/heap?guest=shop&gc=1&debug=0")
        .await;
    assert_eq!(Profile::of(&one.body).samples().len(), 1);
}

#[tokio::test]
async fn seconds_waits_and_answers_what_has_changed() {
    let guests = FakeGuests::with(&[("cart", &[("a", 10), ("b", 20), ("c", 5)])]);
    let mounted = Mounted::of(guests.clone());
    let began = Instant::now();
    let (answer, ()) = tokio::join!(mounted.get("/debug/pprof/heap?seconds=1"), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        guests.set("cart", &[("a", 10), ("b", 120), ("d", 30)]);
        guests.set("late", &[("x", 3)]);
    });
    assert!(began.elapsed() >= Duration::from_secs(1));
    let file = "attachment; filename=\"heap-delta.pb.gz\"";
    assert_eq!(answer.header("content-disposition"), file);
    let profile = Profile::of(&answer.body);
    assert!(profile.0.duration_nanos >= 1_000_000_000);
    let samples = profile.samples();
    assert_eq!(samples["cart/b"], [0, 100, 0, 100]);
    assert_eq!(samples["cart/d"], [1, 30, 1, 30]);
    assert_eq!(samples["cart/c"][..2], [-1, -5]);
    assert_eq!(samples["late/x"], [1, 3, 1, 3]);
    assert!(!samples.contains_key("cart/a"), "unchanged: {samples:?}");
}

#[tokio::test]
async fn the_number_of_waiting_profiles_is_bounded() {
    let mounted = Mounted::of(FakeGuests::with(&[("cart", &[("a", 10)])]));
    let wait = || mounted.get("/debug/pprof/allocs?seconds=1");
    let answers = futures_util::future::join_all((0..9).map(|_| wait())).await;
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 429)
        .collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].json()["error"]["code"], "too_many_profiles");
    assert_eq!(wait().await.status, 200, "the others have ended");
}

#[tokio::test]
async fn debug_answers_text() {
    let guests = FakeGuests::with(&[("cart", &[("a", 10), ("b", 20)]), ("shop", &[("a", 7)])]);
    let mounted = Mounted::of(guests);
    let answer = mounted.get("/debug/pprof/heap?debug=1").await;
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    let text = answer.text();
    let lines: Vec<&str> = text.lines().collect();
    let address = |line: usize| lines[line].rsplit_once(" @ ").unwrap().1;
    let row = |line: usize, name: &str| format!("#\t{}\t{name}", address(line));
    assert_eq!(lines[0], "heap profile: 3: 37 [3: 37] @ heap/2");
    assert_eq!(lines[1], "# guest: cart");
    assert_eq!(lines[2], format!("1: 20 [1: 20] @ {}", address(2)));
    assert_eq!(lines[3], row(2, "b"));
    assert_eq!(lines[5], row(4, "a"));
    assert_eq!(lines[6], "# guest: shop");
    assert_eq!(lines[8], row(7, "a"));
    assert_eq!(lines.len(), 9);

    // pprof asks for addresses that are one smaller.
    let asked = |line: usize| {
        let address = address(line).strip_prefix("0x").unwrap();
        format!("{:#x}", u64::from_str_radix(address, 16).unwrap() - 1)
    };
    let asked = [asked(2), asked(7), "0x1".to_owned()];
    let names = format!("{}\tb\n{}\ta\n", asked[0], asked[1]);
    let request = Request::post("/debug/pprof/symbol").body(Body::from(asked.join("+")));
    let answer = mounted.send(request.unwrap()).await;
    assert!(answer.text().ends_with(&names), "{}", answer.text());
    let query = format!("/debug/pprof/symbol?{}", asked.join("+"));
    assert_eq!(mounted.get(&query).await.text(), answer.text());
    assert!(answer.text().starts_with("num_symbols: "));
    let request = Request::post("/debug/pprof/symbol").body(Body::from(vec![0xFF]));
    assert_eq!(mounted.send(request.unwrap()).await.status, 400);
}
