//! A metric family: its description, and its series in the order of their label values.
//!
//! The instruments are those of the crate `prometheus`. Its `MetricVec` is not used: it keeps the
//! series in a hash map, and copies and sorts all labels of all series for each scrape. With a
//! thousand plugins (27,000 series) that took more than half of the time of a page. Here a series
//! keeps its labels as text, and the map keeps the order.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::core::Metric as _;
use prometheus::{Counter, Error, Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, proto};

use super::exemplar::Exemplar;
use super::format::push_escaped;

/// Joins the label values of a series to its key. Names of plugins, routes and files do not contain
/// it.
const KEY_SEPARATOR: &str = "\0";

/// The description of a family.
#[derive(Debug)]
pub struct MetricDesc {
    /// For example `leak_plugin_traps_total`.
    pub name: &'static str,
    /// The sentence of the line `# HELP`.
    pub help: &'static str,
    labels: &'static [&'static str],
    const_labels: Vec<(&'static str, String)>,
    pub(super) buckets: &'static [f64],
}

impl MetricDesc {
    /// Describes a family without labels.
    pub fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            labels: &[],
            const_labels: Vec::new(),
            buckets: &[],
        }
    }

    /// Sets the names of the labels that distinguish the series.
    pub fn labels(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    /// Adds a label with the same value for all series.
    pub fn const_label(mut self, name: &'static str, value: &str) -> Self {
        self.const_labels.push((name, value.to_owned()));
        self
    }

    /// Sets the upper bounds of a histogram.
    pub fn buckets(self, buckets: &'static [f64]) -> Self {
        Self { buckets, ..self }
    }
}

/// The labels of a series, sorted by name. A label with an empty value is omitted: Prometheus's
/// data model makes no difference.
#[derive(Debug)]
pub struct Labels {
    pairs: Vec<(&'static str, String)>,
    text: String,
}

impl Labels {
    fn new(desc: &MetricDesc, values: &[&str]) -> Self {
        let values = values.iter().map(|value| (*value).to_owned());
        let variable = desc.labels.iter().copied().zip(values);
        let mut pairs: Vec<_> = variable.chain(desc.const_labels.iter().cloned()).collect();
        pairs.retain(|(_, value)| !value.is_empty());
        pairs.sort_unstable();
        let mut text = String::new();
        for (name, value) in &pairs {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            push_escaped(&mut text, value);
            text.push('"');
        }
        pairs.shrink_to_fit();
        text.shrink_to_fit();
        Self { pairs, text }
    }

    /// The names and values.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pairs = self.pairs.iter();
        pairs.map(|(name, value)| (*name, value.as_str()))
    }

    /// The text between the braces in both text formats: `plugin="cache",state="running"`.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The type of a family's instruments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Never decreases.
    Counter,
    /// Can increase and decrease.
    Gauge,
    /// Counts observations by bucket.
    Histogram,
}

/// Receives each series of a family. Every exposition format implements it.
pub trait Visitor {
    /// Receives a series of a counter or a gauge.
    fn number(&mut self, labels: &Labels, value: f64);

    /// Receives a series of a histogram.
    fn histogram(&mut self, labels: &Labels, histogram: &proto::Histogram);

    /// Receives a series of a histogram with the exemplars of its buckets. The last bucket has no
    /// bound. A format without exemplars shows the histogram only.
    fn traced_histogram(
        &mut self,
        labels: &Labels,
        histogram: &proto::Histogram,
        _exemplars: &[Option<Exemplar>],
    ) {
        self.histogram(labels, histogram);
    }
}

/// An instrument of the crate `prometheus`, without labels.
pub trait Instrument: Clone + fmt::Debug + Send + Sync + 'static {
    /// The type of a family of these instruments.
    const KIND: MetricKind;

    /// Creates an instrument without observations.
    ///
    /// # Errors
    /// When the name or the buckets are not valid.
    fn create(desc: &MetricDesc) -> Result<Self, Error>;

    /// Passes the current value to the visitor.
    fn visit(&self, labels: &Labels, visitor: &mut dyn Visitor);
}

macro_rules! numbers {
    ($($instrument:ident: $kind:ident,)+) => {
        $(impl Instrument for $instrument {
            const KIND: MetricKind = MetricKind::$kind;

            fn create(desc: &MetricDesc) -> Result<Self, Error> {
                Self::new(desc.name, desc.help)
            }

            fn visit(&self, labels: &Labels, visitor: &mut dyn Visitor) {
                visitor.number(labels, self.get() as f64);
            }
        })+
    };
}

numbers! {
    Counter: Counter,
    IntCounter: Counter,
    Gauge: Gauge,
    IntGauge: Gauge,
}

impl Instrument for Histogram {
    const KIND: MetricKind = MetricKind::Histogram;

    fn create(desc: &MetricDesc) -> Result<Self, Error> {
        let opts = HistogramOpts::new(desc.name, desc.help);
        Self::with_opts(opts.buckets(desc.buckets.to_vec()))
    }

    fn visit(&self, labels: &Labels, visitor: &mut dyn Visitor) {
        visitor.histogram(labels, self.metric().get_histogram());
    }
}

/// The series of a family. Cheap to clone; clones share the series.
#[derive(Debug, Clone)]
pub struct Family<M>(Arc<Inner<M>>);

#[derive(Debug)]
struct Inner<M> {
    desc: MetricDesc,
    series: RwLock<BTreeMap<Box<str>, (Labels, M)>>,
}

impl<M: Instrument> Family<M> {
    /// Creates a family without series.
    ///
    /// # Errors
    /// When the name or the buckets are not valid.
    pub fn new(desc: MetricDesc) -> Result<Self, Error> {
        M::create(&desc)?;
        let series = RwLock::default();
        Ok(Self(Arc::new(Inner { desc, series })))
    }

    /// Returns the instrument of the series with these label values. Creates the series if it does
    /// not exist.
    ///
    /// # Errors
    /// When the number of values is not the number of the family's labels.
    pub fn series(&self, values: &[&str]) -> Result<M, Error> {
        let Inner { desc, series } = &*self.0;
        if values.len() != desc.labels.len() {
            return Err(Error::InconsistentCardinality {
                expect: desc.labels.len(),
                got: values.len(),
            });
        }
        let key = key(values);
        let existing = series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, instrument)) = existing.get(&*key) {
            return Ok(instrument.clone());
        }
        drop(existing);
        let new = (Labels::new(desc, values), M::create(desc)?);
        let mut series = series.write().unwrap_or_else(PoisonError::into_inner);
        let (_, instrument) = series.entry(key.into()).or_insert(new);
        Ok(instrument.clone())
    }

    /// Removes a series if it exists. Its instrument still counts, but no page shows it.
    pub fn remove(&self, values: &[&str]) {
        let series = &self.0.series;
        let mut series = series.write().unwrap_or_else(PoisonError::into_inner);
        series.remove(&*key(values));
    }
}

/// The key of a series: its label values, joined.
fn key<'a>(values: &[&'a str]) -> Cow<'a, str> {
    match values {
        [value] => Cow::Borrowed(value),
        values => Cow::Owned(values.join(KEY_SEPARATOR)),
    }
}

/// A family with any type of instrument.
pub trait AnyFamily: Send + Sync {
    /// The description of the family.
    fn desc(&self) -> &MetricDesc;

    /// The type of the instruments.
    fn kind(&self) -> MetricKind;

    /// Whether the family has no series.
    fn is_empty(&self) -> bool;

    /// Visits each series in the order of the label values. No series can be created or removed
    /// during the visit.
    fn visit(&self, visitor: &mut dyn Visitor);
}

impl<M: Instrument> AnyFamily for Family<M> {
    fn desc(&self) -> &MetricDesc {
        &self.0.desc
    }

    fn kind(&self) -> MetricKind {
        M::KIND
    }

    fn is_empty(&self) -> bool {
        let series = self.0.series.read();
        series.unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn visit(&self, visitor: &mut dyn Visitor) {
        let series = self.0.series.read();
        let series = series.unwrap_or_else(PoisonError::into_inner);
        for (labels, instrument) in series.values() {
            instrument.visit(labels, visitor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Numbers(Vec<(String, f64)>);

    impl Visitor for Numbers {
        fn number(&mut self, labels: &Labels, value: f64) {
            self.0.push((labels.text().to_owned(), value));
        }

        fn histogram(&mut self, _: &Labels, _: &proto::Histogram) {}
    }

    fn numbers<M: Instrument>(family: &Family<M>) -> Vec<(String, f64)> {
        let mut numbers = Numbers::default();
        family.visit(&mut numbers);
        numbers.0
    }

    #[test]
    fn series_are_sorted_by_value_and_labels_by_name() {
        let desc = MetricDesc::new("turns_total", "Turns.").labels(&["side", "floor"]);
        let family = Family::<IntCounter>::new(desc.const_label("house", "a \"b\"\\\n")).unwrap();
        family.series(&["west", "2"]).unwrap().inc();
        family.series(&["east", "1"]).unwrap().inc_by(7);
        family.series(&["west", "10"]).unwrap();
        family.series(&["", "3"]).unwrap();
        family.series(&["west", "2"]).unwrap().inc();
        let house = r#"house="a \"b\"\\\n""#;
        let expected = [
            (format!(r#"floor="3",{house}"#), 0.0),
            (format!(r#"floor="1",{house},side="east""#), 7.0),
            (format!(r#"floor="10",{house},side="west""#), 0.0),
            (format!(r#"floor="2",{house},side="west""#), 2.0),
        ];
        assert_eq!(numbers(&family), expected);
        family.remove(&["west", "10"]);
        family.remove(&["north", "1"]);
        assert_eq!(numbers(&family).len(), 3);
    }

    #[test]
    fn a_removed_series_starts_again_at_zero() {
        let desc = MetricDesc::new("depth", "Depth.").labels(&["well"]);
        let family = Family::<IntGauge>::new(desc).unwrap();
        let old = family.series(&["a"]).unwrap();
        family.remove(&["a"]);
        assert!(family.is_empty());
        old.set(3);
        assert!(family.is_empty());
        family.series(&["a"]).unwrap();
        assert_eq!(numbers(&family), [(r#"well="a""#.to_owned(), 0.0)]);
    }

    #[test]
    fn invalid_descriptions_and_labels_are_errors() {
        let desc = |name| MetricDesc::new(name, "Help.").labels(&["a", "b"]);
        assert!(Family::<IntGauge>::new(desc("no such name")).is_err());
        let buckets: &[f64] = &[2.0, 1.0];
        assert!(Family::<Histogram>::new(desc("sizes").buckets(buckets)).is_err());
        let family = Family::<IntGauge>::new(desc("depth")).unwrap();
        assert!(family.series(&["one"]).is_err());
        assert!(family.is_empty());
    }
}
