//! Folded stacks and flame graphs. The tests write their flame graphs to the folder that the
//! variable `FLAMEGRAPH_DIR` names, if it is set.

use std::fs;

use guest_heap::diff::Baseline;
use guest_heap::flamegraph::{self, difference};
use guest_heap::folded;
use guest_heap::reading::{Context, Reading};
use guest_heap::snapshot::Snapshot;

use crate::lines_guest::{Allocation, reading_of, recorded, symbols};
use crate::synthetic::{no_symbols, snapshot};

fn snapshot_of(allocations: &[Allocation]) -> Snapshot {
    let (reading, contexts) = reading_of(allocations);
    Snapshot::new(
        &reading,
        |index| contexts.get(index as usize).cloned(),
        symbols(),
    )
}

fn save(name: &str, svg: &str) {
    if let Some(folder) = std::env::var_os("FLAMEGRAPH_DIR") {
        fs::write(std::path::Path::new(&folder).join(name), svg).unwrap();
    }
}

/// Parses a flame graph as XML and returns the tooltips of its frames.
fn tooltips(svg: &str) -> Vec<String> {
    let mut reader = quick_xml::Reader::from_str(svg);
    let mut titles = Vec::new();
    let mut text: Option<String> = None;
    loop {
        use quick_xml::events::Event;
        match reader.read_event().unwrap() {
            Event::Eof => return titles,
            Event::Start(start) if start.name().as_ref() == b"title" => text = Some(String::new()),
            Event::Text(part) => text
                .iter_mut()
                .for_each(|text| text.push_str(&part.decode().unwrap())),
            Event::GeneralRef(part) => {
                let name = part.decode().unwrap().into_owned();
                let c = quick_xml::escape::resolve_predefined_entity(&name).unwrap();
                text.iter_mut().for_each(|text| text.push_str(c));
            }
            Event::End(end) if end.name().as_ref() == b"title" => titles.extend(text.take()),
            _ => {}
        }
    }
}

#[test]
fn folded_stacks_add_up_and_begin_with_the_outermost_function() {
    let snapshot = snapshot_of(&recorded().all());
    let text = folded::live_bytes(&snapshot, Some("cache"));
    let sum: u64 = text
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum();
    assert_eq!(sum, snapshot.totals().live_bytes);
    let line = text
        .lines()
        .find(|line| line.contains("lines::plain_vector (src/lib.rs:"))
        .unwrap();
    let frames: Vec<&str> = line.split(';').collect();
    assert_eq!(frames[0], "cache");
    assert!(
        frames[1].contains("export_run") || frames[1].contains("run"),
        "{line}"
    );
    assert!(
        line.contains("alloc::raw_vec::with_capacity_in") && line.ends_with(" 4096"),
        "{line}"
    );
}

#[test]
fn a_flame_graph_shows_live_bytes() {
    let snapshot = snapshot_of(&recorded().all());
    let svg = flamegraph::live_bytes("Live bytes", &[("cache", &snapshot)]).unwrap();
    save("live.svg", &svg);
    let tooltips = tooltips(&svg);
    let total = snapshot.totals().live_bytes;
    assert!(
        tooltips[..].iter().any(|tip| tip
            .replace(',', "")
            .starts_with(&format!("all ({total} bytes"))),
        "{tooltips:?}"
    );
    assert!(
        tooltips
            .iter()
            .any(|tip| tip.starts_with("lines::plain_vector (src/lib.rs:")
                && tip.contains("(4,096 bytes, "))
    );
}

#[test]
fn a_flame_graph_shows_changes() {
    let (all, extra) = (recorded().all(), recorded().case("rc_cycle"));
    let before = snapshot_of(&[&all[..], recorded().case("hash_map_insert")].concat());
    let after = snapshot_of(&[&all[..], extra, extra, extra, extra, extra, extra].concat());
    let svg = difference(
        "Since the baseline",
        &[("cache", &Baseline::new(&before), &after)],
    )
    .unwrap();
    save("difference.svg", &svg);
    let tooltips = tooltips(&svg);
    let leaked: u64 = extra.iter().map(|allocation| allocation.bytes * 6).sum();
    let gone: u64 = recorded()
        .case("hash_map_insert")
        .iter()
        .map(|allocation| allocation.bytes)
        .sum();
    let tip = |start: &str| {
        tooltips
            .iter()
            .find(|tip| tip.starts_with(start))
            .unwrap_or_else(|| panic!("no {start}: {tooltips:#?}"))
    };
    assert!(
        tip("lines::rc_cycle")
            .replace(',', "")
            .contains(&format!("+{leaked} B (")),
        "{}",
        tip("lines::rc_cycle")
    );
    assert!(
        tip("lines::hash_map_insert")
            .replace(',', "")
            .contains(&format!("-{gone} B ("))
    );
    assert!(
        !tooltips.iter().any(|tip| tip.contains("plain_vector")),
        "unchanged stacks must be omitted"
    );
}

#[test]
fn a_flame_graph_without_bytes_or_changes_is_valid() {
    let empty = Snapshot::new(&Reading::default(), |_| None, no_symbols());
    let same = snapshot_of(recorded().case("closure"));
    let graphs = [
        flamegraph::live_bytes("nothing", &[("cache", &empty)]).unwrap(),
        difference("nothing", &[("cache", &Baseline::new(&same), &same)]).unwrap(),
    ];
    for svg in graphs {
        save("nothing.svg", &svg);
        assert!(
            svg.contains("nothing to show") && svg.trim_end().ends_with("</svg>"),
            "{svg}"
        );
        tooltips(&svg);
    }
}

#[test]
fn names_are_escaped_in_flame_graphs() {
    let hostile = [
        "</title><script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "a;b\nc\u{0}\u{1}\u{1b}[0m",
        "]]></script><script>alert(2)//",
        "&lt;&#0;",
        "  ",
        "'; alert(3); '",
        "# comment 7",
        "x\u{ffff}\u{202e}",
    ];
    let places: Vec<(&str, u64, u64)> = hostile.iter().map(|name| (*name, 100, 1)).collect();
    let (none, all) = (
        snapshot(&no_symbols(), &[("", 0, 0)]),
        snapshot(&no_symbols(), &places),
    );
    let guest = "</svg><script>alert(4)</script>";
    let graphs = [
        flamegraph::live_bytes(guest, &[(guest, &all)]).unwrap(),
        difference(guest, &[(guest, &Baseline::new(&none), &all)]).unwrap(),
    ];
    let plain = flamegraph::live_bytes(
        "plain",
        &[("cache", &snapshot(&no_symbols(), &[("a", 1, 1)]))],
    )
    .unwrap();
    for svg in graphs {
        assert_eq!(
            svg.matches("<script").count(),
            plain.matches("<script").count(),
            "the graph contains no other script"
        );
        assert!(!svg.contains("<img"));
        let tooltips = tooltips(&svg);
        assert!(
            tooltips
                .iter()
                .any(|tip| tip.starts_with("</title><script>alert(1)</script>")),
            "{tooltips:#?}"
        );
        // The nine names, the guest and the root.
        assert_eq!(tooltips.len(), hostile.len() + 2, "{tooltips:#?}");
    }
    let context = Context::Synthetic("a;b\nc".into());
    assert_eq!(
        no_symbols().site(&context).location.as_ref(),
        "a;b\nc",
        "only flame graphs change names"
    );
}

#[test]
fn a_flame_graph_loads_nothing_from_elsewhere() {
    let svg = flamegraph::live_bytes(
        "Live bytes",
        &[("cache", &snapshot_of(recorded().case("closure")))],
    )
    .unwrap();
    for loading in [
        "@import",
        "url(h",
        "src=",
        "xlink:href=",
        "fetch(",
        "XMLHttpRequest",
        "import(",
    ] {
        assert!(!svg.contains(loading), "{loading}");
    }
}
