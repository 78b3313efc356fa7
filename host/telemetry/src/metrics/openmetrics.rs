//! OpenMetrics 1.0 text (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
//!
//! A strict parser checks four differences from the Prometheus text format: the family of a counter
//! has no `_total`, the unit has its own line, bucket bounds are floats in canonical form, and the
//! page ends with `# EOF`.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use prometheus::proto;

use super::exemplar::Exemplar;
use super::family::{AnyFamily, Labels, MetricKind, Visitor};
use super::format::{push_escaped, write_number};

/// Writes the whole page, family by family.
pub(super) fn encode(mut page: String, families: &[Arc<dyn AnyFamily>]) -> String {
    for family in families {
        let name = family.desc().name;
        let (name, kind, suffix) = match family.kind() {
            MetricKind::Counter => (name.trim_end_matches("_total"), "counter", "_total"),
            MetricKind::Gauge => (name, "gauge", ""),
            MetricKind::Histogram => (name, "histogram", ""),
        };
        // Writing to a string does not fail.
        let _ = write_head(&mut page, name, kind, family.desc().help);
        let page = &mut page;
        family.visit(&mut SeriesWriter { page, name, suffix });
    }
    page.push_str("# EOF\n");
    page
}

fn write_head(page: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(page, "# TYPE {name} {kind}")?;
    let units = ["bytes", "seconds"];
    if let Some(unit) = units.iter().find(|&&unit| has_unit(name, unit)) {
        writeln!(page, "# UNIT {name} {unit}")?;
    }
    write!(page, "# HELP {name} ")?;
    push_escaped(page, help);
    page.write_char('\n')
}

/// Writes the lines of each series.
struct SeriesWriter<'a> {
    page: &'a mut String,
    name: &'static str,
    /// The suffix of a counter's samples.
    suffix: &'static str,
}

impl Visitor for SeriesWriter<'_> {
    fn number(&mut self, labels: &Labels, value: f64) {
        // Writing to a string does not fail.
        let _ = self.sample(self.suffix, labels, None, value, None);
    }

    fn histogram(&mut self, labels: &Labels, histogram: &proto::Histogram) {
        let _ = self.buckets(labels, histogram, &[]);
    }

    fn traced_histogram(
        &mut self,
        labels: &Labels,
        histogram: &proto::Histogram,
        exemplars: &[Option<Exemplar>],
    ) {
        let _ = self.buckets(labels, histogram, exemplars);
    }
}

impl SeriesWriter<'_> {
    /// `exemplars` has one for each bucket, or is empty.
    fn buckets(
        &mut self,
        labels: &Labels,
        histogram: &proto::Histogram,
        exemplars: &[Option<Exemplar>],
    ) -> fmt::Result {
        let mut exemplars = exemplars.iter();
        let mut next = || exemplars.next().and_then(Option::as_ref);
        let count = histogram.get_sample_count() as f64;
        for bucket in histogram
            .get_bucket()
            .iter()
            .filter(|bucket| bucket.upper_bound().is_finite())
        {
            let value = bucket.cumulative_count() as f64;
            self.sample("_bucket", labels, Some(bucket.upper_bound()), value, next())?;
        }
        self.sample("_bucket", labels, Some(f64::INFINITY), count, next())?;
        self.sample("_count", labels, None, count, None)?;
        self.sample("_sum", labels, None, histogram.get_sample_sum(), None)
    }

    fn sample(
        &mut self,
        suffix: &str,
        labels: &Labels,
        bound: Option<f64>,
        value: f64,
        exemplar: Option<&Exemplar>,
    ) -> fmt::Result {
        self.page.push_str(self.name);
        self.page.push_str(suffix);
        match (labels.text(), bound.map(bound_text)) {
            ("", None) => {}
            (labels, None) => write!(self.page, "{{{labels}}}")?,
            ("", Some(bound)) => write!(self.page, "{{le=\"{bound}\"}}")?,
            (labels, Some(bound)) => write!(self.page, "{{{labels},le=\"{bound}\"}}")?,
        }
        self.page.write_char(' ')?;
        write_number(self.page, value)?;
        if let Some(Exemplar {
            trace_id,
            value,
            at,
        }) = exemplar
        {
            // A clock before 1970 is a broken clock.
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let at = at.as_secs_f64();
            write!(self.page, " # {{trace_id=\"{trace_id}\"}} {value} {at:.3}")?;
        }
        self.page.write_char('\n')
    }
}

fn has_unit(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit)
        .is_some_and(|rest| rest.ends_with('_'))
}

/// The bound of a bucket, always with a decimal point: `1.0` and not `1`.
fn bound_text(bound: f64) -> String {
    if bound.is_infinite() {
        "+Inf".to_owned()
    } else if bound.fract() == 0.0 {
        format!("{bound:.1}")
    } else {
        bound.to_string()
    }
}
