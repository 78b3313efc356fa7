//! The standard OpenTelemetry variables as command-line options.
//!
//! Every variable is text here and checked in [`TelemetryOptions::settings`], which names the variable
//! in its errors; a variable that is set but empty counts as not set, as the specification wants
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>). Nothing in
//! this module reads the environment: that is the argument parser's part.

use clap::Args;

use super::settings::{SettingsError, TelemetrySettings};

/// Where telemetry goes. Without an endpoint, nowhere.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Telemetry (OTLP)")]
pub struct TelemetryOptions {
    /// Where to send traces and metrics: http://localhost:4317 (gRPC) or http://localhost:4318 (HTTP)
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,

    /// `grpc` or `http/protobuf`; by default gRPC for port 4317 and HTTP for any other
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", value_name = "PROTOCOL")]
    pub(crate) otlp_protocol: Option<String>,

    /// Headers for the collector: `name=value,…`, values percent-encoded
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_HEADERS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) otlp_headers: Option<String>,

    /// The longest that one export may take, in milliseconds [10000]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TIMEOUT", hide_short_help = true)]
    pub(crate) otlp_timeout: Option<String>,

    /// Where to send traces, if not to the endpoint above; for HTTP the whole URL
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        hide_short_help = true
    )]
    pub(crate) otlp_traces_endpoint: Option<String>,

    /// The protocol for traces
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        hide_short_help = true
    )]
    pub(crate) otlp_traces_protocol: Option<String>,

    /// Headers for traces
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) otlp_traces_headers: Option<String>,

    /// The longest that one export of traces may take, in milliseconds
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        hide_short_help = true
    )]
    pub(crate) otlp_traces_timeout: Option<String>,

    /// Where to send metrics, if not to the endpoint above; for HTTP the whole URL
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        hide_short_help = true
    )]
    pub(crate) otlp_metrics_endpoint: Option<String>,

    /// The protocol for metrics
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        hide_short_help = true
    )]
    pub(crate) otlp_metrics_protocol: Option<String>,

    /// Headers for metrics
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) otlp_metrics_headers: Option<String>,

    /// The longest that one export of metrics may take, in milliseconds
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
        hide_short_help = true
    )]
    pub(crate) otlp_metrics_timeout: Option<String>,

    /// `otlp` or `none` [otlp]
    #[arg(long, env = "OTEL_TRACES_EXPORTER", hide_short_help = true)]
    pub(crate) traces_exporter: Option<String>,

    /// `otlp` or `none` [otlp]
    #[arg(long, env = "OTEL_METRICS_EXPORTER", hide_short_help = true)]
    pub(crate) metrics_exporter: Option<String>,

    /// Which traces to keep: `always_on`, `always_off`, `traceidratio` or one of these with
    /// `parentbased_` in front [parentbased_always_on]
    #[arg(long, env = "OTEL_TRACES_SAMPLER", hide_short_help = true)]
    pub(crate) traces_sampler: Option<String>,

    /// The share of traces that `traceidratio` keeps, 0 to 1 [1]
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", hide_short_help = true)]
    pub(crate) traces_sampler_arg: Option<String>,

    /// Attributes of this service in all telemetry: `name=value,…`, values percent-encoded
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", hide_short_help = true)]
    pub(crate) resource_attributes: Option<String>,

    /// `true` switches all of it off, whatever else is set
    #[arg(long, env = "OTEL_SDK_DISABLED", hide_short_help = true)]
    pub(crate) otel_disabled: Option<String>,

    /// The time between two exports of spans, in milliseconds [5000]
    #[arg(long, env = "OTEL_BSP_SCHEDULE_DELAY", hide_short_help = true)]
    pub(crate) bsp_schedule_delay: Option<String>,

    /// The longest that one export of spans may take, in milliseconds [30000]
    #[arg(long, env = "OTEL_BSP_EXPORT_TIMEOUT", hide_short_help = true)]
    pub(crate) bsp_export_timeout: Option<String>,

    /// How many spans may wait; more are dropped and counted [2048]
    #[arg(long, env = "OTEL_BSP_MAX_QUEUE_SIZE", hide_short_help = true)]
    pub(crate) bsp_max_queue_size: Option<String>,

    /// How many spans go out at once [512]
    #[arg(long, env = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", hide_short_help = true)]
    pub(crate) bsp_max_export_batch_size: Option<String>,

    /// The time between two exports of metrics, in milliseconds [15000]
    #[arg(long, env = "OTEL_METRIC_EXPORT_INTERVAL", hide_short_help = true)]
    pub(crate) metric_export_interval: Option<String>,

    /// The longest that one export of metrics may take, in milliseconds [30000]
    #[arg(long, env = "OTEL_METRIC_EXPORT_TIMEOUT", hide_short_help = true)]
    pub(crate) metric_export_timeout: Option<String>,
}

impl TelemetryOptions {
    /// Checks the options.
    ///
    /// # Errors
    /// Names the variable and what it may be.
    pub fn settings(&self) -> Result<TelemetrySettings, SettingsError> {
        TelemetrySettings::from_options(self)
    }
}
