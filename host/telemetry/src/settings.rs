//! Telemetry settings, checked.

mod variable;

use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderMap, Uri};
use opentelemetry_sdk::trace::Sampler;

use super::options::TelemetryOptions;
pub use variable::SettingsError;
use variable::Variable;

/// The port that OTLP over gRPC is registered for.
const GRPC_PORT: u16 = 4317;

/// What is sent, and where to.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// `None`: no traces.
    pub traces: Option<TraceSettings>,
    /// `None`: no metrics.
    pub metrics: Option<MetricSettings>,
    /// Attributes of the service, beside its name and version.
    pub resource: Vec<(String, String)>,
}

/// Traces.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Where to.
    pub endpoint: OtlpEndpoint,
    /// Which ones.
    pub sampler: Sampler,
    /// How they wait.
    pub(crate) batch: BatchSettings,
}

/// How spans wait for their export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchSettings {
    /// The time between two exports.
    pub(crate) delay: Duration,
    /// Spans that may wait, at least 1.
    pub(crate) max_queue: usize,
    /// Spans that go out at once, 1 to `max_queue`.
    pub(crate) max_batch: usize,
}

/// Metrics.
#[derive(Debug, Clone)]
pub struct MetricSettings {
    /// Where to.
    pub endpoint: OtlpEndpoint,
    /// The time between two exports.
    pub interval: Duration,
}

/// A collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    /// For gRPC the base, for HTTP the whole URL of the signal.
    pub url: Uri,
    /// How to talk to it.
    pub(crate) protocol: Protocol,
    /// Sent along with each request.
    pub headers: HeaderMap,
    /// The longest that one request may take.
    pub timeout: Duration,
}

/// An OTLP transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with binary protobuf.
    HttpProtobuf,
}

/// One signal's own variables, and those it shares.
struct Signal<'a> {
    path: &'static str,
    endpoint: Variable<'a>,
    protocol: Variable<'a>,
    headers: Variable<'a>,
    timeout: Variable<'a>,
    exporter: Variable<'a>,
}

impl TelemetrySettings {
    /// Nothing is sent.
    pub(crate) fn off() -> Self {
        Self {
            traces: None,
            metrics: None,
            resource: Vec::new(),
        }
    }

    pub(super) fn from_options(options: &TelemetryOptions) -> Result<Self, SettingsError> {
        let disabled = Variable::new("OTEL_SDK_DISABLED", &options.otel_disabled);
        if disabled
            .value
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        {
            return Ok(Self::off());
        }
        let resource =
            Variable::new("OTEL_RESOURCE_ATTRIBUTES", &options.resource_attributes).pairs()?;
        let traces = Signal {
            path: "v1/traces",
            endpoint: Variable::new(
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                &options.otlp_traces_endpoint,
            ),
            protocol: Variable::new(
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                &options.otlp_traces_protocol,
            ),
            headers: Variable::new(
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                &options.otlp_traces_headers,
            ),
            timeout: Variable::new(
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
                &options.otlp_traces_timeout,
            ),
            exporter: Variable::new("OTEL_TRACES_EXPORTER", &options.traces_exporter),
        };
        let metrics = Signal {
            path: "v1/metrics",
            endpoint: Variable::new(
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                &options.otlp_metrics_endpoint,
            ),
            protocol: Variable::new(
                "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
                &options.otlp_metrics_protocol,
            ),
            headers: Variable::new(
                "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
                &options.otlp_metrics_headers,
            ),
            timeout: Variable::new(
                "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
                &options.otlp_metrics_timeout,
            ),
            exporter: Variable::new("OTEL_METRICS_EXPORTER", &options.metrics_exporter),
        };
        Ok(Self {
            traces: TraceSettings::of(&traces, options)?,
            metrics: MetricSettings::of(&metrics, options)?,
            resource,
        })
    }
}

impl TraceSettings {
    fn of(signal: &Signal<'_>, options: &TelemetryOptions) -> Result<Option<Self>, SettingsError> {
        let Some(mut endpoint) = OtlpEndpoint::of(signal, options)? else {
            return Ok(None);
        };
        let most =
            Variable::new("OTEL_BSP_EXPORT_TIMEOUT", &options.bsp_export_timeout).millis(30_000)?;
        endpoint.timeout = endpoint.timeout.min(most);
        let batch = BatchSettings {
            delay: Variable::new("OTEL_BSP_SCHEDULE_DELAY", &options.bsp_schedule_delay)
                .millis(5_000)?,
            max_queue: Variable::new("OTEL_BSP_MAX_QUEUE_SIZE", &options.bsp_max_queue_size)
                .count(2_048)?,
            max_batch: Variable::new(
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                &options.bsp_max_export_batch_size,
            )
            .count(512)?,
        };
        let batch = BatchSettings {
            max_batch: batch.max_batch.min(batch.max_queue),
            ..batch
        };
        Ok(Some(Self {
            endpoint,
            sampler: sampler(options)?,
            batch,
        }))
    }
}

impl MetricSettings {
    fn of(signal: &Signal<'_>, options: &TelemetryOptions) -> Result<Option<Self>, SettingsError> {
        let Some(mut endpoint) = OtlpEndpoint::of(signal, options)? else {
            return Ok(None);
        };
        let most = Variable::new("OTEL_METRIC_EXPORT_TIMEOUT", &options.metric_export_timeout)
            .millis(30_000)?;
        endpoint.timeout = endpoint.timeout.min(most);
        let interval = Variable::new(
            "OTEL_METRIC_EXPORT_INTERVAL",
            &options.metric_export_interval,
        )
        .millis(15_000)?;
        Ok(Some(Self { endpoint, interval }))
    }
}

impl OtlpEndpoint {
    fn of(signal: &Signal<'_>, options: &TelemetryOptions) -> Result<Option<Self>, SettingsError> {
        match signal.exporter.value {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => {
                return Err(signal
                    .exporter
                    .refuse(format!("`{other}` is not one of otlp, none")));
            }
        }
        let base = Variable::new("OTEL_EXPORTER_OTLP_ENDPOINT", &options.otlp_endpoint);
        let endpoint = signal.endpoint.or(base);
        let Some(text) = endpoint.value else {
            return Ok(None);
        };
        let url = parse_url(endpoint, text)?;
        let protocol = signal.protocol.or(Variable::new(
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            &options.otlp_protocol,
        ));
        let protocol = match protocol.value {
            Some("grpc") => Protocol::Grpc,
            Some("http/protobuf") => Protocol::HttpProtobuf,
            Some(other) => {
                return Err(protocol.refuse(format!("`{other}` is not one of grpc, http/protobuf")));
            }
            None if url.port_u16() == Some(GRPC_PORT) => Protocol::Grpc,
            None => Protocol::HttpProtobuf,
        };
        // A signal's own HTTP endpoint is taken as it is; the shared one gets the signal's path.
        let url = if protocol == Protocol::HttpProtobuf && signal.endpoint.value.is_none() {
            let whole = format!("{}/{}", url.to_string().trim_end_matches('/'), signal.path);
            parse_url(endpoint, &whole)?
        } else {
            url
        };
        let headers = signal.headers.or(Variable::new(
            "OTEL_EXPORTER_OTLP_HEADERS",
            &options.otlp_headers,
        ));
        let timeout = signal.timeout.or(Variable::new(
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            &options.otlp_timeout,
        ));
        Ok(Some(Self {
            url,
            protocol,
            headers: headers.header_map()?,
            timeout: timeout.millis(10_000)?,
        }))
    }
}

fn parse_url(variable: Variable<'_>, text: &str) -> Result<Uri, SettingsError> {
    // gRPC endpoints are often written without a scheme.
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url = Uri::from_str(&text)
        .map_err(|error| variable.refuse(format!("`{text}` is not a URL: {error}")))?;
    match url.scheme_str() {
        Some("http") if url.host().is_some_and(|host| !host.is_empty()) => Ok(url),
        Some("https") => Err(variable.refuse(
            "https is not built in: send to a collector nearby over http and let it speak TLS"
                .to_owned(),
        )),
        _ => Err(variable.refuse(format!(
            "`{text}` is not a URL such as http://localhost:4317"
        ))),
    }
}

fn sampler(options: &TelemetryOptions) -> Result<Sampler, SettingsError> {
    let variable = Variable::new("OTEL_TRACES_SAMPLER", &options.traces_sampler);
    let argument = Variable::new("OTEL_TRACES_SAMPLER_ARG", &options.traces_sampler_arg);
    let ratio = || match argument.value.map(str::parse::<f64>) {
        None => Ok(1.0),
        Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        Some(_) => Err(argument.refuse("must be a number from 0 to 1".to_owned())),
    };
    let parent_based = |root| Sampler::ParentBased(Box::new(root));
    match variable.value.unwrap_or("parentbased_always_on") {
        "always_on" => Ok(Sampler::AlwaysOn),
        "always_off" => Ok(Sampler::AlwaysOff),
        "traceidratio" => Ok(Sampler::TraceIdRatioBased(ratio()?)),
        "parentbased_always_on" => Ok(parent_based(Sampler::AlwaysOn)),
        "parentbased_always_off" => Ok(parent_based(Sampler::AlwaysOff)),
        "parentbased_traceidratio" => Ok(parent_based(Sampler::TraceIdRatioBased(ratio()?))),
        other => Err(variable.refuse(format!(
            "`{other}` is not one of always_on, always_off, traceidratio, parentbased_always_on, \
             parentbased_always_off, parentbased_traceidratio"
        ))),
    }
}

#[cfg(test)]
mod tests;
