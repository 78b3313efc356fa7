//! Which hosts of a fleet a command is for.

use std::str::FromStr;

use crate::summary::HostSummary;

/// Which hosts are meant. The labels come first; then so many of the rest, in the order of their
/// addresses, so that two commands with the same selection reach the same hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// All of these labels.
    pub labels: Vec<LabelFilter>,
    /// How many of the hosts.
    pub amount: Amount,
}

/// How many hosts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Amount {
    /// All of them.
    #[default]
    All,
    /// At most so many.
    First(usize),
    /// This share, 1 to 100, rounded up: 10 percent of 5 hosts is one host.
    Percent(u8),
}

impl Amount {
    /// How many of so many hosts.
    #[must_use]
    pub fn of(self, hosts: usize) -> usize {
        match self {
            Amount::All => hosts,
            Amount::First(count) => count.min(hosts),
            Amount::Percent(percent) => (hosts * usize::from(percent)).div_ceil(100).min(hosts),
        }
    }
}

/// `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFilter {
    name: String,
    value: String,
}

/// A text that is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a label is NAME=VALUE, such as version=1.4")]
pub struct LabelFilterError;

impl LabelFilter {
    /// Whether the host has this label. `name`, `service`, `version` and `revision` are those of
    /// the host unless it has labels of these names.
    #[must_use]
    pub fn matches(&self, host: &HostSummary) -> bool {
        let own = match self.name.as_str() {
            "name" => Some(&host.name),
            "service" => Some(&host.service),
            "version" => Some(&host.version),
            "revision" => Some(&host.revision),
            _ => None,
        };
        host.labels.get(&self.name).or(own) == Some(&self.value)
    }
}

impl FromStr for LabelFilter {
    type Err = LabelFilterError;

    fn from_str(text: &str) -> Result<Self, LabelFilterError> {
        let (name, value) = text.split_once('=').ok_or(LabelFilterError)?;
        if name.is_empty() {
            return Err(LabelFilterError);
        }
        Ok(LabelFilter {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_hosts_is_rounded_up_and_never_more_than_all() {
        for (amount, hosts, expected) in [
            (Amount::All, 5, 5),
            (Amount::First(1), 5, 1),
            (Amount::First(9), 5, 5),
            (Amount::Percent(20), 5, 1),
            (Amount::Percent(10), 5, 1),
            (Amount::Percent(21), 5, 2),
            (Amount::Percent(100), 5, 5),
            (Amount::Percent(10), 10_000, 1000),
            (Amount::Percent(50), 0, 0),
        ] {
            assert_eq!(amount.of(hosts), expected, "{amount:?} of {hosts}");
        }
    }

    #[test]
    fn a_label_of_the_host_wins_over_what_the_host_is() {
        let mut host = HostSummary {
            version: "0.1.0".to_owned(),
            ..HostSummary::default()
        };
        let filter = |text: &str| text.parse::<LabelFilter>().unwrap();
        assert!(filter("version=0.1.0").matches(&host));
        assert!(!filter("zone=").matches(&host));
        host.labels.insert("version".to_owned(), "b=2".to_owned());
        assert!(filter("version=b=2").matches(&host));
        assert!(!filter("version=0.1.0").matches(&host));
        for wrong in ["", "version", "=b"] {
            assert_eq!(wrong.parse::<LabelFilter>(), Err(LabelFilterError));
        }
    }
}
