//! What the service tells the outside: metrics, traces, logs.
//!
//! [`metrics`] are always there, to be scraped. Traces, and a copy of the metrics, go to an
//! OpenTelemetry collector if an endpoint is set; without one no task runs and no span is made. The
//! collector is never waited for: what cannot be sent waits in a bounded queue, whose size the memory
//! ledger shows, and then is dropped and counted.

pub mod context;
pub mod guard;
mod log_trace;
pub mod logs;
pub mod metrics;
pub mod options;
mod otlp;
mod otlp_metrics;
mod outage;
pub mod settings;
mod span_queue;
pub mod traces;

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;

use guard::TelemetryGuard;
use metrics::family::AnyFamily;
use otlp::OtlpClient;
pub use otlp::OtlpClientError;
use otlp_metrics::{MetricSender, text_attribute};
use outage::OutageLog;
use settings::TelemetrySettings;
pub use span_queue::QueueUsage;
use span_queue::span_queue;
use traces::Tracer;

/// The instrumentation scope of every span and metric.
const SCOPE_NAME: &str = "leak-host";

/// The sending side of telemetry.
#[derive(Debug)]
pub struct Telemetry {
    tracer: Tracer,
    queue: Arc<QueueUsage>,
    guard: TelemetryGuard,
}

impl Telemetry {
    /// Starts what the settings ask for, within a Tokio runtime. `service` and `version` name the
    /// service in the collector; they win over `OTEL_RESOURCE_ATTRIBUTES`. `gather` brings the metrics
    /// up to date and answers them, as for a scrape; it is called before each push and must not block.
    ///
    /// # Errors
    /// When a client cannot be made. That the collector is away is no error.
    pub fn start(
        settings: TelemetrySettings,
        service: &str,
        version: &str,
        gather: impl Fn() -> Vec<Arc<dyn AnyFamily>> + Send + Sync + 'static,
    ) -> Result<Self, OtlpClientError> {
        let resource = resource(&settings.resource, service, version);
        let outage = Arc::new(OutageLog::default());
        let mut telemetry = Self {
            tracer: Tracer::off(),
            queue: Arc::default(),
            guard: TelemetryGuard::default(),
        };
        if let Some(traces) = settings.traces {
            let client = OtlpClient::new(traces.endpoint)?;
            let attributes = ResourceAttributesWithSchema::from(&resource);
            let (queue, sender) = span_queue(traces.batch, client, attributes, Arc::clone(&outage));
            telemetry.queue = queue.usage();
            telemetry.tracer = Tracer::recording(queue, traces.sampler, resource.clone());
            telemetry.guard.run(sender.run(telemetry.guard.stop()));
        }
        if let Some(push) = settings.metrics {
            let client = OtlpClient::new(push.endpoint.clone())?;
            let attributes = resource
                .iter()
                .map(|(key, value)| text_attribute(key.as_str(), &value.as_str()))
                .collect();
            let sender = MetricSender::new(gather, &push, client, attributes, outage);
            telemetry.guard.run(sender.run(telemetry.guard.stop()));
        }
        Ok(telemetry)
    }

    /// Starts the spans of requests. Cheap to clone.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// How full the queue is, for the ledger; empty for ever when nothing is sent.
    pub fn queue(&self) -> Arc<QueueUsage> {
        Arc::clone(&self.queue)
    }

    /// Sends what is left, for at most [`guard::FLUSH_TIMEOUT`]; answers whether that was time enough. A
    /// collector that refuses at once is no reason to wait.
    pub async fn flush(self) -> bool {
        self.guard.flush().await
    }
}

/// The service's identity in all telemetry.
fn resource(attributes: &[(String, String)], service: &str, version: &str) -> Resource {
    Resource::builder_empty()
        .with_attributes(
            attributes
                .iter()
                .map(|(key, value)| KeyValue::new(key.clone(), value.clone())),
        )
        .with_attributes([
            KeyValue::new("service.name", service.to_owned()),
            KeyValue::new("service.version", version.to_owned()),
            KeyValue::new("telemetry.sdk.language", "rust"),
            KeyValue::new("telemetry.sdk.name", "opentelemetry"),
        ])
        .build()
}
