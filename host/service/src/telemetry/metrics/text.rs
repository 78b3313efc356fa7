//! Prometheus's text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! With a thousand plugins a page has 70,000 lines. The labels of a series are written once and copied for each of its
//! lines, and whole numbers, which nearly all values are, are written as such.

use std::fmt::{self, Write};

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// Writes the whole page, family by family.
pub(super) fn encode(mut page: String, families: impl IntoIterator<Item = MetricFamily>) -> String {
    let mut labels = String::new();
    for family in families {
        // Writing to a string does not fail.
        let _ = write_family(&mut page, &mut labels, &family);
    }
    page
}

fn write_family(page: &mut String, labels: &mut String, family: &MetricFamily) -> fmt::Result {
    let (name, kind) = match family.get_field_type() {
        MetricType::COUNTER => (family.name(), "counter"),
        MetricType::GAUGE => (family.name(), "gauge"),
        MetricType::HISTOGRAM => (family.name(), "histogram"),
        // No instrument here is of another type.
        MetricType::SUMMARY | MetricType::UNTYPED => return Ok(()),
    };
    page.push_str("# HELP ");
    page.push_str(name);
    page.push(' ');
    escape(page, family.help(), false);
    writeln!(page, "\n# TYPE {name} {kind}")?;
    for metric in family.get_metric() {
        labels.clear();
        write_labels(labels, metric.get_label());
        match family.get_field_type() {
            MetricType::COUNTER => {
                sample(page, [name, ""], labels, metric.get_counter().get_value())?;
            }
            MetricType::HISTOGRAM => histogram(page, name, labels, metric)?,
            _ => sample(page, [name, ""], labels, metric.get_gauge().get_value())?,
        }
    }
    Ok(())
}

fn histogram(page: &mut String, name: &str, labels: &str, metric: &Metric) -> fmt::Result {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count();
    let mut bucket = |bound: f64, count: u64| {
        page.push_str(name);
        page.push_str("_bucket{");
        if !labels.is_empty() {
            page.push_str(labels);
            page.push(',');
        }
        page.push_str("le=\"");
        number(page, bound)?;
        writeln!(page, "\"}} {count}")
    };
    for each in histogram.get_bucket() {
        if each.upper_bound().is_finite() {
            bucket(each.upper_bound(), each.cumulative_count())?;
        }
    }
    bucket(f64::INFINITY, count)?;
    sample(page, [name, "_sum"], labels, histogram.get_sample_sum())?;
    sample(page, [name, "_count"], labels, count as f64)
}

fn sample(page: &mut String, name: [&str; 2], labels: &str, value: f64) -> fmt::Result {
    for part in name {
        page.push_str(part);
    }
    if !labels.is_empty() {
        page.push('{');
        page.push_str(labels);
        page.push('}');
    }
    page.push(' ');
    number(page, value)?;
    page.push('\n');
    Ok(())
}

fn number(page: &mut String, value: f64) -> fmt::Result {
    // Up to here every whole number has a float of its own.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    if value.is_nan() {
        page.push_str("NaN");
        Ok(())
    } else if value.is_infinite() {
        page.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        Ok(())
    } else if value.fract() == 0.0 && value.abs() < WHOLE {
        write!(page, "{}", value as i64)
    } else {
        write!(page, "{value}")
    }
}

fn write_labels(text: &mut String, labels: &[LabelPair]) {
    for (index, label) in labels.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(label.name());
        text.push_str("=\"");
        escape(text, label.value(), true);
        text.push('"');
    }
}

fn escape(text: &mut String, raw: &str, quotes: bool) {
    let special = |c: char| c == '\\' || c == '\n' || (quotes && c == '"');
    if !raw.contains(special) {
        text.push_str(raw);
        return;
    }
    for c in raw.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes => text.push_str("\\\""),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{
        Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, Opts, Registry, TextEncoder,
    };

    use super::*;

    #[test]
    fn writes_what_the_librarys_own_encoder_writes() {
        let registry = Registry::new();
        let gauges =
            GaugeVec::new(Opts::new("g", "A gauge.\nWith a \\ and a \"."), &["a", "b"]).unwrap();
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
            gauges.with_label_values(&[odd.as_str(), "é"]).set(value);
        }
        let counter = IntCounter::new("c_total", "A counter.").unwrap();
        counter.inc_by(9_007_199_254_740_991);
        let histograms = HistogramVec::new(
            HistogramOpts::new("h_seconds", "A histogram.").buckets(vec![0.000_05, 0.1, 1.0, 5.0]),
            &["x"],
        )
        .unwrap();
        for seconds in [0.000_01, 0.25, 3.0, 77.0] {
            histograms.with_label_values(&["y"]).observe(seconds);
        }
        registry.register(Box::new(gauges)).unwrap();
        registry.register(Box::new(counter)).unwrap();
        registry.register(Box::new(histograms)).unwrap();
        let families = registry.gather();
        let mut expected = Vec::new();
        TextEncoder::new().encode(&families, &mut expected).unwrap();
        // The library writes infinity as Rust does; the format's word for it is another.
        let expected = String::from_utf8(expected).unwrap();
        let expected = expected
            .replace(" inf\n", " +Inf\n")
            .replace(" -inf\n", " -Inf\n");
        assert_eq!(encode(String::new(), families), expected);
    }
}
