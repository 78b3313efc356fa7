//! The same instruments that Prometheus scrapes, pushed to the collector.
//!
//! What is gathered for a scrape is turned into OTLP's data model as the specification maps the two
//! (<https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>): counters
//! become monotonic cumulative sums, histograms get counts per bucket instead of up to it. Names stay
//! as they are, so that the collector's own Prometheus endpoint shows the same names. A push that fails
//! is not kept: the next one holds everything it held.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus::proto;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::SCOPE_NAME;
use super::metrics::family::{AnyFamily, Kind, Labels, Visitor};
use super::otlp::OtlpClient;
use super::outage::OutageLog;
use super::settings::MetricSettings;

/// Pushes metrics.
pub(crate) struct MetricSender<G> {
    gather: G,
    client: OtlpClient,
    interval: std::time::Duration,
    resource: Resource,
    outage: Arc<OutageLog>,
    started: SystemTime,
}

impl<G: Fn() -> Vec<Arc<dyn AnyFamily>>> MetricSender<G> {
    /// A sender; [`MetricSender::run`] sends. `gather` answers what a scrape would.
    pub(crate) fn new(
        gather: G,
        settings: &MetricSettings,
        client: OtlpClient,
        attributes: Vec<KeyValue>,
        outage: Arc<OutageLog>,
    ) -> Self {
        let resource = Resource {
            attributes,
            ..Resource::default()
        };
        Self {
            gather,
            client,
            interval: settings.interval,
            resource,
            outage,
            started: SystemTime::now(),
        }
    }

    /// Pushes every interval until `stop`, then once more.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => {}
            }
            let last = stop.is_cancelled();
            self.push().await;
            if last {
                return;
            }
        }
    }

    async fn push(&self) {
        let time = Time {
            started: unix_nanos(self.started),
            now: unix_nanos(SystemTime::now()),
        };
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(InstrumentationScope {
                        name: SCOPE_NAME.to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    metrics: (self.gather)()
                        .iter()
                        .map(|family| time.metric(&**family))
                        .collect(),
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        };
        let collector = &self.client.endpoint().url;
        match self.client.send_metrics(&request).await {
            Ok(delivered) => self.outage.lost(collector, delivered.rejected),
            Err(error) => self.outage.export_failed(collector, &error),
        }
    }
}

/// The times of all points of one push, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Time {
    started: u64,
    now: u64,
}

impl Time {
    fn metric(self, family: &dyn AnyFamily) -> Metric {
        let about = family.about();
        let mut points = Points {
            time: self,
            kind: family.kind(),
            numbers: Vec::new(),
            histograms: Vec::new(),
        };
        family.visit(&mut points);
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        let data = match points.kind {
            Kind::Counter => Data::Sum(Sum {
                data_points: points.numbers,
                aggregation_temporality,
                is_monotonic: true,
            }),
            Kind::Gauge => Data::Gauge(Gauge {
                data_points: points.numbers,
            }),
            Kind::Histogram => Data::Histogram(Histogram {
                data_points: points.histograms,
                aggregation_temporality,
            }),
        };
        Metric {
            name: about.name.to_owned(),
            description: about.help.to_owned(),
            unit: unit_of(about.name).to_owned(),
            data: Some(data),
            ..Metric::default()
        }
    }
}

/// The points of one family.
struct Points {
    time: Time,
    kind: Kind,
    numbers: Vec<NumberDataPoint>,
    histograms: Vec<HistogramDataPoint>,
}

impl Visitor for Points {
    fn number(&mut self, labels: &Labels, value: f64) {
        let start_time_unix_nano = match self.kind {
            Kind::Counter | Kind::Histogram => self.time.started,
            // NaN says "no value", which OTLP says by leaving the point out.
            Kind::Gauge if value.is_nan() => return,
            Kind::Gauge => 0,
        };
        self.numbers.push(NumberDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano,
            time_unix_nano: self.time.now,
            value: Some(number_data_point::Value::AsDouble(value)),
            ..NumberDataPoint::default()
        });
    }

    fn histogram(&mut self, labels: &Labels, histogram: &proto::Histogram) {
        let count = histogram.get_sample_count();
        let finite = histogram
            .get_bucket()
            .iter()
            .filter(|bucket| bucket.upper_bound().is_finite());
        let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
        for bucket in finite {
            bounds.push(bucket.upper_bound());
            counts.push(bucket.cumulative_count().saturating_sub(below));
            below = bucket.cumulative_count().max(below);
        }
        counts.push(count.saturating_sub(below));
        self.histograms.push(HistogramDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.time.started,
            time_unix_nano: self.time.now,
            // The sum of the buckets, as the data model demands, even if more came in meanwhile.
            count: counts.iter().sum(),
            sum: Some(histogram.get_sample_sum()),
            bucket_counts: counts,
            explicit_bounds: bounds,
            ..HistogramDataPoint::default()
        });
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    let attribute = |(name, value)| text_attribute(name, value);
    labels.pairs().map(attribute).collect()
}

/// An attribute with a text.
pub(super) fn text_attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue {
        value: Some(any_value::Value::StringValue(value.to_owned())),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

/// The unit in UCUM, from the name's last word; empty when there is none.
fn unit_of(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    if name.ends_with("_bytes") {
        "By"
    } else if name.ends_with("_seconds") {
        "s"
    } else {
        ""
    }
}

fn unix_nanos(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}
