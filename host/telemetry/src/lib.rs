//! Metrics, traces, profiles and logs of the service, and their export over OTLP.
//!
//! The [`metrics`] exist in every run and can be scraped. The service exports traces and the same
//! metrics to an OpenTelemetry collector when an endpoint is set. Without an endpoint no task runs
//! and no span is recorded. The service never waits for the collector: finished spans are in a
//! bounded queue, which the memory ledger shows. A span that does not fit is dropped and counted.
//! Profiles are exported only on demand.

pub mod context;
mod export_tasks;
mod log_trace_id;
pub mod logs;
mod metric_exporter;
pub mod metrics;
pub mod options;
mod otlp_client;
mod outage_log;
pub mod profiles;
mod settings;
mod span_queue;
pub mod traces;
mod variable;

use std::sync::Arc;

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;

use export_tasks::ExportTasks;
use metric_exporter::MetricExporter;
use metrics::family::AnyFamily;
use otlp_client::OtlpClient;
pub use otlp_client::OtlpClientError;
use outage_log::OutageLog;
use profiles::{ProfileExporter, ProfileSource};
use settings::ProfileSettings;
pub use settings::TelemetrySettings;
pub use span_queue::QueueUsage;
use span_queue::span_queue;
use traces::Tracer;
pub use variable::SettingsError;

/// The instrumentation scope of every span and metric.
fn instrumentation_scope() -> InstrumentationScope {
    InstrumentationScope::builder("leak-host")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

/// The running export of traces, metrics and profiles.
#[derive(Debug)]
pub struct Telemetry {
    tracer: Tracer,
    queue_usage: Arc<QueueUsage>,
    tasks: ExportTasks,
    /// The export of profiles that has not started yet.
    profiles: Option<ProfileSettings>,
    resource: ProtoResource,
    outage: Arc<OutageLog>,
}

impl Telemetry {
    /// Starts the exports that the settings enable. Call it within a Tokio runtime.
    ///
    /// `service` and `version` identify the service in the collector, and override
    /// `OTEL_RESOURCE_ATTRIBUTES`. `gather` updates the metrics and returns them, as for a scrape.
    /// Each export of metrics calls it, and it must not block.
    ///
    /// # Errors
    /// When a client cannot be created. An absent collector is not an error.
    pub fn start(
        settings: TelemetrySettings,
        service: &str,
        version: &str,
        gather: impl Fn() -> Vec<Arc<dyn AnyFamily>> + Send + Sync + 'static,
    ) -> Result<Self, OtlpClientError> {
        let resource = resource(settings.resource, service, version);
        let outage = Arc::new(OutageLog::default());
        let mut telemetry = Self {
            tracer: Tracer::disabled(),
            queue_usage: Arc::default(),
            tasks: ExportTasks::default(),
            profiles: settings.profiles,
            resource: ProtoResource {
                attributes: ResourceAttributesWithSchema::from(&resource).attributes.0,
                ..ProtoResource::default()
            },
            outage: Arc::clone(&outage),
        };
        if let Some(traces) = settings.traces {
            let client = OtlpClient::new(traces.endpoint)?;
            let attributes = ResourceAttributesWithSchema::from(&resource);
            let (queue, exporter) =
                span_queue(traces.batch, client, attributes, Arc::clone(&outage));
            telemetry.queue_usage = queue.usage();
            telemetry.tracer = Tracer::recording(queue, traces.sampler, resource.clone());
            telemetry.tasks.spawn(|stop| exporter.run(stop));
        }
        if let Some(metrics) = settings.metrics {
            let exporter = MetricExporter {
                gather,
                client: OtlpClient::new(metrics.endpoint)?,
                interval: metrics.interval,
                resource: telemetry.resource.clone(),
                outage,
            };
            telemetry.tasks.spawn(|stop| exporter.run(stop));
        }
        Ok(telemetry)
    }

    /// Starts the export of profiles, if the settings enable it. Call it within a Tokio runtime.
    ///
    /// # Errors
    /// When the client cannot be created. A collector that takes no profiles is not an error.
    pub fn export_profiles(&mut self, source: impl ProfileSource) -> Result<(), OtlpClientError> {
        let Some(settings) = self.profiles.take() else {
            return Ok(());
        };
        let exporter = ProfileExporter {
            source,
            client: OtlpClient::new(settings.endpoint)?,
            interval: settings.interval,
            resource: self.resource.clone(),
            outage: Arc::clone(&self.outage),
        };
        self.tasks.spawn(|stop| exporter.run(stop));
        Ok(())
    }

    /// The tracer of requests.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// The memory of the span queue, for the ledger. It stays at 0 when traces are not exported.
    pub fn queue_usage(&self) -> Arc<QueueUsage> {
        Arc::clone(&self.queue_usage)
    }

    /// Exports the rest of the spans and metrics, for at most two seconds. Returns whether the
    /// exports ended in that time. They also end when the collector refuses the connection.
    pub async fn flush(self) -> bool {
        self.tasks.flush().await
    }
}

/// The identity of the service in all telemetry.
fn resource(attributes: Vec<(String, String)>, service: &str, version: &str) -> Resource {
    let attributes = attributes.into_iter();
    Resource::builder_empty()
        .with_attributes(attributes.map(|(key, value)| KeyValue::new(key, value)))
        .with_attributes([
            KeyValue::new("service.name", service.to_owned()),
            KeyValue::new("service.version", version.to_owned()),
            KeyValue::new("telemetry.sdk.language", "rust"),
            KeyValue::new("telemetry.sdk.name", "opentelemetry"),
        ])
        .build()
}
