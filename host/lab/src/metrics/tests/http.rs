//! HTTP metrics on the page.

use super::*;

#[test]
fn requests_are_counted_by_method_route_and_status() {
    let metrics = metrics();
    let took = Duration::from_micros(80);
    for _ in 0..3 {
        metrics
            .http
            .observe(&Method::GET, "/api/data", StatusCode::OK, took, None);
    }
    metrics.http.observe(
        &Method::POST,
        "/admin/leaks/{name}",
        StatusCode::NOT_FOUND,
        took,
        None,
    );
    for invented in ["BREW", "brew", "PROPFIND"] {
        let method = Method::from_bytes(invented.as_bytes()).unwrap();
        metrics.http.observe(
            &method,
            "/api/data",
            StatusCode::METHOD_NOT_ALLOWED,
            took,
            None,
        );
    }
    let page = text(&metrics);
    for (labels, count) in [
        (
            r#"endpoint="/api/data",method="GET",service="leaky-service",status="200""#,
            3.0,
        ),
        (
            r#"endpoint="/admin/leaks/{name}",method="POST",service="leaky-service",status="404""#,
            1.0,
        ),
        (
            r#"endpoint="/api/data",method="_OTHER",service="leaky-service",status="405""#,
            3.0,
        ),
    ] {
        assert_eq!(
            value(&page, &format!("http_requests_total{{{labels}}}")),
            Some(count),
            "{page}"
        );
        let bucket = |bound| {
            value(
                &page,
                &format!("http_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}}"),
            )
        };
        assert_eq!(
            (
                bucket("0.00005"),
                bucket("0.0001"),
                bucket("5"),
                bucket("+Inf")
            ),
            (Some(0.0), Some(count), Some(count), Some(count))
        );
    }
}

#[test]
fn concurrent_first_requests_are_all_counted() {
    let metrics = metrics();
    std::thread::scope(|scope| {
        for thread in 0..4_u16 {
            let metrics = &metrics;
            scope.spawn(move || {
                for status in 0..50 {
                    let status = StatusCode::from_u16(400 + status).unwrap();
                    let endpoint = format!("/{}", thread % 2);
                    metrics
                        .http
                        .observe(&Method::GET, &endpoint, status, Duration::ZERO, None);
                }
            });
        }
    });
    let page = text(&metrics);
    let total: f64 = page
        .lines()
        .filter(|line| line.starts_with("http_requests_total{"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum();
    assert_eq!(total, 200.0);
}

#[test]
fn a_recorded_request_is_the_exemplar_of_its_bucket() {
    let metrics = metrics();
    let trace_id = TraceContext::unrecorded(None).trace_id();
    for (micros, recorded) in [(80, Some(trace_id)), (300, None)] {
        let took = Duration::from_micros(micros);
        let http = &metrics.http;
        http.observe(&Method::GET, "/api/data", StatusCode::OK, took, recorded);
    }
    let page = metrics.render(Some("application/openmetrics-text")).body;
    let exemplars: Vec<&str> = page.lines().filter(|line| line.contains(" # ")).collect();
    let [line] = exemplars[..] else {
        panic!("{exemplars:?}");
    };
    let (sample, exemplar) = line.split_once(" # ").unwrap();
    assert!(sample.starts_with("http_request_duration_seconds_bucket{"));
    assert!(sample.ends_with(r#"le="0.0001"} 1"#), "{sample}");
    let expected = format!("{{trace_id=\"{trace_id}\"}} 0.00008 ");
    let time = exemplar.strip_prefix(&expected).unwrap();
    assert!(time.parse::<f64>().unwrap() > 1.7e9, "{time}");
    let plain = metrics.render(None).body;
    assert!(!plain.contains(&trace_id.to_string()));
}
