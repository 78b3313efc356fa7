//! OpenMetrics 1.0 text (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
//!
//! It differs from Prometheus's older format in what a strict parser checks: a counter's family has no
//! `_total`, a unit is named, numbers that are thresholds are floats in canonical form, and the page
//! ends with `# EOF`.

use std::fmt::{self, Write};

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// Writes the whole page, family by family.
pub(super) fn encode(mut page: String, families: impl IntoIterator<Item = MetricFamily>) -> String {
    for family in families {
        // Writing to a string does not fail.
        let _ = write_family(&mut page, &family);
    }
    page.push_str("# EOF\n");
    page
}

fn write_family(page: &mut String, family: &MetricFamily) -> fmt::Result {
    let (name, kind) = match family.get_field_type() {
        MetricType::COUNTER => (family.name().trim_end_matches("_total"), "counter"),
        MetricType::GAUGE => (family.name(), "gauge"),
        MetricType::HISTOGRAM => (family.name(), "histogram"),
        // No instrument here is of another type.
        MetricType::SUMMARY | MetricType::UNTYPED => return Ok(()),
    };
    writeln!(page, "# TYPE {name} {kind}")?;
    if let Some(unit) = ["bytes", "seconds"]
        .iter()
        .find(|&&unit| has_unit(name, unit))
    {
        writeln!(page, "# UNIT {name} {unit}")?;
    }
    writeln!(page, "# HELP {name} {}", Escaped(family.help()))?;
    for metric in family.get_metric() {
        let labels = metric.get_label();
        match family.get_field_type() {
            MetricType::COUNTER => {
                write_sample(
                    page,
                    name,
                    "_total",
                    labels,
                    None,
                    metric.get_counter().get_value(),
                )?;
            }
            MetricType::HISTOGRAM => write_histogram(page, name, metric)?,
            _ => write_sample(page, name, "", labels, None, metric.get_gauge().get_value())?,
        }
    }
    Ok(())
}

fn write_histogram(page: &mut String, name: &str, metric: &Metric) -> fmt::Result {
    let (labels, histogram) = (metric.get_label(), metric.get_histogram());
    let count = histogram.get_sample_count() as f64;
    for bucket in histogram
        .get_bucket()
        .iter()
        .filter(|bucket| bucket.upper_bound().is_finite())
    {
        let value = bucket.cumulative_count() as f64;
        write_sample(
            page,
            name,
            "_bucket",
            labels,
            Some(bucket.upper_bound()),
            value,
        )?;
    }
    write_sample(page, name, "_bucket", labels, Some(f64::INFINITY), count)?;
    write_sample(page, name, "_count", labels, None, count)?;
    write_sample(page, name, "_sum", labels, None, histogram.get_sample_sum())
}

fn write_sample(
    page: &mut String,
    name: &str,
    suffix: &str,
    labels: &[LabelPair],
    bound: Option<f64>,
    value: f64,
) -> fmt::Result {
    write!(page, "{name}{suffix}")?;
    let mut separator = '{';
    for label in labels {
        write!(
            page,
            "{separator}{}=\"{}\"",
            label.name(),
            Escaped(label.value())
        )?;
        separator = ',';
    }
    if let Some(bound) = bound {
        write!(page, "{separator}le=\"{}\"", Threshold(bound))?;
        separator = ',';
    }
    if separator == ',' {
        page.push('}');
    }
    writeln!(page, " {}", Number(value))
}

fn has_unit(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit)
        .is_some_and(|rest| rest.ends_with('_'))
}

/// Text with backslash, quote and newline escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// A sample's value.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

/// A bucket's bound: always with a point, `1.0` and not `1`; large ones with an exponent.
struct Threshold(f64);

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if !value.is_finite() => Number(value).fmt(f),
            value if value.fract() == 0.0 => write!(f, "{value:.1}"),
            value => write!(f, "{value}"),
        }
    }
}
