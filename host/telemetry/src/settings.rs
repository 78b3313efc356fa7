//! Telemetry settings, parsed from the options.
//!
//! The SDK and `opentelemetry-otlp` 0.33 parse the same variables, but they cannot do it for this
//! service:
//! - They read the environment themselves. A command-line flag has no effect on them.
//! - They replace a wrong value by a default: an unknown `OTEL_TRACES_SAMPLER` becomes
//!   `parentbased_always_on`, a malformed header is left out. Here it is an error at the start that
//!   names the variable.
//! - They use `http://localhost:4317` or `:4318` when no endpoint is set. Here nothing starts.
//! - The SDK does not decode the percent-encoding of `OTEL_RESOURCE_ATTRIBUTES`.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::http::{HeaderMap, Uri};
use opentelemetry_sdk::trace::Sampler;

use super::options::TelemetryOptions;
use super::variable::{SettingsError, Variable};

/// The registered port of OTLP over gRPC.
const GRPC_PORT: u16 = 4317;

/// The time between two exports of profiles, and its range.
const PROFILE_INTERVAL: Duration = Duration::from_secs(60);
const PROFILE_INTERVALS: RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(3_600);

const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// What the service exports, and to which collector.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    pub(crate) traces: Option<TraceSettings>,
    pub(crate) metrics: Option<MetricSettings>,
    pub(crate) profiles: Option<ProfileSettings>,
    /// Attributes of the service in addition to its name and version.
    pub(crate) resource: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
pub(crate) struct TraceSettings {
    pub(crate) endpoint: OtlpEndpoint,
    pub(crate) sampler: Sampler,
    pub(crate) batch: BatchSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchSettings {
    /// Time between two exports.
    pub(crate) delay: Duration,
    /// Queued spans, at least 1.
    pub(crate) max_queue: usize,
    /// Spans of one export, 1 to `max_queue`.
    pub(crate) max_batch: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct MetricSettings {
    pub(crate) endpoint: OtlpEndpoint,
    /// Time between two exports.
    pub(crate) interval: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct ProfileSettings {
    pub(crate) endpoint: OtlpEndpoint,
    /// Time between two exports.
    pub(crate) interval: Duration,
}

/// A collector's endpoint for one signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtlpEndpoint {
    /// For gRPC the base URL, for HTTP the whole URL of the signal.
    pub(crate) url: Uri,
    pub(crate) protocol: Protocol,
    /// Headers of each request.
    pub(crate) headers: HeaderMap,
    /// Timeout of one request.
    pub(crate) timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// The variables of one signal.
struct Signal<'a> {
    /// Path below a shared HTTP endpoint.
    path: &'static str,
    exporter: Variable<'a>,
    endpoint: Variable<'a>,
    protocol: Variable<'a>,
    headers: Variable<'a>,
    timeout: Variable<'a>,
    /// Timeout of one export by the SDK's variables. The shorter timeout applies.
    export_timeout: Variable<'a>,
}

impl TelemetryOptions {
    /// Parses the options.
    ///
    /// # Errors
    /// When a value cannot be used. The error names the variable.
    pub fn settings(&self) -> Result<TelemetrySettings, SettingsError> {
        let disabled = self.otel_disabled().value;
        if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(TelemetrySettings {
                traces: None,
                metrics: None,
                profiles: None,
                resource: Vec::new(),
            });
        }
        Ok(TelemetrySettings {
            resource: self.resource_attributes().pairs()?,
            traces: self.traces()?,
            metrics: self.metrics()?,
            profiles: self.profiles()?,
        })
    }

    fn traces(&self) -> Result<Option<TraceSettings>, SettingsError> {
        let endpoint = self.endpoint(&Signal {
            path: "/v1/traces",
            exporter: self.traces_exporter(),
            endpoint: self.otlp_traces_endpoint(),
            protocol: self.otlp_traces_protocol(),
            headers: self.otlp_traces_headers(),
            timeout: self.otlp_traces_timeout(),
            export_timeout: self.bsp_export_timeout(),
        })?;
        let Some(endpoint) = endpoint else {
            return Ok(None);
        };
        let max_queue = self.bsp_max_queue_size().count(2_048)?;
        let max_batch = self.bsp_max_export_batch_size().count(512)?;
        Ok(Some(TraceSettings {
            endpoint,
            sampler: self.sampler()?,
            batch: BatchSettings {
                delay: self.bsp_schedule_delay().millis(5_000)?,
                max_queue,
                max_batch: max_batch.min(max_queue),
            },
        }))
    }

    fn metrics(&self) -> Result<Option<MetricSettings>, SettingsError> {
        let endpoint = self.endpoint(&Signal {
            path: "/v1/metrics",
            exporter: self.metrics_exporter(),
            endpoint: self.otlp_metrics_endpoint(),
            protocol: self.otlp_metrics_protocol(),
            headers: self.otlp_metrics_headers(),
            timeout: self.otlp_metrics_timeout(),
            export_timeout: self.metric_export_timeout(),
        })?;
        let Some(endpoint) = endpoint else {
            return Ok(None);
        };
        let interval = self.metric_export_interval().millis(15_000)?;
        Ok(Some(MetricSettings { endpoint, interval }))
    }

    /// The specification has no variables for profiles yet, so only the shared ones apply.
    fn profiles(&self) -> Result<Option<ProfileSettings>, SettingsError> {
        let option = self.otlp_profiles();
        let Some(interval) = option.interval(PROFILE_INTERVAL, &PROFILE_INTERVALS)? else {
            return Ok(None);
        };
        let unset = Variable::new("OTEL_EXPORTER_OTLP_PROFILES", None);
        let endpoint = self.endpoint(&Signal {
            path: "/v1development/profiles",
            exporter: unset,
            endpoint: unset,
            protocol: unset,
            headers: unset,
            timeout: unset,
            export_timeout: unset,
        })?;
        match endpoint {
            Some(endpoint) => Ok(Some(ProfileSettings { endpoint, interval })),
            None => option.error("needs a collector: set OTEL_EXPORTER_OTLP_ENDPOINT"),
        }
    }

    /// The endpoint of a signal; `None` when the signal is not exported.
    fn endpoint(&self, signal: &Signal<'_>) -> Result<Option<OtlpEndpoint>, SettingsError> {
        if signal.exporter.one_of(&["otlp", "none"])? == Some("none") {
            return Ok(None);
        }
        let endpoint = signal.endpoint.or(self.otlp_endpoint());
        let Some(text) = endpoint.value else {
            return Ok(None);
        };
        let mut url = endpoint.parse_url(text)?;
        let protocol = signal.protocol.or(self.otlp_protocol());
        let protocol = match protocol.one_of(&["grpc", "http/protobuf"])? {
            Some("grpc") => Protocol::Grpc,
            None if url.port_u16() == Some(GRPC_PORT) => Protocol::Grpc,
            _ => Protocol::HttpProtobuf,
        };
        // The HTTP endpoint of a signal is the whole URL. The shared endpoint is a base.
        if protocol == Protocol::HttpProtobuf && signal.endpoint.value.is_none() {
            let base = url.to_string();
            url = endpoint.parse_url(&format!("{}{}", base.trim_end_matches('/'), signal.path))?;
        }
        let timeout = signal.timeout.or(self.otlp_timeout()).millis(10_000)?;
        Ok(Some(OtlpEndpoint {
            url,
            protocol,
            headers: signal.headers.or(self.otlp_headers()).headers()?,
            timeout: timeout.min(signal.export_timeout.millis(30_000)?),
        }))
    }

    fn sampler(&self) -> Result<Sampler, SettingsError> {
        let name = self.traces_sampler().one_of(&SAMPLERS)?;
        let name = name.unwrap_or("parentbased_always_on");
        let root = name.strip_prefix("parentbased_");
        let sampler = match root.unwrap_or(name) {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            _ => Sampler::TraceIdRatioBased(self.traces_sampler_arg().ratio()?),
        };
        Ok(match root {
            Some(_) => Sampler::ParentBased(Box::new(sampler)),
            None => sampler,
        })
    }
}

#[cfg(test)]
mod tests;
