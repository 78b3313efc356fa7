//! The export of the metrics that Prometheus scrapes.
//!
//! It converts the families of a scrape to OTLP's data model as the specification maps the two
//! (<https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>). Counters
//! become monotonic cumulative sums. Histograms get counts per bucket instead of cumulative counts.
//! Names do not change, so the collector's own Prometheus endpoint shows the same names. A failed
//! export is not retried: the values are cumulative, so the next export replaces it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1 as proto_common;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::Attributes;
use prometheus::proto;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::instrumentation_scope;
use super::metrics::family::{AnyFamily, Labels, MetricKind, Visitor};
use super::otlp_client::OtlpClient;
use super::outage_log::OutageLog;

pub(crate) struct MetricExporter<G> {
    /// Returns the families of a scrape.
    pub(crate) gather: G,
    pub(crate) client: OtlpClient,
    pub(crate) interval: std::time::Duration,
    pub(crate) resource: Resource,
    pub(crate) outage: Arc<OutageLog>,
}

impl<G: Fn() -> Vec<Arc<dyn AnyFamily>>> MetricExporter<G> {
    /// Exports at each interval until `stop`, then once more.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let start_time = unix_nanos();
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => {}
            }
            let last = stop.is_cancelled();
            self.export(start_time).await;
            if last {
                return;
            }
        }
    }

    async fn export(&self, start_time: u64) {
        let interval = Interval {
            start: start_time,
            end: unix_nanos(),
        };
        let families = (self.gather)();
        let scope_metrics = ScopeMetrics {
            scope: Some((instrumentation_scope(), None).into()),
            metrics: families.iter().map(|f| interval.metric(&**f)).collect(),
            ..ScopeMetrics::default()
        };
        let resource_metrics = ResourceMetrics {
            resource: Some(self.resource.clone()),
            scope_metrics: vec![scope_metrics],
            ..ResourceMetrics::default()
        };
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![resource_metrics],
        };
        match self.client.send_metrics(&request).await {
            Ok(rejected) => self.outage.lost(self.client.url(), rejected),
            Err(error) => self.outage.export_failed(self.client.url(), &error),
        }
    }
}

/// The times of all data points of one export, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Interval {
    start: u64,
    end: u64,
}

impl Interval {
    fn metric(self, family: &dyn AnyFamily) -> Metric {
        let desc = family.desc();
        let mut points = DataPoints {
            interval: self,
            kind: family.kind(),
            numbers: Vec::new(),
            histograms: Vec::new(),
        };
        family.visit(&mut points);
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        let data = match points.kind {
            MetricKind::Counter => Data::Sum(Sum {
                data_points: points.numbers,
                aggregation_temporality,
                is_monotonic: true,
            }),
            MetricKind::Gauge => Data::Gauge(Gauge {
                data_points: points.numbers,
            }),
            MetricKind::Histogram => Data::Histogram(Histogram {
                data_points: points.histograms,
                aggregation_temporality,
            }),
        };
        Metric {
            name: desc.name.to_owned(),
            description: desc.help.to_owned(),
            unit: unit_of(desc.name).to_owned(),
            data: Some(data),
            ..Metric::default()
        }
    }
}

/// The data points of one family.
struct DataPoints {
    interval: Interval,
    kind: MetricKind,
    numbers: Vec<NumberDataPoint>,
    histograms: Vec<HistogramDataPoint>,
}

impl Visitor for DataPoints {
    fn number(&mut self, labels: &Labels, value: f64) {
        let start_time_unix_nano = match self.kind {
            MetricKind::Counter | MetricKind::Histogram => self.interval.start,
            // NaN means "no value". In OTLP, a gauge without a value has no data point.
            MetricKind::Gauge if value.is_nan() => return,
            MetricKind::Gauge => 0,
        };
        self.numbers.push(NumberDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano,
            time_unix_nano: self.interval.end,
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
            start_time_unix_nano: self.interval.start,
            time_unix_nano: self.interval.end,
            // The data model demands the sum of the buckets. The histogram's own count may already
            // include later observations.
            count: counts.iter().sum(),
            sum: Some(histogram.get_sample_sum()),
            bucket_counts: counts,
            explicit_bounds: bounds,
            ..HistogramDataPoint::default()
        });
    }
}

fn attributes(labels: &Labels) -> Vec<proto_common::KeyValue> {
    let attribute = |(name, value): (_, &str)| KeyValue::new(name, value.to_owned());
    Attributes::from(labels.pairs().map(attribute)).0
}

/// The UCUM unit for the last word of a metric name; empty for other words.
fn unit_of(name: &str) -> &'static str {
    match name.trim_end_matches("_total").rsplit('_').next() {
        Some("bytes") => "By",
        Some("seconds") => "s",
        _ => "",
    }
}

/// The current time in nanoseconds since 1970.
fn unix_nanos() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since_epoch.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}
