use std::iter::once;

use clap::builder::Resettable;
use clap::{Args, Command, FromArgMatches};

use super::*;

/// Parses flags without the environment.
fn parse(flags: &[&str]) -> Result<TelemetrySettings, SettingsError> {
    let command = TelemetryOptions::augment_args(Command::new("test"))
        .mut_args(|option| option.env(Resettable::Reset));
    let matches = command.get_matches_from(once(&"test").chain(flags));
    TelemetryOptions::from_arg_matches(&matches)
        .unwrap()
        .settings()
}

/// Parses flags in addition to an endpoint.
fn with_endpoint(flags: &[&str]) -> Result<TelemetrySettings, SettingsError> {
    parse(&[&["--otlp-endpoint=http://c:4317"], flags].concat())
}

/// Checks the URLs of traces and metrics and their protocols.
fn check(flags: &[&str], traces: Option<(&str, Protocol)>, metrics: Option<(&str, Protocol)>) {
    let settings = parse(flags).unwrap();
    let target = |endpoint: OtlpEndpoint| (endpoint.url.to_string(), endpoint.protocol);
    let expected = |target: Option<(&str, Protocol)>| target.map(|(url, p)| (url.to_owned(), p));
    let settings = (
        settings.traces.map(|traces| target(traces.endpoint)),
        settings.metrics.map(|metrics| target(metrics.endpoint)),
    );
    assert_eq!(settings, (expected(traces), expected(metrics)), "{flags:?}");
}

#[test]
fn nothing_is_exported_without_an_endpoint() {
    check(&[], None, None);
    check(&["--otlp-endpoint="], None, None);
    check(&["--otlp-endpoint=  "], None, None);
}

#[test]
fn profiles_are_off_by_default_and_need_an_endpoint() {
    assert!(with_endpoint(&[]).unwrap().profiles.is_none());
    assert!(parse(&["--otlp-profiles=off"]).unwrap().profiles.is_none());
    let off = with_endpoint(&["--otlp-profiles=on", "--otel-disabled=true"]).unwrap();
    assert!(off.profiles.is_none());
    let error = parse(&["--otlp-profiles"]).unwrap_err().to_string();
    assert!(error.starts_with("LEAK_OTLP_PROFILES: "), "{error}");
    assert!(error.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{error}");
}

#[test]
fn profiles_have_an_interval_and_a_url_of_their_own() {
    for (value, seconds) in [
        ("--otlp-profiles", 60),
        ("--otlp-profiles=on", 60),
        ("--otlp-profiles=10s", 10),
        ("--otlp-profiles=5m", 300),
        ("--otlp-profiles=1h", 3_600),
    ] {
        let settings = with_endpoint(&[value]).unwrap().profiles.unwrap();
        assert_eq!(settings.interval.as_secs(), seconds, "{value}");
        assert_eq!(settings.endpoint.protocol, Protocol::Grpc);
    }
    for wrong in [
        "9s",
        "61m",
        "2h",
        "60",
        "yes",
        "-1s",
        "99999999999999999999h",
    ] {
        let error = with_endpoint(&[&format!("--otlp-profiles={wrong}")]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(wrong) && error.contains("3600s"), "{error}");
    }
    let http = ["--otlp-endpoint=http://c:4318/base", "--otlp-profiles"];
    let settings = parse(&http).unwrap().profiles.unwrap();
    let url = settings.endpoint.url.to_string();
    assert_eq!(url, "http://c:4318/base/v1development/profiles");
}

#[test]
fn nothing_is_exported_when_disabled_or_the_exporter_is_none() {
    for (disabled, exported) in [
        ("true", false),
        ("TRUE", false),
        ("false", true),
        ("", true),
        ("1", true),
        ("yes", true),
    ] {
        let settings = with_endpoint(&[&format!("--otel-disabled={disabled}")]).unwrap();
        assert_eq!(settings.traces.is_some(), exported, "{disabled}");
        assert_eq!(settings.metrics.is_some(), exported, "{disabled}");
    }
    let settings = with_endpoint(&["--traces-exporter=none"]).unwrap();
    assert!(settings.traces.is_none() && settings.metrics.is_some());
}

#[test]
fn the_port_selects_the_protocol_unless_it_is_set() {
    const GRPC: &str = "--otlp-protocol=grpc";
    const HTTP: &str = "--otlp-protocol=http/protobuf";
    for (flags, url) in [
        (&["--otlp-endpoint=http://c:4317"][..], "http://c:4317/"),
        (&["--otlp-endpoint=c:4317"], "http://c:4317/"),
        (&["--otlp-endpoint=http://c:9", GRPC], "http://c:9/"),
    ] {
        let target = Some((url, Protocol::Grpc));
        check(flags, target, target);
    }
    for (flags, base) in [
        (&["--otlp-endpoint=http://c:4318"][..], "http://c:4318"),
        (&["--otlp-endpoint=http://c:4318/in/"], "http://c:4318/in"),
        (&["--otlp-endpoint=http://c:4317", HTTP], "http://c:4317"),
    ] {
        let (traces, metrics) = (format!("{base}/v1/traces"), format!("{base}/v1/metrics"));
        check(
            flags,
            Some((&traces, Protocol::HttpProtobuf)),
            Some((&metrics, Protocol::HttpProtobuf)),
        );
    }
}

#[test]
fn a_variable_of_one_signal_overrides_the_shared_variable() {
    let settings = parse(&[
        "--otlp-endpoint=http://c:4318",
        "--otlp-traces-endpoint=http://t:4318/the/whole/url",
        "--otlp-metrics-protocol=grpc",
        "--otlp-headers=a=1",
        "--otlp-traces-headers=b=2",
        "--otlp-timeout=2000",
        "--otlp-metrics-timeout=700",
    ]);
    let settings = settings.unwrap();
    let traces = settings.traces.unwrap().endpoint;
    assert_eq!(traces.url, "http://t:4318/the/whole/url");
    assert_eq!(traces.protocol, Protocol::HttpProtobuf);
    assert_eq!(traces.headers.len(), 1);
    assert_eq!(traces.headers.get("b").unwrap(), "2");
    assert_eq!(traces.timeout, Duration::from_secs(2));
    let metrics = settings.metrics.unwrap().endpoint;
    assert_eq!(metrics.url, "http://c:4318/");
    assert_eq!(metrics.protocol, Protocol::Grpc);
    assert!(metrics.headers.contains_key("a"));
    assert_eq!(metrics.timeout, Duration::from_millis(700));

    let only_traces = ["--otlp-traces-endpoint=http://t:4317"];
    check(&only_traces, Some(("http://t:4317/", Protocol::Grpc)), None);
}

#[test]
fn lists_are_decoded() {
    let settings = with_endpoint(&[
        "--resource-attributes=deployment.environment.name=lab, team=leak%20hunters%2C%20all ,",
        "--otlp-headers=authorization=Bearer%20abc",
    ]);
    let settings = settings.unwrap();
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
fn batches_and_intervals_have_defaults_and_bounds() {
    let defaults = with_endpoint(&[]).unwrap();
    let expected = BatchSettings {
        delay: Duration::from_secs(5),
        max_queue: 2048,
        max_batch: 512,
    };
    assert_eq!(defaults.traces.unwrap().batch, expected);
    assert_eq!(defaults.metrics.unwrap().interval, Duration::from_secs(15));

    let settings = with_endpoint(&[
        "--bsp-schedule-delay=200",
        "--bsp-max-queue-size=100",
        "--bsp-max-export-batch-size=500",
        "--bsp-export-timeout=300",
        "--metric-export-interval=1000",
    ]);
    let settings = settings.unwrap();
    let traces = settings.traces.unwrap();
    let expected = BatchSettings {
        delay: Duration::from_millis(200),
        max_queue: 100,
        max_batch: 100,
    };
    assert_eq!(traces.batch, expected);
    assert_eq!(traces.endpoint.timeout, Duration::from_millis(300));
    assert_eq!(settings.metrics.unwrap().interval, Duration::from_secs(1));
}

#[test]
fn samplers_have_the_names_of_the_specification() {
    for (name, ratio, expected) in [
        ("", "", "ParentBased(AlwaysOn)"),
        ("always_on", "", "AlwaysOn"),
        ("always_off", "", "AlwaysOff"),
        ("traceidratio", "0.25", "TraceIdRatioBased(0.25)"),
        ("traceidratio", "", "TraceIdRatioBased(1.0)"),
        ("parentbased_always_off", "", "ParentBased(AlwaysOff)"),
        (
            "parentbased_traceidratio",
            "0.5",
            "ParentBased(TraceIdRatioBased(0.5))",
        ),
    ] {
        let settings = with_endpoint(&[
            &format!("--traces-sampler={name}"),
            &format!("--traces-sampler-arg={ratio}"),
        ]);
        let sampler = settings.unwrap().traces.unwrap().sampler;
        assert_eq!(format!("{sampler:?}"), expected);
    }
}

#[test]
fn errors_name_the_variable() {
    for (flag, message) in [
        (
            "--otlp-traces-endpoint=https://c:4317",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: https is not supported: send to a local collector \
             over http, which can forward over TLS",
        ),
        (
            "--otlp-metrics-endpoint=ftp://c",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `ftp://c` is not a URL such as \
             http://localhost:4317",
        ),
        (
            "--otlp-protocol=http/json",
            "OTEL_EXPORTER_OTLP_PROTOCOL: `http/json` is not one of grpc, http/protobuf",
        ),
        (
            "--otlp-headers=secret",
            "OTEL_EXPORTER_OTLP_HEADERS: is not a list of name=value",
        ),
        (
            "--otlp-headers=a b=1",
            "OTEL_EXPORTER_OTLP_HEADERS: `a b` is not a header or its value is not valid",
        ),
        (
            "--bsp-schedule-delay=5s",
            "OTEL_BSP_SCHEDULE_DELAY: `5s` is not a whole number",
        ),
        (
            "--bsp-max-queue-size=0",
            "OTEL_BSP_MAX_QUEUE_SIZE: must be from 1 to 1000000",
        ),
        (
            "--traces-exporter=zipkin",
            "OTEL_TRACES_EXPORTER: `zipkin` is not one of otlp, none",
        ),
        (
            "--traces-sampler=xray",
            "OTEL_TRACES_SAMPLER: `xray` is not one of always_on, always_off, traceidratio, \
             parentbased_always_on, parentbased_always_off, parentbased_traceidratio",
        ),
    ] {
        assert_eq!(with_endpoint(&[flag]).unwrap_err().to_string(), message);
    }
    let ratio = ["--traces-sampler=traceidratio", "--traces-sampler-arg=2"];
    assert_eq!(
        with_endpoint(&ratio).unwrap_err().to_string(),
        "OTEL_TRACES_SAMPLER_ARG: must be a number from 0 to 1"
    );
    let shared = parse(&["--otlp-endpoint=https://c:4317"]).unwrap_err();
    assert!(
        shared
            .to_string()
            .starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: ")
    );
}

#[test]
fn the_short_help_shows_the_endpoint_and_the_protocol() {
    let command = TelemetryOptions::augment_args(Command::new("test"));
    let short = command.clone().render_help().to_string();
    assert!(short.contains("--otlp-endpoint <URL>"), "{short}");
    assert!(short.contains("--otlp-protocol <PROTOCOL>"), "{short}");
    assert!(!short.contains("--otlp-timeout"), "{short}");
    let long = command.clone().render_long_help().to_string();
    assert_eq!(long.matches("[env: OTEL_").count(), 24, "{long}");
}
