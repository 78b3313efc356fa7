//! Prometheus's text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! With a thousand plugins a page has 70,000 lines, so the encoder formats whole numbers as
//! integers, and the bounds of a histogram once per family.

use std::fmt::{self, Write};
use std::sync::Arc;

use prometheus::proto;

use super::family::{AnyFamily, Labels, MetricKind, Visitor};
use super::format::write_number;

/// Writes the whole page, family by family.
pub(super) fn encode(mut page: String, families: &[Arc<dyn AnyFamily>]) -> String {
    for family in families {
        // Writing to a string does not fail.
        let _ = write_head(&mut page, &**family);
        let name = family.desc().name;
        let page = &mut page;
        let bounds = Vec::new();
        family.visit(&mut SeriesWriter { page, name, bounds });
    }
    page
}

fn write_head(page: &mut String, family: &dyn AnyFamily) -> fmt::Result {
    let name = family.desc().name;
    let kind = match family.kind() {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    };
    let help = family.desc().help.replace('\\', r"\\");
    let help = help.replace('\n', r"\n");
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// Writes the lines of each series.
struct SeriesWriter<'a> {
    page: &'a mut String,
    name: &'static str,
    /// The bucket bounds as text, set by the first histogram. All series of a family share them.
    bounds: Vec<String>,
}

impl Visitor for SeriesWriter<'_> {
    fn number(&mut self, labels: &Labels, value: f64) {
        // Writing to a string does not fail.
        let _ = self.sample("", labels, value);
    }

    fn histogram(&mut self, labels: &Labels, histogram: &proto::Histogram) {
        let _ = self.buckets(labels, histogram);
    }
}

impl SeriesWriter<'_> {
    fn buckets(&mut self, labels: &Labels, histogram: &proto::Histogram) -> fmt::Result {
        let finite = || {
            let buckets = histogram.get_bucket().iter();
            buckets.filter(|bucket| bucket.upper_bound().is_finite())
        };
        if self.bounds.is_empty() {
            for bucket in finite() {
                let mut text = String::new();
                write_number(&mut text, bucket.upper_bound())?;
                self.bounds.push(text);
            }
        }
        let count = histogram.get_sample_count();
        for (index, bucket) in finite().enumerate() {
            self.bucket(labels, Some(index), bucket.cumulative_count());
        }
        self.bucket(labels, None, count);
        self.sample("_sum", labels, histogram.get_sample_sum())?;
        self.sample("_count", labels, count as f64)
    }

    /// Writes the bucket with the bound at `index`, or the bucket up to infinity.
    fn bucket(&mut self, labels: &Labels, index: Option<usize>, count: u64) {
        self.page.push_str(self.name);
        self.page.push_str("_bucket{");
        if !labels.text().is_empty() {
            self.page.push_str(labels.text());
            self.page.push(',');
        }
        self.page.push_str("le=\"");
        let bound = index.and_then(|index| self.bounds.get(index));
        self.page.push_str(bound.map_or("+Inf", String::as_str));
        self.page.push_str("\"} ");
        self.page.push_str(itoa::Buffer::new().format(count));
        self.page.push('\n');
    }

    fn sample(&mut self, suffix: &str, labels: &Labels, value: f64) -> fmt::Result {
        self.page.push_str(self.name);
        self.page.push_str(suffix);
        if !labels.text().is_empty() {
            self.page.push('{');
            self.page.push_str(labels.text());
            self.page.push('}');
        }
        self.page.push(' ');
        write_number(self.page, value)?;
        self.page.push('\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{
        Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, Opts,
        Registry, TextEncoder,
    };

    use super::super::family::MetricDesc;
    use super::super::registry::MetricsRegistry;
    use super::*;

    #[test]
    fn the_page_equals_the_page_of_the_prometheus_encoder() {
        const BUCKETS: [f64; 4] = [0.000_05, 0.1, 1.0, 5.0];
        const HELP: &str = "A gauge.\nWith a \\ and a \".";
        let (theirs, ours) = (Registry::new(), MetricsRegistry::default());
        let gauges = GaugeVec::new(Opts::new("g", HELP), &["a", "b"]).unwrap();
        let counter = IntCounter::new("c_total", "A counter.").unwrap();
        let opts = HistogramOpts::new("h_seconds", "A histogram.").buckets(BUCKETS.to_vec());
        let histograms = HistogramVec::new(opts, &["x"]).unwrap();
        theirs.register(Box::new(gauges.clone())).unwrap();
        theirs.register(Box::new(counter.clone())).unwrap();
        theirs.register(Box::new(histograms.clone())).unwrap();
        let our_gauges = MetricDesc::new("g", HELP).labels(&["a", "b"]);
        let our_gauges = ours.family::<Gauge>(our_gauges).unwrap();
        let our_counter = MetricDesc::new("c_total", "A counter.");
        let our_counter = ours.single::<IntCounter>(our_counter).unwrap();
        let our_histograms = MetricDesc::new("h_seconds", "A histogram.").labels(&["x"]);
        let our_histograms = ours.family::<Histogram>(our_histograms.buckets(&BUCKETS));
        let our_histograms = our_histograms.unwrap();

        for (n, value) in [
            0.0,
            -1.5,
            1e-9,
            123_456_789.25,
            -7.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ]
        .into_iter()
        .enumerate()
        {
            let odd = format!("\"{n}\\\n");
            let labels = [odd.as_str(), "é"];
            gauges.with_label_values(&labels).set(value);
            our_gauges.series(&labels).unwrap().set(value);
        }
        for counter in [counter, our_counter] {
            counter.inc_by(9_007_199_254_740_991);
        }
        for seconds in [0.000_01, 0.25, 3.0, 77.0] {
            histograms.with_label_values(&["y"]).observe(seconds);
            our_histograms.series(&["y"]).unwrap().observe(seconds);
        }
        let mut expected = Vec::new();
        let encoder = TextEncoder::new();
        encoder.encode(&theirs.gather(), &mut expected).unwrap();
        // The library writes infinity in Rust's format, which is not the format of Prometheus.
        let expected = String::from_utf8(expected).unwrap();
        let expected = expected
            .replace(" inf\n", " +Inf\n")
            .replace(" -inf\n", " -Inf\n");
        assert_eq!(encode(String::new(), &ours.families()), expected);
    }
}
