//! Who this host is among others.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::str::FromStr;

use admin_api::HostIdentity;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use fleet::HostAddress;
use fleet::calls::{Fleet, FleetOptions, READ_TIMEOUT};
use fleet::client::Timeouts;
use fleet::selection::Selection;
use fleet::source::Source;

/// Characters of a label's name and of its value. The name of a node of Kubernetes has at most so
/// many.
const LABEL_CHARACTERS: RangeInclusive<usize> = 1..=253;

/// Hosts that the fleet view asks at once. It shares the memory of the host.
const VIEW_CONCURRENCY: usize = 32;

/// Who this host is among others.
#[derive(Debug, Args)]
pub(crate) struct IdentityOptions {
    /// Name of this host among others [default: the machine's name]
    #[arg(long, env = "LEAK_HOST_NAME", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) name: Option<String>,

    /// Label of this host, for `leak-host fleet --label`; can be repeated, or separated by commas
    #[arg(
        long,
        env = "LEAK_LABELS",
        value_name = "NAME=VALUE",
        value_delimiter = ','
    )]
    pub(crate) label: Vec<Label>,

    /// DNS name whose addresses are the hosts of the fleet view at /fleet, such as a headless
    /// service; the hosts have the same admin token as this one
    #[arg(long, env = "LEAK_FLEET", value_name = "NAME[:PORT]")]
    pub(crate) fleet: Option<HostAddress>,

    // Read at the start and not compiled in, or each commit would recompile the host.
    /// Source revision, for `leak_build_info`
    #[arg(long, env = "LEAK_REVISION", hide = true, default_value = "unknown")]
    pub(crate) revision: String,
}

/// A label of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    name: String,
    value: String,
}

/// A text that is no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be NAME=VALUE, such as version=1.4: a name of letters, digits and _, and a value of 1 to \
     253 visible characters"
)]
pub(crate) struct LabelError;

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (name, value) = text.split_once('=').ok_or(LabelError)?;
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        let is_value = !value.chars().any(|c| c.is_control() || c.is_whitespace());
        let fits = |text: &str| LABEL_CHARACTERS.contains(&text.chars().count());
        if !is_name || !is_value || !fits(name) || !fits(value) {
            return Err(LabelError);
        }
        Ok(Label {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl IdentityOptions {
    /// The fleet of the fleet view, whose hosts have this token.
    ///
    /// # Errors
    ///
    /// [`fleet::AskError`] if this process cannot make connections.
    pub(crate) fn fleet(&self, token: Option<&str>) -> Result<Option<Fleet>, fleet::AskError> {
        let Some(service) = &self.fleet else {
            return Ok(None);
        };
        let token = token.filter(|token| !token.is_empty());
        let fleet = Fleet::new(FleetOptions {
            source: Source::Service(service.clone()),
            selection: Selection::default(),
            token: token.map(str::to_owned),
            timeouts: Timeouts {
                connect: READ_TIMEOUT,
                call: READ_TIMEOUT,
            },
            concurrency: VIEW_CONCURRENCY,
        })?;
        Ok(Some(fleet))
    }

    /// What the admin API says of this host. Of a label that is given twice, the last value counts.
    pub(crate) fn identity(&self) -> HostIdentity {
        let labels = self.label.iter().cloned();
        HostIdentity {
            name: self.name.clone().unwrap_or_else(machine_name),
            labels: labels
                .map(|l| (l.name, l.value))
                .collect::<BTreeMap<_, _>>(),
            revision: self.revision.clone(),
        }
    }
}

/// The name of the machine or of the container.
fn machine_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_a_name_and_a_value() {
        let label = |text: &str| text.parse::<Label>().map(|l| (l.name, l.value));
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(label("version=1.4"), pair("version", "1.4"));
        assert_eq!(label("a_1=b=c"), pair("a_1", "b=c"));
        let long = format!("a={}", "x".repeat(254));
        for wrong in [
            "", "a", "=b", "a=", "1a=b", "a-b=c", "a=b c", "a=\u{7}", &long,
        ] {
            assert_eq!(label(wrong), Err(LabelError), "{wrong:?}");
        }
    }
}
