use super::*;

fn plugin_points(count: u32) -> Vec<PluginPoint> {
    let point = |age: u32| PluginPoint {
        age: f64::from(age),
        linear_bytes: 5 << 20,
        retained_bytes: u64::from(count - age) << 10,
        heap_live_bytes: u64::from(count - age) << 10,
    };
    (0..count).rev().map(point).collect()
}

fn process_points(count: u32) -> Vec<ProcessPoint> {
    let point = |age: u32| ProcessPoint {
        age: f64::from(age),
        resident_bytes: 100,
        parts: [45, 30, 5, 10, 0, 5, 5, 0],
    };
    (0..count).rev().map(point).collect()
}

#[test]
fn a_chart_has_axes_lines_markers_and_a_description() {
    let window = Duration::from_secs(300);
    let svg = plugin("cache", &plugin_points(300), window, &[(100.0, "cleared")]);
    for part in [
        "role=\"img\"",
        "aria-label=\"cache, last 5 min: retained 300.0 KiB, live 300.0 KiB, linear memory 5.0 MiB\"",
        "viewBox=\"0 0 330 140\"",
        ">6 MiB</text>",
        ">−4 min</text>",
        ">now</text>",
        "class=\"marker\"",
        ">cleared</text>",
        "class=\"series retained\"",
        "class=\"series live\"",
        "class=\"series linear\"",
    ] {
        assert!(svg.contains(part), "{part} in {svg}");
    }
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"));
    assert!(
        !svg.contains("style="),
        "the content policy forbids it: {svg}"
    );
    assert!(svg.len() < 16 << 10, "{} bytes", svg.len());
}

#[test]
fn points_are_where_their_age_and_bytes_belong() {
    let plot = Plot {
        size: WIDE,
        time: TimeAxis::of(Duration::from_secs(60), 0.0),
        bytes: ByteAxis::up_to(3800.0),
    };
    // The axis ends at 4 KiB. The plot is 318 by 166 pixels, from (60, 16) to (378, 182).
    assert_eq!(plot.bytes.top(), 4096.0);
    let points = [(60.0, 0.0), (30.0, 2048.0), (0.0, 4096.0)];
    assert_eq!(plot.points(&points), "60.0,182.0 219.0,99.0 378.0,16.0");
}

#[test]
fn the_limit_is_a_line_over_the_whole_window() {
    let window = Duration::from_secs(60);
    let svg = process(
        WIDE,
        &process_points(60),
        Some(256 << 20),
        None,
        window,
        &[],
    );
    let limit = svg
        .split("class=\"series limit\" points=\"")
        .nth(1)
        .unwrap();
    assert!(limit.starts_with("60.0,"), "{limit}");
    assert_eq!(limit.split('"').next().unwrap().split(' ').count(), 2);
    assert!(svg.contains("100 B, limit 256.0 MiB"), "{svg}");
    let without = process(WIDE, &process_points(60), None, None, window, &[]);
    assert!(!without.contains("series limit"), "{without}");
    assert!(without.contains("100 B, no limit"), "{without}");
}

#[test]
fn a_projection_leads_from_now_to_the_limit() {
    let window = Duration::from_secs(60);
    // 100 bytes now. The limit of 400 bytes is 20 s away.
    let projection = Projection {
        bytes_per_second: 15.0,
        seconds_to_limit: 20.0,
    };
    let chart = |limit, projection| {
        let points = process_points(60);
        process(WIDE, &points, Some(limit), Some(projection), window, &[])
    };
    let ends = |svg: &str, class: &str| -> Vec<String> {
        let rest = svg
            .split(&format!("class=\"series {class}\" points=\""))
            .nth(1);
        let points = rest.unwrap().split('"').next().unwrap();
        points.split(' ').map(str::to_owned).collect()
    };
    let svg = chart(400, projection);
    let (line, limit) = (ends(&svg, "projected"), ends(&svg, "limit"));
    // 80 seconds are 318 pixels wide, and now is 60 s from the left.
    assert!(line[0].starts_with("298.5,"), "{line:?}");
    assert_eq!(line[1], limit[1], "they meet at the right");
    assert!(line[1].starts_with("378.0,"), "{line:?}");
    let far = Projection {
        seconds_to_limit: 600.0,
        ..projection
    };
    let line = ends(&chart(10_000, far), "projected");
    assert!(line[0].starts_with("272.0,"), "at most a third: {line:?}");
}

#[test]
fn the_ledger_has_an_area_for_every_part_and_ends_at_the_resident_bytes() {
    let svg = ledger(WIDE, &process_points(3), Duration::from_secs(60));
    for part in 0..LedgerPart::ALL.len() {
        assert!(
            svg.contains(&format!("class=\"area part-{part}\"")),
            "{svg}"
        );
    }
    let attribute = |class: &str| {
        let rest = svg.split(&format!("class=\"{class}\" points=\"")).nth(1);
        rest.unwrap().split('"').next().unwrap().to_owned()
    };
    let resident = attribute("series rss");
    let last_part = attribute("area part-7");
    assert!(last_part.starts_with(&resident), "{last_part} {resident}");
}

#[test]
fn a_label_of_a_marker_at_the_edge_stays_in_the_chart() {
    let markers = [(299.0, "enabled"), (0.0, "cleared")];
    let svg = plugin("cache", &[], Duration::from_secs(300), &markers);
    for (label, x) in [("enabled", "92.0"), ("cleared", "298.0")] {
        let text = format!("<text class=\"marker-label\" x=\"{x}\" y=\"11.0\">{label}</text>");
        assert!(svg.contains(&text), "{text} in {svg}");
    }
}

#[test]
fn a_name_with_markup_is_escaped() {
    let svg = plugin("\"><script>", &[], Duration::from_secs(60), &[]);
    assert!(!svg.contains("<script>"), "{svg}");
}

#[test]
fn a_chart_without_points_has_axes() {
    for window in [60, 300, 900].map(Duration::from_secs) {
        for svg in [
            process(NARROW, &[], None, None, window, &[]),
            process(WIDE, &[], Some(256 << 20), None, window, &[]),
            ledger(WIDE, &[], window),
        ] {
            assert!(svg.contains("class=\"grid\""), "{svg}");
        }
    }
}

#[test]
fn thinning_always_keeps_the_newest_point() {
    for count in [0, 1, 2, 159, 160, 161, 320, 899, 900] {
        let points: Vec<u32> = (0..count).collect();
        let kept: Vec<_> = thin(&points).collect();
        assert!(kept.len() <= MAX_POINTS, "{count}");
        assert_eq!(kept.last().copied(), points.last(), "{count}");
    }
}

#[test]
fn a_reset_is_a_vertical_line_and_growth_is_none() {
    for count in [20, 900] {
        let mut points = plugin_points(count);
        let reset_at = points.len() / 3;
        for point in &mut points[reset_at..] {
            point.retained_bytes = 1 << 10;
        }
        let line = with_steps_down(&points, |p| p.retained_bytes);
        let vertical: Vec<_> = line
            .windows(2)
            .filter(|pair| pair[0].0 == pair[1].0)
            .collect();
        assert_eq!(vertical.len(), 1, "{count}: {line:?}");
        let fell = points[reset_at - 1].retained_bytes as f64;
        let age = points[reset_at].age;
        assert_eq!(vertical[0], [(age, fell), (age, 1024.0)], "{count}");
        assert!(line.len() <= MAX_POINTS + 3, "{count}: {}", line.len());
        assert!(line.is_sorted_by(|a, b| a.0 >= b.0), "oldest first");
    }
}

#[test]
fn the_chart_of_a_masked_plugin_has_no_retained_bytes() {
    let (points, window) = (plugin_points(300), Duration::from_secs(300));
    let shown = plugin("plugin-a", &points, window, &[]);
    assert!(shown.contains("retained"), "{shown}");
    let masked = masked_plugin("plugin-a", &points, window, &[]);
    assert!(!masked.contains("retained"), "{masked}");
    assert!(masked.contains("live"), "{masked}");
}
