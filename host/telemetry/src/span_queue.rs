//! Finished spans on their way to the collector.
//!
//! A request puts its spans into a bounded queue and continues. A task exports them in batches.
//! While the collector is absent or slow, the queue fills, and further spans are dropped and
//! counted. A request never waits, and the memory ledger shows the bytes of the queue
//! ([`QueueUsage`]).
//!
//! The SDK's `BatchSpanProcessor` 0.33 cannot replace this queue:
//! - It bounds the number of spans and not their bytes, and it publishes neither. A wrapper that
//!   counts bytes has to repeat the bound, because the processor does not report which spans it
//!   drops.
//! - It exports a batch once. The exporter would have to retry while a collector restarts, and
//!   would need its own signal to stop at the shutdown. Only the timer would be left to the
//!   processor.
//! - It runs on its own thread, which cannot drive the asynchronous HTTP client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::otlp_client::OtlpClient;
use super::outage_log::OutageLog;
use super::settings::BatchSettings;

/// Bytes in the queue for any number of spans. The whole process often has only 256 MiB.
const MAX_QUEUE_BYTES: u64 = 4 << 20;

/// How long the task retries one batch. After that, newer spans are worth more.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(15);

/// Memory of the queue, including the batch that is being sent.
#[derive(Debug, Default)]
pub struct QueueUsage {
    bytes: AtomicUsize,
    /// Dropped spans that are not in the log yet.
    dropped: AtomicU64,
}

impl QueueUsage {
    /// Bytes of the queued spans, estimated from their attributes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) as u64
    }
}

#[derive(Debug)]
struct QueuedSpan {
    span: SpanData,
    /// Estimated.
    bytes: usize,
}

/// The sending half. The SDK calls it as a span processor.
#[derive(Debug)]
pub(crate) struct SpanQueue {
    spans: mpsc::Sender<QueuedSpan>,
    usage: Arc<QueueUsage>,
    batch_is_full: Arc<Notify>,
    max_batch: usize,
}

/// The receiving half, with the export to the collector.
#[derive(Debug)]
pub(crate) struct SpanExporter {
    spans: mpsc::Receiver<QueuedSpan>,
    usage: Arc<QueueUsage>,
    batch_is_full: Arc<Notify>,
    settings: BatchSettings,
    client: OtlpClient,
    resource: ResourceAttributesWithSchema,
    outage: Arc<OutageLog>,
}

/// Creates a queue and its exporter, which must run as a task.
pub(crate) fn span_queue(
    settings: BatchSettings,
    client: OtlpClient,
    resource: ResourceAttributesWithSchema,
    outage: Arc<OutageLog>,
) -> (SpanQueue, SpanExporter) {
    let (sender, receiver) = mpsc::channel(settings.max_queue);
    let queue = SpanQueue {
        spans: sender,
        usage: Arc::default(),
        batch_is_full: Arc::default(),
        max_batch: settings.max_batch,
    };
    let exporter = SpanExporter {
        spans: receiver,
        usage: Arc::clone(&queue.usage),
        batch_is_full: Arc::clone(&queue.batch_is_full),
        settings,
        client,
        resource,
        outage,
    };
    (queue, exporter)
}

impl SpanQueue {
    pub(crate) fn usage(&self) -> Arc<QueueUsage> {
        Arc::clone(&self.usage)
    }
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let bytes = estimated_bytes(&span);
        // Add the bytes before the span is in the queue: the exporter subtracts them after it.
        self.usage.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = self.usage.bytes() <= MAX_QUEUE_BYTES;
        if !fits || self.spans.try_send(QueuedSpan { span, bytes }).is_err() {
            self.usage.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.usage.dropped.fetch_add(1, Ordering::Relaxed);
        } else if self.spans.max_capacity() - self.spans.capacity() >= self.max_batch {
            self.batch_is_full.notify_one();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        // The export task flushes when it stops. No code calls this.
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl SpanExporter {
    /// Exports batches until `stop`. Then it exports the rest of the queue, without retries.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = sleep(self.settings.delay) => {}
                () = self.batch_is_full.notified() => {}
                () = stop.cancelled() => {}
            }
            // Read this before the queue is emptied: all spans until the stop are exported.
            let last = stop.is_cancelled();
            while self.export_batch(&stop).await {}
            if last {
                return;
            }
        }
    }

    /// Exports one batch. Returns whether it was full, so that more spans may be queued.
    async fn export_batch(&mut self, stop: &CancellationToken) -> bool {
        let mut spans = Vec::new();
        let mut bytes = 0;
        while spans.len() < self.settings.max_batch
            && let Ok(queued) = self.spans.try_recv()
        {
            bytes += queued.bytes;
            spans.push(queued.span);
        }
        let dropped = self.usage.dropped.swap(0, Ordering::Relaxed);
        self.outage.lost(self.client.url(), dropped);
        let count = spans.len();
        if count == 0 {
            return false;
        }
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let request = ExportTraceServiceRequest { resource_spans };
        let lost = self.send(&request, stop).await;
        let lost = lost.unwrap_or(count as u64);
        self.outage.lost(self.client.url(), lost);
        self.usage.bytes.fetch_sub(bytes, Ordering::Relaxed);
        count == self.settings.max_batch
    }

    /// Sends a request with retries. Returns how many spans the collector rejected, or `None` when
    /// all of them are lost.
    async fn send(
        &self,
        request: &ExportTraceServiceRequest,
        stop: &CancellationToken,
    ) -> Option<u64> {
        let deadline = Instant::now() + RETRY_TIMEOUT;
        let mut delay = FIRST_RETRY_DELAY;
        loop {
            let error = match self.client.send_traces(request).await {
                Ok(rejected) => return Some(rejected),
                Err(error) => error,
            };
            self.outage.export_failed(self.client.url(), &error);
            if !error.retryable || stop.is_cancelled() || Instant::now() + delay > deadline {
                return None;
            }
            tokio::select! {
                () = sleep(delay) => {}
                () = stop.cancelled() => {}
            }
            delay = (delay * 2).min(MAX_RETRY_DELAY);
        }
    }
}

/// The memory of a span: its structure, and what its attributes and events own.
fn estimated_bytes(span: &SpanData) -> usize {
    let events = span.events.iter();
    size_of::<QueuedSpan>()
        + span.name.len()
        + attribute_bytes(&span.attributes)
        + events
            .map(|event| size_of_val(event) + event.name.len() + attribute_bytes(&event.attributes))
            .sum::<usize>()
}

fn attribute_bytes(attributes: &[KeyValue]) -> usize {
    let text = |text: &StringValue| text.as_str().len();
    let owned = |attribute: &KeyValue| match &attribute.value {
        Value::String(value) => text(value),
        Value::Array(Array::String(values)) => values.iter().map(text).sum(),
        _ => 0,
    };
    size_of_val(attributes) + attributes.iter().map(owned).sum::<usize>()
}
