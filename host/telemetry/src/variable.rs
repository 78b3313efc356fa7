//! The text of one environment variable: parsers, and errors that name the variable.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// The largest accepted count, for example of queued spans.
const MAX_COUNT: usize = 1_000_000;

/// A variable with a value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct SettingsError {
    variable: &'static str,
    problem: String,
}

/// The name of a variable and its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variable<'a> {
    name: &'static str,
    pub(crate) value: Option<&'a str>,
}

impl<'a> Variable<'a> {
    /// An empty value counts as unset.
    pub(crate) fn new(name: &'static str, value: Option<&'a str>) -> Self {
        let value = value.map(str::trim).filter(|value| !value.is_empty());
        Self { name, value }
    }

    /// This variable if it is set, else `shared`, which applies to all signals.
    pub(crate) fn or(self, shared: Self) -> Self {
        if self.value.is_some() { self } else { shared }
    }

    pub(crate) fn error<T>(self, problem: impl Into<String>) -> Result<T, SettingsError> {
        Err(SettingsError {
            variable: self.name,
            problem: problem.into(),
        })
    }

    /// The value, which must be one of `choices`.
    pub(crate) fn one_of(self, choices: &[&str]) -> Result<Option<&'a str>, SettingsError> {
        match self.value {
            Some(value) if !choices.contains(&value) => {
                self.error(format!("`{value}` is not one of {}", choices.join(", ")))
            }
            value => Ok(value),
        }
    }

    fn number(self) -> Result<Option<u64>, SettingsError> {
        match self.value.map(|value| (value, value.parse())) {
            None => Ok(None),
            Some((_, Ok(number))) => Ok(Some(number)),
            Some((value, Err(_))) => self.error(format!("`{value}` is not a whole number")),
        }
    }

    /// A duration in milliseconds, at least 1.
    pub(crate) fn millis(self, default: u64) -> Result<Duration, SettingsError> {
        let millis = self.number()?.unwrap_or(default).max(1);
        Ok(Duration::from_millis(millis))
    }

    /// An interval such as `30s` or `5m`; `None` for `off`, which is the default, and `default` for
    /// `on`.
    pub(crate) fn interval(
        self,
        default: Duration,
        range: &RangeInclusive<Duration>,
    ) -> Result<Option<Duration>, SettingsError> {
        let text = match self.value {
            None | Some("off") => return Ok(None),
            Some("on") => return Ok(Some(default)),
            Some(text) => text,
        };
        let units = [("s", 1), ("m", 60), ("h", 3_600)];
        let seconds = units.iter().find_map(|(unit, seconds)| {
            let number = text.strip_suffix(unit)?;
            number.parse::<u64>().ok()?.checked_mul(*seconds)
        });
        match seconds.map(Duration::from_secs) {
            Some(interval) if range.contains(&interval) => Ok(Some(interval)),
            _ => self.error(format!(
                "`{text}` is not on, off or a time from {}s to {}s, such as 30s or 5m",
                range.start().as_secs(),
                range.end().as_secs()
            )),
        }
    }

    /// A count from 1 to [`MAX_COUNT`].
    pub(crate) fn count(self, default: usize) -> Result<usize, SettingsError> {
        match self.number()?.map(usize::try_from) {
            None => Ok(default),
            Some(Ok(count @ 1..=MAX_COUNT)) => Ok(count),
            Some(_) => self.error(format!("must be from 1 to {MAX_COUNT}")),
        }
    }

    /// A number from 0 to 1; 1 by default.
    pub(crate) fn ratio(self) -> Result<f64, SettingsError> {
        match self.value.map(str::parse) {
            None => Ok(1.0),
            Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            Some(_) => self.error("must be a number from 0 to 1"),
        }
    }

    /// Parses an `http` URL. gRPC endpoints are often written without a scheme, so `http://` is the
    /// default.
    pub(crate) fn parse_url(self, text: &str) -> Result<Uri, SettingsError> {
        let text = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url = match Uri::from_str(&text) {
            Ok(url) => url,
            Err(error) => return self.error(format!("`{text}` is not a URL: {error}")),
        };
        match url.scheme_str() {
            Some("http") if url.host().is_some_and(|host| !host.is_empty()) => Ok(url),
            Some("https") => self.error(
                "https is not supported: send to a local collector over http, \
                 which can forward over TLS",
            ),
            _ => self.error(format!(
                "`{text}` is not a URL such as http://localhost:4317"
            )),
        }
    }

    /// A list `name=value,…` with percent-encoded values.
    pub(crate) fn pairs(self) -> Result<Vec<(String, String)>, SettingsError> {
        let list = self.value.unwrap_or_default().split(',').map(str::trim);
        list.filter(|pair| !pair.is_empty())
            .map(|pair| match pair.split_once('=') {
                Some((name, value)) if !name.trim().is_empty() => {
                    let name = name.trim().to_owned();
                    match percent_decode_str(value.trim()).decode_utf8() {
                        Ok(value) => Ok((name, value.into_owned())),
                        Err(_) => self.error(format!("the value of `{name}` is not UTF-8")),
                    }
                }
                // The text may be a secret, so the error does not repeat it.
                _ => self.error("is not a list of name=value"),
            })
            .collect()
    }

    /// A list `name=value,…` of headers. They are marked as sensitive: they may be secrets.
    pub(crate) fn headers(self) -> Result<HeaderMap, SettingsError> {
        let header = |(name, value): (String, String)| {
            let parsed = (HeaderName::from_str(&name), HeaderValue::from_str(&value));
            let (Ok(header), Ok(mut value)) = parsed else {
                return self.error(format!(
                    "`{name}` is not a header or its value is not valid"
                ));
            };
            value.set_sensitive(true);
            Ok((header, value))
        };
        self.pairs()?.into_iter().map(header).collect()
    }
}
