use axum::http::HeaderValue;

use super::*;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn with_endpoint(url: &str) -> TelemetryOptions {
    TelemetryOptions {
        otlp_endpoint: some(url),
        ..TelemetryOptions::default()
    }
}

/// Where a signal goes.
type Target = Option<(String, Protocol)>;

fn urls(options: &TelemetryOptions) -> (Target, Target) {
    let settings = options.settings().unwrap();
    let of = |endpoint: OtlpEndpoint| (endpoint.url.to_string(), endpoint.protocol);
    (
        settings.traces.map(|traces| of(traces.endpoint)),
        settings.metrics.map(|metrics| of(metrics.endpoint)),
    )
}

fn refused(options: TelemetryOptions) -> String {
    options.settings().unwrap_err().to_string()
}

#[test]
fn off_without_an_endpoint() {
    assert_eq!(urls(&TelemetryOptions::default()), (None, None));
    assert_eq!(urls(&with_endpoint("")), (None, None));
    assert_eq!(urls(&with_endpoint("  ")), (None, None));
}

#[test]
fn off_when_disabled_or_the_exporter_is_none() {
    let disabled = |value| TelemetryOptions {
        otel_disabled: some(value),
        ..with_endpoint("http://c:4317")
    };
    assert_eq!(urls(&disabled("true")), (None, None));
    assert_eq!(urls(&disabled("TRUE")), (None, None));
    for on in ["false", "", "1", "yes"] {
        assert!(urls(&disabled(on)).0.is_some(), "{on}");
    }
    let no_traces = TelemetryOptions {
        traces_exporter: some("none"),
        ..with_endpoint("http://c:4317")
    };
    let (traces, metrics) = urls(&no_traces);
    assert!(traces.is_none() && metrics.is_some());
}

#[test]
fn the_port_tells_the_protocol_unless_it_is_said() {
    let expect = |options: &TelemetryOptions, traces: &str, metrics: &str, protocol| {
        let expected = (
            Some((traces.to_owned(), protocol)),
            Some((metrics.to_owned(), protocol)),
        );
        assert_eq!(urls(options), expected);
    };
    let (grpc, http) = (Protocol::Grpc, Protocol::HttpProtobuf);
    expect(
        &with_endpoint("http://c:4317"),
        "http://c:4317/",
        "http://c:4317/",
        grpc,
    );
    expect(
        &with_endpoint("c:4317"),
        "http://c:4317/",
        "http://c:4317/",
        grpc,
    );
    expect(
        &with_endpoint("http://c:4318"),
        "http://c:4318/v1/traces",
        "http://c:4318/v1/metrics",
        http,
    );
    expect(
        &with_endpoint("http://c:4318/in/"),
        "http://c:4318/in/v1/traces",
        "http://c:4318/in/v1/metrics",
        http,
    );
    let said = TelemetryOptions {
        otlp_protocol: some("http/protobuf"),
        ..with_endpoint("http://c:4317")
    };
    expect(
        &said,
        "http://c:4317/v1/traces",
        "http://c:4317/v1/metrics",
        http,
    );
    let said = TelemetryOptions {
        otlp_protocol: some("grpc"),
        ..with_endpoint("http://c:9")
    };
    expect(&said, "http://c:9/", "http://c:9/", grpc);
}

#[test]
fn a_signal_of_its_own_goes_its_own_way() {
    let options = TelemetryOptions {
        otlp_traces_endpoint: some("http://t:4318/as/it/is"),
        otlp_metrics_protocol: some("grpc"),
        otlp_headers: some("a=1"),
        otlp_traces_headers: some("b=2"),
        otlp_timeout: some("2000"),
        otlp_metrics_timeout: some("700"),
        ..with_endpoint("http://c:4318")
    };
    let settings = options.settings().unwrap();
    let (traces, metrics) = (
        settings.traces.unwrap().endpoint,
        settings.metrics.unwrap().endpoint,
    );
    assert_eq!(traces.url, "http://t:4318/as/it/is");
    assert_eq!(traces.protocol, Protocol::HttpProtobuf);
    assert_eq!(
        (traces.headers.get("b").unwrap(), traces.headers.len()),
        (&HeaderValue::from_static("2"), 1)
    );
    assert_eq!(traces.timeout, Duration::from_secs(2));
    assert_eq!(metrics.url, "http://c:4318/");
    assert_eq!(metrics.protocol, Protocol::Grpc);
    assert!(metrics.headers.contains_key("a"));
    assert_eq!(metrics.timeout, Duration::from_millis(700));
    // Only traces: no shared endpoint.
    let only = TelemetryOptions {
        otlp_traces_endpoint: some("http://t:4317"),
        ..TelemetryOptions::default()
    };
    let (traces, metrics) = urls(&only);
    assert_eq!(
        (traces, metrics),
        (Some(("http://t:4317/".to_owned(), Protocol::Grpc)), None)
    );
}

#[test]
fn lists_are_decoded() {
    let options = TelemetryOptions {
        resource_attributes: some(
            "deployment.environment.name=lab, team=leak%20hunters%2C%20all ,",
        ),
        otlp_headers: some("authorization=Bearer%20abc"),
        ..with_endpoint("http://c:4317")
    };
    let settings = options.settings().unwrap();
    let expected = [
        ("deployment.environment.name", "lab"),
        ("team", "leak hunters, all"),
    ];
    assert_eq!(
        settings.resource,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    let headers = settings.traces.unwrap().endpoint.headers;
    assert_eq!(headers.get("authorization").unwrap(), "Bearer abc");
    assert!(
        !format!("{headers:?}").contains("abc"),
        "headers may be secrets"
    );
}

#[test]
fn batches_and_intervals() {
    let defaults = with_endpoint("http://c:4317").settings().unwrap();
    let batch = defaults.traces.unwrap().batch;
    assert_eq!(
        batch,
        BatchSettings {
            delay: Duration::from_secs(5),
            max_queue: 2048,
            max_batch: 512
        }
    );
    assert_eq!(defaults.metrics.unwrap().interval, Duration::from_secs(15));
    let options = TelemetryOptions {
        bsp_schedule_delay: some("200"),
        bsp_max_queue_size: some("100"),
        bsp_max_export_batch_size: some("500"),
        bsp_export_timeout: some("300"),
        metric_export_interval: some("1000"),
        ..with_endpoint("http://c:4317")
    };
    let settings = options.settings().unwrap();
    let traces = settings.traces.unwrap();
    assert_eq!(
        traces.batch,
        BatchSettings {
            delay: Duration::from_millis(200),
            max_queue: 100,
            max_batch: 100
        }
    );
    assert_eq!(traces.endpoint.timeout, Duration::from_millis(300));
    assert_eq!(settings.metrics.unwrap().interval, Duration::from_secs(1));
}

#[test]
fn samplers() {
    for (name, argument, debug) in [
        (None, None, "ParentBased(AlwaysOn)"),
        (Some("always_on"), None, "AlwaysOn"),
        (Some("always_off"), None, "AlwaysOff"),
        (
            Some("traceidratio"),
            Some("0.25"),
            "TraceIdRatioBased(0.25)",
        ),
        (Some("traceidratio"), None, "TraceIdRatioBased(1.0)"),
        (
            Some("parentbased_always_off"),
            None,
            "ParentBased(AlwaysOff)",
        ),
        (
            Some("parentbased_traceidratio"),
            Some("0.5"),
            "ParentBased(TraceIdRatioBased(0.5))",
        ),
    ] {
        let options = TelemetryOptions {
            traces_sampler: name.and_then(some),
            traces_sampler_arg: argument.and_then(some),
            ..with_endpoint("http://c:4317")
        };
        assert_eq!(
            format!("{:?}", options.settings().unwrap().traces.unwrap().sampler),
            debug
        );
    }
}

#[test]
fn mistakes_name_their_variable() {
    let base = || with_endpoint("http://c:4317");
    for (options, message) in [
        (
            with_endpoint("https://c:4317"),
            "OTEL_EXPORTER_OTLP_ENDPOINT: https is not built in: send to a collector nearby over http and let it speak TLS",
        ),
        (
            with_endpoint("ftp://c"),
            "OTEL_EXPORTER_OTLP_ENDPOINT: `ftp://c` is not a URL such as http://localhost:4317",
        ),
        (
            TelemetryOptions {
                otlp_protocol: some("http/json"),
                ..base()
            },
            "OTEL_EXPORTER_OTLP_PROTOCOL: `http/json` is not one of grpc, http/protobuf",
        ),
        (
            TelemetryOptions {
                otlp_headers: some("secret"),
                ..base()
            },
            "OTEL_EXPORTER_OTLP_HEADERS: is not a list of name=value",
        ),
        (
            TelemetryOptions {
                otlp_headers: some("a b=1"),
                ..base()
            },
            "OTEL_EXPORTER_OTLP_HEADERS: `a b` is not a header or its value is not valid",
        ),
        (
            TelemetryOptions {
                bsp_schedule_delay: some("5s"),
                ..base()
            },
            "OTEL_BSP_SCHEDULE_DELAY: `5s` is not a whole number",
        ),
        (
            TelemetryOptions {
                bsp_max_queue_size: some("0"),
                ..base()
            },
            "OTEL_BSP_MAX_QUEUE_SIZE: must be from 1 to 1000000",
        ),
        (
            TelemetryOptions {
                traces_exporter: some("zipkin"),
                ..base()
            },
            "OTEL_TRACES_EXPORTER: `zipkin` is not one of otlp, none",
        ),
        (
            TelemetryOptions {
                traces_sampler: some("traceidratio"),
                traces_sampler_arg: some("2"),
                ..base()
            },
            "OTEL_TRACES_SAMPLER_ARG: must be a number from 0 to 1",
        ),
    ] {
        assert_eq!(refused(options), message);
    }
    let sampler = refused(TelemetryOptions {
        traces_sampler: some("xray"),
        ..base()
    });
    assert!(
        sampler.starts_with("OTEL_TRACES_SAMPLER: `xray` is not one of always_on"),
        "{sampler}"
    );
}

#[test]
fn the_options_parse_as_flags() {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        telemetry: TelemetryOptions,
    }
    let cli = <Cli as clap::Parser>::parse_from([
        "x",
        "--otlp-endpoint",
        "http://c:4317",
        "--bsp-max-queue-size=7",
    ]);
    let settings = cli.telemetry.settings().unwrap();
    assert_eq!(settings.traces.unwrap().batch.max_queue, 7);
}
