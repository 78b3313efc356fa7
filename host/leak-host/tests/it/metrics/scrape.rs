//! A parser for the text formats of Prometheus and OpenMetrics, as far as the tests need it.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;

use crate::lab::{Answer, Lab};

/// A parsed scrape.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    pub(crate) types: BTreeMap<String, String>,
    pub(crate) helped: BTreeSet<String>,
    /// Name with its suffix, labels, value.
    pub(crate) samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Scrape {
    pub(crate) fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                match (words.next(), words.next(), words.next()) {
                    (Some("TYPE"), Some(name), Some(kind)) => {
                        let twice = scrape.types.insert(name.to_owned(), kind.to_owned());
                        assert_eq!(twice, None, "{name} has two types");
                    }
                    (Some("HELP"), Some(name), Some(_)) => {
                        scrape.helped.insert(name.to_owned());
                    }
                    _ => assert!(line == "# EOF" || line.starts_with("# UNIT "), "{line}"),
                }
                continue;
            }
            scrape.samples.push(sample(line));
        }
        scrape
    }

    pub(crate) async fn of(lab: &Lab) -> Self {
        let answer = Answer::of(lab.request(Method::GET, "/metrics")).await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.content_type.starts_with("text/plain; version=0.0.4"),
            "{answer:?}"
        );
        Self::parse(&answer.text)
    }

    /// All samples of a metric, including those of a histogram.
    pub(crate) fn of_metric(
        &self,
        name: &str,
    ) -> impl Iterator<Item = (&BTreeMap<String, String>, f64)> {
        let names = [
            name.to_owned(),
            format!("{name}_bucket"),
            format!("{name}_sum"),
            format!("{name}_count"),
        ];
        self.samples
            .iter()
            .filter(move |(sample, ..)| names.contains(sample))
            .map(|(_, labels, value)| (labels, *value))
    }

    /// The value of the only series without labels.
    pub(super) fn of_process(&self, name: &str) -> f64 {
        let mut series = self.of_metric(name).filter(|(labels, _)| labels.is_empty());
        series
            .next()
            .unwrap_or_else(|| panic!("no {name} without labels"))
            .1
    }

    /// The sum of the samples with this exact name and these labels. Zero if there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples
            .iter()
            .filter(|(sample, ..)| sample == name)
            .filter(|(_, found, _)| {
                labels
                    .iter()
                    .all(|(key, value)| found.get(*key).is_some_and(|found| found == value))
            })
            .map(|(.., value)| value)
            .sum()
    }
}

/// Parses `name{label="value",…} 1.5`. Label values may contain escaped characters.
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = match line.rfind('}') {
        Some(end) => (&line[..=end], line[end + 1..].trim()),
        None => line.split_once(' ').expect("a name and a value"),
    };
    let value = value.split(' ').next().unwrap().parse::<f64>();
    let value = value.unwrap_or_else(|error| panic!("{error}: {line}"));
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), BTreeMap::new(), value);
    };
    let mut parsed = BTreeMap::new();
    let mut rest = labels.trim_end_matches('}');
    while let Some((key, after)) = rest.split_once("=\"") {
        let mut end = 0;
        while let Some(found) = after[end..].find(['"', '\\']).map(|found| found + end) {
            if after.as_bytes()[found] == b'"' {
                end = found;
                break;
            }
            end = found + 2;
        }
        parsed.insert(
            key.trim_start_matches(',').to_owned(),
            after[..end].to_owned(),
        );
        rest = &after[end + 1..];
    }
    (name.to_owned(), parsed, value)
}
