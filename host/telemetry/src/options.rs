//! The standard OpenTelemetry variables as command-line options
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).
//!
//! An option is text here. The module `settings` parses the text and names the variable in its
//! errors. Only the argument parser reads the environment.

use clap::Args;

use super::variable::Variable;

/// Declares [`TelemetryOptions`]. Each option also gets an accessor that knows its variable's name.
macro_rules! telemetry_options {
    ($($(#[$attribute:meta])* $option:ident = $variable:literal;)+) => {
        /// Where telemetry goes. The host sends nothing without an endpoint.
        #[derive(Debug, Clone, Default, Args)]
        #[command(next_help_heading = "Telemetry (OTLP)")]
        pub struct TelemetryOptions {
            $(
                #[arg(long, env = $variable, hide_short_help = true)]
                $(#[$attribute])*
                pub(crate) $option: Option<String>,
            )+
        }

        impl TelemetryOptions {
            $(
                pub(crate) fn $option(&self) -> Variable<'_> {
                    Variable::new($variable, self.$option.as_deref())
                }
            )+
        }
    };
}

telemetry_options! {
    /// Endpoint of traces and metrics: http://localhost:4317 (gRPC) or http://localhost:4318 (HTTP)
    #[arg(hide_short_help = false, value_name = "URL")]
    otlp_endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";

    /// `grpc` or `http/protobuf` [gRPC for port 4317, HTTP for any other port]
    #[arg(hide_short_help = false, value_name = "PROTOCOL")]
    otlp_protocol = "OTEL_EXPORTER_OTLP_PROTOCOL";

    /// Headers for the collector: `name=value,…` with percent-encoded values
    #[arg(hide_env_values = true)]
    otlp_headers = "OTEL_EXPORTER_OTLP_HEADERS";

    /// Timeout of one export, in milliseconds [10000]
    otlp_timeout = "OTEL_EXPORTER_OTLP_TIMEOUT";

    /// Export of heap profiles by OTLP's signal `v1development`: `off`, `on` (every 60s), or the
    /// time between two exports, 10s to 1h [off]
    #[arg(
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "on"
    )]
    otlp_profiles = "LEAK_OTLP_PROFILES";

    /// Endpoint of traces, in place of the shared endpoint; for HTTP the whole URL
    otlp_traces_endpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

    /// Protocol for traces
    otlp_traces_protocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";

    /// Headers for traces
    #[arg(hide_env_values = true)]
    otlp_traces_headers = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";

    /// Timeout of one export of traces, in milliseconds
    otlp_traces_timeout = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";

    /// Endpoint of metrics, in place of the shared endpoint; for HTTP the whole URL
    otlp_metrics_endpoint = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";

    /// Protocol for metrics
    otlp_metrics_protocol = "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL";

    /// Headers for metrics
    #[arg(hide_env_values = true)]
    otlp_metrics_headers = "OTEL_EXPORTER_OTLP_METRICS_HEADERS";

    /// Timeout of one export of metrics, in milliseconds
    otlp_metrics_timeout = "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT";

    /// `otlp` or `none` [otlp]
    traces_exporter = "OTEL_TRACES_EXPORTER";

    /// `otlp` or `none` [otlp]
    metrics_exporter = "OTEL_METRICS_EXPORTER";

    /// Sampler of traces: `always_on`, `always_off`, `traceidratio`, or one of these after
    /// `parentbased_` [parentbased_always_on]
    traces_sampler = "OTEL_TRACES_SAMPLER";

    /// Ratio of traces that `traceidratio` samples, 0 to 1 [1]
    traces_sampler_arg = "OTEL_TRACES_SAMPLER_ARG";

    /// Attributes of this service in all telemetry: `name=value,…` with percent-encoded values
    resource_attributes = "OTEL_RESOURCE_ATTRIBUTES";

    /// `true` disables all export
    otel_disabled = "OTEL_SDK_DISABLED";

    /// Delay between two exports of spans, in milliseconds [5000]
    bsp_schedule_delay = "OTEL_BSP_SCHEDULE_DELAY";

    /// Timeout of one export of spans, in milliseconds [30000]
    bsp_export_timeout = "OTEL_BSP_EXPORT_TIMEOUT";

    /// Queued spans at most; further spans are dropped and counted [2048]
    bsp_max_queue_size = "OTEL_BSP_MAX_QUEUE_SIZE";

    /// Spans of one export at most [512]
    bsp_max_export_batch_size = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";

    /// Interval of the export of metrics, in milliseconds [15000]
    metric_export_interval = "OTEL_METRIC_EXPORT_INTERVAL";

    /// Timeout of one export of metrics, in milliseconds [30000]
    metric_export_timeout = "OTEL_METRIC_EXPORT_TIMEOUT";
}
