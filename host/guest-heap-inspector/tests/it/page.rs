//! The page.

use crate::test_guests::{FakeGuests, Mounted};

fn mounted() -> (FakeGuests, Mounted) {
    let guests = FakeGuests::with(&[
        ("cart", &[("src/cart.rs:12", 1_234_567), ("<b>&", 10)]),
        ("shop", &[("src/shop.rs:3", 20)]),
    ]);
    (guests.clone(), Mounted::of(guests))
}

#[tokio::test]
async fn the_page_has_the_lines_and_the_changes() {
    let (guests, mounted) = mounted();
    mounted.get("/debug/heap/").await;
    guests.set("cart", &[("src/cart.rs:12", 2_234_567), ("<b>&", 10)]);
    let page = mounted.get("/debug/heap/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let page = page.text();
    for text in [
        "src/cart.rs:12",
        "2,234,567",
        "+1,000,000",
        "src/shop.rs:3",
        "<polyline",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
    assert!(
        page.contains("&lt;b&gt;&amp;") && !page.contains("<b>"),
        "names are escaped"
    );
    let one = mounted
        .get("/debug/heap/?guest=shop&since=5m&group_by=file")
        .await
        .text();
    assert!(
        one.contains("src/shop.rs:3") && !one.contains("src/cart.rs:12"),
        "{one}"
    );
}

#[tokio::test]
async fn the_page_has_nothing_inline_and_loads_nothing_from_elsewhere() {
    let (_, mounted) = mounted();
    let page = mounted.get("/debug/heap/?location=src/cart.rs:12").await;
    let policy = page.header("content-security-policy").to_owned();
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let page = page.text();
    for forbidden in [
        "style=",
        "<style",
        "onclick",
        "onload",
        "javascript:",
        "http:",
        "https:",
        "=\"//",
    ] {
        assert!(!page.contains(forbidden), "{forbidden} in {page}");
    }
    assert_eq!(page.matches("<script").count(), 1);
    for (file, media_type) in [("page.css", "text/css"), ("page.js", "text/javascript")] {
        let file = mounted.get(&format!("/debug/heap/{file}")).await;
        assert!(file.header("content-type").starts_with(media_type));
        assert!(!file.text().contains("http"));
    }
}

#[tokio::test]
async fn without_source_roots_no_line_is_a_link_and_no_source_is_shown() {
    let (_, mounted) = mounted();
    let page = mounted
        .get("/debug/heap/?location=src/cart.rs:12")
        .await
        .text();
    assert!(page.contains("this host shows no sources"), "{page}");
    assert!(!page.contains("<a href=\"?guest=cart"), "{page}");
    let path = "/debug/heap/source?guest=cart&location=src/cart.rs:12";
    let [code, _, hint] = mounted.error(path, 404).await;
    assert_eq!(code, "unknown_source");
    assert!(hint.contains("source_roots"), "{hint}");
}

#[tokio::test]
async fn a_host_without_guests_has_a_page() {
    let mounted = Mounted::of(FakeGuests::default());
    let page = mounted.get("/debug/heap/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("No heap can be read now"));
    assert_eq!(mounted.json("/debug/heap/diff").await["bytes"], 0);
}

#[tokio::test]
async fn guests_that_hold_nothing_are_only_named() {
    let guests = FakeGuests::with(&[
        ("cart", &[("src/cart.rs:12", 30)]),
        ("idle", &[]),
        ("shop", &[]),
    ]);
    let mounted = Mounted::of(guests);
    let page = mounted.get("/debug/heap/").await.text();
    assert!(page.contains("<h2>cart</h2>"), "{page}");
    assert!(page.contains("<p>idle, shop</p>"), "{page}");
    let one = mounted.get("/debug/heap/?guest=idle").await.text();
    assert!(one.contains("<h2>idle</h2>"), "{one}");
}
