//! A metric family: its name, and its series in the order of their labels.
//!
//! The instruments are the library's. Its vectors of them are not used: they keep series in a hash map and copy and
//! sort all labels of all series for each scrape, which with a thousand plugins (27,000 series) was more than half of
//! the time that a page takes. Here a series keeps its labels as they stand on the page, and its place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::core::Metric as _;
use prometheus::{Counter, Error, Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, proto};

/// Between the values of a series' labels in its key. Not a character of any name of a plugin, a route or a file.
const BETWEEN: char = '\0';

/// What a family is.
#[derive(Debug)]
pub struct About {
    /// `leak_plugin_traps_total`.
    pub name: &'static str,
    /// A sentence for `# HELP`.
    pub help: &'static str,
    labels: &'static [&'static str],
    constant: Vec<(&'static str, String)>,
    buckets: &'static [f64],
}

impl About {
    /// A family whose series have no labels yet.
    pub fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            labels: &[],
            constant: Vec::new(),
            buckets: &[],
        }
    }

    /// The names of the labels that tell its series apart.
    pub fn labels(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    /// A label with the same value for all of its series.
    pub fn constant(mut self, name: &'static str, value: &str) -> Self {
        self.constant.push((name, value.to_owned()));
        self
    }

    /// The upper bounds of a histogram.
    pub fn buckets(self, buckets: &'static [f64]) -> Self {
        Self { buckets, ..self }
    }
}

/// The labels of a series, in the order of their names. One without a value is left out: in Prometheus's data model
/// that is the same.
#[derive(Debug)]
pub struct Labels {
    pairs: Vec<(&'static str, String)>,
    text: String,
}

impl Labels {
    fn new(about: &About, values: &[&str]) -> Self {
        let own = about.labels.iter().copied();
        let own = own.zip(values.iter().map(|value| (*value).to_owned()));
        let mut pairs: Vec<_> = own.chain(about.constant.iter().cloned()).collect();
        pairs.retain(|(_, value)| !value.is_empty());
        pairs.sort_unstable();
        let mut text = String::new();
        for (name, value) in &pairs {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => text.push_str("\\\\"),
                    '\n' => text.push_str("\\n"),
                    '"' => text.push_str("\\\""),
                    c => text.push(c),
                }
            }
            text.push('"');
        }
        pairs.shrink_to_fit();
        text.shrink_to_fit();
        Self { pairs, text }
    }

    /// Names and values.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.pairs.iter();
        pairs.map(|(name, value)| (*name, value.as_str()))
    }

    /// `plugin="cache",state="running"`: as both text formats write it, within braces.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What a family's instruments measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// Takes the series of a family one by one.
pub trait Visitor {
    /// A counter's or a gauge's.
    fn number(&mut self, labels: &Labels, value: f64);

    /// A histogram's.
    fn histogram(&mut self, labels: &Labels, histogram: &proto::Histogram);
}

/// An instrument of the library's, without labels of its own.
pub trait Instrument: Clone + fmt::Debug + Send + Sync + 'static {
    /// What it measures.
    const KIND: Kind;

    /// One that has seen nothing.
    ///
    /// # Errors
    /// When the name or the buckets are not valid.
    fn create(about: &About) -> Result<Self, Error>;

    /// Shows what it has seen.
    fn show(&self, labels: &Labels, to: &mut dyn Visitor);
}

macro_rules! numbers {
    ($($instrument:ident: $kind:ident,)+) => {
        $(impl Instrument for $instrument {
            const KIND: Kind = Kind::$kind;

            fn create(about: &About) -> Result<Self, Error> {
                Self::new(about.name, about.help)
            }

            fn show(&self, labels: &Labels, to: &mut dyn Visitor) {
                to.number(labels, self.get() as f64);
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
    const KIND: Kind = Kind::Histogram;

    fn create(about: &About) -> Result<Self, Error> {
        let opts = HistogramOpts::new(about.name, about.help);
        Self::with_opts(opts.buckets(about.buckets.to_vec()))
    }

    fn show(&self, labels: &Labels, to: &mut dyn Visitor) {
        to.histogram(labels, self.metric().get_histogram());
    }
}

/// The series of a family. Cheap to clone; clones share the series.
#[derive(Debug, Clone)]
pub struct Family<M>(Arc<Inner<M>>);

#[derive(Debug)]
struct Inner<M> {
    about: About,
    series: RwLock<BTreeMap<Box<str>, (Labels, M)>>,
}

impl<M: Instrument> Family<M> {
    /// A family without series.
    ///
    /// # Errors
    /// When the name or the buckets are not valid.
    pub fn new(about: About) -> Result<Self, Error> {
        M::create(&about)?;
        let series = RwLock::default();
        Ok(Self(Arc::new(Inner { about, series })))
    }

    /// The instrument of the series with these labels, which exists from now on.
    ///
    /// # Errors
    /// When there are more or fewer values than the family has labels.
    pub fn series(&self, values: &[&str]) -> Result<M, Error> {
        let Inner { about, series } = &*self.0;
        if values.len() != about.labels.len() {
            return Err(Error::InconsistentCardinality {
                expect: about.labels.len(),
                got: values.len(),
            });
        }
        let key = Key::new(values);
        let known = series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, instrument)) = known.get(key.as_ref()) {
            return Ok(instrument.clone());
        }
        drop(known);
        let fresh = (Labels::new(about, values), M::create(about)?);
        let mut series = series.write().unwrap_or_else(PoisonError::into_inner);
        let (_, instrument) = series.entry(key.as_ref().into()).or_insert(fresh);
        Ok(instrument.clone())
    }

    /// Forgets a series, if there is such a one. Whoever holds its instrument counts unseen.
    pub fn remove(&self, values: &[&str]) {
        let series = &self.0.series;
        let mut series = series.write().unwrap_or_else(PoisonError::into_inner);
        series.remove(Key::new(values).as_ref());
    }
}

/// The values of a series' labels.
enum Key<'a> {
    One(&'a str),
    Some(String),
}

impl<'a> Key<'a> {
    fn new(values: &[&'a str]) -> Self {
        match values {
            [one] => Self::One(one),
            some => Self::Some(some.join(BETWEEN.encode_utf8(&mut [0; 4]))),
        }
    }
}

impl AsRef<str> for Key<'_> {
    fn as_ref(&self) -> &str {
        match self {
            Self::One(one) => one,
            Self::Some(some) => some,
        }
    }
}

/// A family, whatever its instruments are.
pub trait AnyFamily: Send + Sync {
    /// What it is.
    fn about(&self) -> &About;

    /// What its instruments measure.
    fn kind(&self) -> Kind;

    /// Whether it has no series now.
    fn is_empty(&self) -> bool;

    /// Each series, in the order of the values of its labels. None is made or removed meanwhile.
    fn visit(&self, visitor: &mut dyn Visitor);
}

impl<M: Instrument> AnyFamily for Family<M> {
    fn about(&self) -> &About {
        &self.0.about
    }

    fn kind(&self) -> Kind {
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
            instrument.show(labels, visitor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<(String, f64)>);

    impl Visitor for Seen {
        fn number(&mut self, labels: &Labels, value: f64) {
            self.0.push((labels.text().to_owned(), value));
        }

        fn histogram(&mut self, _: &Labels, _: &proto::Histogram) {}
    }

    fn seen<M: Instrument>(family: &Family<M>) -> Vec<(String, f64)> {
        let mut seen = Seen::default();
        family.visit(&mut seen);
        seen.0
    }

    #[test]
    fn series_come_by_their_values_and_labels_by_their_names() {
        let about = About::new("turns_total", "Turns.").labels(&["side", "floor"]);
        let family = Family::<IntCounter>::new(about.constant("house", "a \"b\"\\\n")).unwrap();
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
        assert_eq!(seen(&family), expected);
        family.remove(&["west", "10"]);
        family.remove(&["north", "1"]);
        assert_eq!(seen(&family).len(), 3);
    }

    #[test]
    fn a_series_that_was_removed_begins_anew() {
        let about = About::new("depth", "Depth.").labels(&["well"]);
        let family = Family::<IntGauge>::new(about).unwrap();
        let old = family.series(&["a"]).unwrap();
        family.remove(&["a"]);
        assert!(family.is_empty());
        old.set(3);
        assert!(family.is_empty());
        family.series(&["a"]).unwrap();
        assert_eq!(seen(&family), [(r#"well="a""#.to_owned(), 0.0)]);
    }

    #[test]
    fn mistakes_are_refused() {
        let about = |name| About::new(name, "Help.").labels(&["a", "b"]);
        assert!(Family::<IntGauge>::new(about("no such name")).is_err());
        let buckets: &[f64] = &[2.0, 1.0];
        assert!(Family::<Histogram>::new(about("sizes").buckets(buckets)).is_err());
        let family = Family::<IntGauge>::new(about("depth")).unwrap();
        assert!(family.series(&["one"]).is_err());
        assert!(family.is_empty());
    }
}
