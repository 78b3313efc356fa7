//! Finished spans on their way to the collector.
//!
//! A request puts its spans into a bounded queue and goes on; a task takes them out in batches. When
//! the collector is away or slow the queue fills and further spans are counted and dropped: a request
//! never waits, and memory has a bound that can be read at any time ([`QueueUsage`]). The SDK's own
//! batch processor does the same but tells neither how much is waiting nor how much was dropped, and
//! the memory ledger needs to know.

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

use super::otlp::OtlpClient;
use super::outage::OutageLog;
use super::settings::BatchSettings;

/// Bytes that may wait, whatever the number of spans: a lab's limit is 256 MiB in all.
const MAX_QUEUE_BYTES: u64 = 4 << 20;

/// A batch that the collector does not take for so long is given up: what follows is newer.
const RETRY_FOR: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(15);

/// How full the queue is, the batch that is being sent included.
#[derive(Debug, Default)]
pub struct QueueUsage {
    spans: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl QueueUsage {
    /// Bytes of the spans that wait, estimated from their attributes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) as u64
    }

    fn add(&self, bytes: usize) -> usize {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.spans.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn remove(&self, spans: usize, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.spans.fetch_sub(spans, Ordering::Relaxed);
    }
}

/// A span and its estimated size.
#[derive(Debug)]
struct Waiting {
    span: SpanData,
    bytes: usize,
}

/// The end that spans are put in at: the SDK's span processor.
#[derive(Debug)]
pub(crate) struct SpanQueue {
    sender: mpsc::Sender<Waiting>,
    usage: Arc<QueueUsage>,
    batch_is_full: Arc<Notify>,
    max_batch: usize,
}

/// The end that spans are taken out at.
#[derive(Debug)]
pub(crate) struct SpanSender {
    receiver: mpsc::Receiver<Waiting>,
    usage: Arc<QueueUsage>,
    batch_is_full: Arc<Notify>,
    settings: BatchSettings,
    client: OtlpClient,
    resource: ResourceAttributesWithSchema,
    outage: Arc<OutageLog>,
}

/// Makes a queue: the end for the SDK, and the end to run as a task.
pub(crate) fn span_queue(
    settings: BatchSettings,
    client: OtlpClient,
    resource: ResourceAttributesWithSchema,
    outage: Arc<OutageLog>,
) -> (SpanQueue, SpanSender) {
    let (sender, receiver) = mpsc::channel(settings.max_queue);
    let usage = Arc::new(QueueUsage::default());
    let batch_is_full = Arc::new(Notify::new());
    let queue = SpanQueue {
        sender,
        usage: Arc::clone(&usage),
        batch_is_full: Arc::clone(&batch_is_full),
        max_batch: settings.max_batch,
    };
    (
        queue,
        SpanSender {
            receiver,
            usage,
            batch_is_full,
            settings,
            client,
            resource,
            outage,
        },
    )
}

impl SpanQueue {
    /// How full it is, for the ledger.
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
        // Counted before it is in, or the other end could take it off first.
        let spans = self.usage.add(bytes);
        let fits = self.usage.bytes() <= MAX_QUEUE_BYTES;
        if !fits || self.sender.try_send(Waiting { span, bytes }).is_err() {
            self.usage.remove(1, bytes);
            self.usage.dropped.fetch_add(1, Ordering::Relaxed);
        } else if spans >= self.max_batch {
            self.batch_is_full.notify_one();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        // The sending task flushes when it is told to end; nothing else asks.
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl SpanSender {
    /// Sends batches until `stop`, then what is left, once and without retries.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = sleep(self.settings.delay) => {}
                () = self.batch_is_full.notified() => {}
                () = stop.cancelled() => {}
            }
            // Asked before the queue is emptied, so that what came in until then is sent.
            let last = stop.is_cancelled();
            while self.send_batch(&stop).await {}
            if last {
                return;
            }
        }
    }

    /// Sends one batch; answers whether it was a full one, so that more may be waiting.
    async fn send_batch(&mut self, stop: &CancellationToken) -> bool {
        let mut spans = Vec::new();
        let mut bytes = 0;
        while spans.len() < self.settings.max_batch
            && let Ok(waiting) = self.receiver.try_recv()
        {
            bytes += waiting.bytes;
            spans.push(waiting.span);
        }
        let collector = &self.client.endpoint().url;
        self.outage
            .lost(collector, self.usage.dropped.swap(0, Ordering::Relaxed));
        let count = spans.len();
        if count == 0 {
            return false;
        }
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let lost = self
            .deliver(&ExportTraceServiceRequest { resource_spans }, count, stop)
            .await;
        self.outage.lost(collector, lost);
        self.usage.remove(count, bytes);
        count == self.settings.max_batch
    }

    /// Answers how many spans did not arrive.
    async fn deliver(
        &self,
        request: &ExportTraceServiceRequest,
        count: usize,
        stop: &CancellationToken,
    ) -> u64 {
        let give_up = Instant::now() + RETRY_FOR;
        let mut pause = FIRST_RETRY;
        loop {
            let error = match self.client.send_traces(request).await {
                Ok(delivered) => return delivered.rejected,
                Err(error) => error,
            };
            self.outage
                .export_failed(&self.client.endpoint().url, &error);
            if !error.retryable || stop.is_cancelled() || Instant::now() + pause > give_up {
                return count as u64;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
            pause = (pause * 2).min(LAST_RETRY);
        }
    }
}

/// The memory of a span: its structure and what its attributes and events own.
fn estimated_bytes(span: &SpanData) -> usize {
    let events = span.events.iter();
    size_of::<Waiting>()
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
