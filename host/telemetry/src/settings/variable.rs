//! One variable: how its text is read, and what is said when it cannot be.

use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

/// Why a variable was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct SettingsError {
    variable: &'static str,
    problem: String,
}

/// A value and the variable it came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variable<'a> {
    name: &'static str,
    pub(super) value: Option<&'a str>,
}

impl<'a> Variable<'a> {
    /// Set but empty is not set.
    pub(super) fn new(name: &'static str, value: &'a Option<String>) -> Self {
        Self {
            name,
            value: value
                .as_deref()
                .map(str::trim)
                .filter(|value| !value.is_empty()),
        }
    }

    /// This one if it is set, else the one that several signals share.
    pub(super) fn or(self, shared: Self) -> Self {
        if self.value.is_some() { self } else { shared }
    }

    /// An error of this variable.
    pub(super) fn refuse(&self, problem: String) -> SettingsError {
        SettingsError {
            variable: self.name,
            problem,
        }
    }

    fn number(&self) -> Result<Option<u64>, SettingsError> {
        self.value
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| self.refuse(format!("`{value}` is not a whole number")))
            })
            .transpose()
    }

    /// A time of at least one millisecond.
    pub(super) fn millis(&self, default: u64) -> Result<Duration, SettingsError> {
        Ok(Duration::from_millis(
            self.number()?.unwrap_or(default).max(1),
        ))
    }

    /// A count from 1 to a million.
    pub(super) fn count(&self, default: usize) -> Result<usize, SettingsError> {
        match self.number()? {
            None => Ok(default),
            Some(count @ 1..=1_000_000) => Ok(usize::try_from(count).unwrap_or(default)),
            Some(_) => Err(self.refuse("must be from 1 to 1000000".to_owned())),
        }
    }

    /// `name=value,…`, values percent-encoded.
    pub(super) fn pairs(&self) -> Result<Vec<(String, String)>, SettingsError> {
        let list = self
            .value
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty());
        list.map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .filter(|(name, _)| !name.trim().is_empty())
                // What stands there may be a secret, so it is not repeated.
                .ok_or_else(|| self.refuse("is not a list of name=value".to_owned()))?;
            let value = percent_decode_str(value.trim())
                .decode_utf8()
                .map_err(|_| self.refuse(format!("the value of `{}` is not UTF-8", name.trim())))?;
            Ok((name.trim().to_owned(), value.into_owned()))
        })
        .collect()
    }

    /// `name=value,…` as headers; they may be secrets.
    pub(super) fn header_map(&self) -> Result<HeaderMap, SettingsError> {
        self.pairs()?
            .into_iter()
            .map(|(name, value)| {
                let refused = || {
                    self.refuse(format!(
                        "`{name}` is not a header or its value is not valid"
                    ))
                };
                let mut value = HeaderValue::from_str(&value).map_err(|_| refused())?;
                value.set_sensitive(true);
                Ok((HeaderName::from_str(&name).map_err(|_| refused())?, value))
            })
            .collect()
    }
}
