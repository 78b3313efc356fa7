//! Reads the fields of a document. Each error names line and field, and says what is allowed.

use std::fmt;
use std::time::Duration;

use serde_json::Value as Json_;

use super::document::{Content, Node};
use crate::error::{ApiError, ErrorCode, shorten};

/// The longest time in a scenario: a week.
const MAX_TIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a scenario is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScenarioError {
    /// The line, from 1; `None` if the text is not YAML and the message has the line.
    line: Option<u64>,
    /// The path of the field: `steps[1].duration`. Empty for the whole scenario.
    field: String,
    /// What is allowed.
    message: String,
}

impl ScenarioError {
    pub(crate) fn new(line: u64, field: impl Into<String>, message: impl Into<String>) -> Self {
        ScenarioError {
            line: Some(line),
            field: field.into(),
            message: message.into(),
        }
    }

    /// The error of a text that is not YAML.
    pub(crate) fn not_yaml(reason: &str) -> Self {
        ScenarioError {
            line: None,
            field: String::new(),
            message: format!("this is not YAML: {reason}"),
        }
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScenarioError {
            line,
            field,
            message,
        } = self;
        match line {
            None => f.write_str(message),
            Some(line) if field.is_empty() => write!(f, "line {line}: {message}"),
            Some(line) => write!(f, "line {line}, {field}: {message}"),
        }
    }
}

impl std::error::Error for ScenarioError {}

impl From<ScenarioError> for ApiError {
    fn from(error: ScenarioError) -> Self {
        ApiError::new(
            ErrorCode::InvalidScenario,
            error.to_string(),
            "docs/scenarios.md describes the file; nothing was changed",
        )
    }
}

/// A map whose fields are taken one by one.
pub(crate) struct Fields {
    line: u64,
    path: String,
    fields: Vec<(String, Node)>,
}

/// A value with the line and the path that an error names.
pub(crate) struct Field {
    pub(crate) line: u64,
    pub(crate) path: String,
    pub(crate) content: Content,
}

impl Field {
    pub(crate) fn new(path: String, node: Node) -> Self {
        Field {
            line: node.line,
            path,
            content: node.content,
        }
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> ScenarioError {
        ScenarioError::new(self.line, &self.path, message)
    }

    fn takes(&self, what: &str) -> ScenarioError {
        self.error(format!("takes {what}, not {}", self.content.kind()))
    }

    /// The fields of a map. Any other field than the `allowed` ones is an error.
    pub(crate) fn into_fields(self, allowed: &[&str]) -> Result<Fields, ScenarioError> {
        let fields = self.into_any_fields()?;
        let unknown = fields.fields.iter();
        let mut unknown = unknown.filter(|(name, _)| !allowed.contains(&name.as_str()));
        match unknown.next() {
            None => Ok(fields),
            Some((name, node)) => Err(ScenarioError::new(
                node.line,
                fields.path_of(&shorten(name)),
                format!("there is no such field; allowed are {}", allowed.join(", ")),
            )),
        }
    }

    /// The fields of a map with any names.
    pub(crate) fn into_any_fields(self) -> Result<Fields, ScenarioError> {
        match self.content {
            Content::Map(fields) => Ok(Fields {
                line: self.line,
                path: self.path,
                fields,
            }),
            _ => Err(self.takes("a map of fields")),
        }
    }

    /// The elements of a list.
    pub(crate) fn into_list(self) -> Result<Vec<Field>, ScenarioError> {
        match self.content {
            Content::List(nodes) => {
                let fields = nodes.into_iter().enumerate();
                let element = |(i, node)| Field::new(format!("{}[{i}]", self.path), node);
                Ok(fields.map(element).collect())
            }
            _ => Err(self.takes("a list")),
        }
    }

    /// A text of 1 to `max` characters.
    pub(crate) fn text(&self, max: usize) -> Result<String, ScenarioError> {
        let Content::Scalar(Json_::String(text)) = &self.content else {
            return Err(self.takes("a text"));
        };
        let text = text.trim();
        if text.is_empty() || text.chars().count() > max {
            return Err(self.error(format!("takes a text of 1 to {max} characters")));
        }
        Ok(text.to_owned())
    }

    /// A number within a range.
    pub(crate) fn number(&self, min: f64, max: f64) -> Result<f64, ScenarioError> {
        let Content::Scalar(Json_::Number(number)) = &self.content else {
            return Err(self.takes("a number"));
        };
        let number = number.as_f64().filter(|n| (min..=max).contains(n));
        number.ok_or_else(|| self.error(format!("takes a number from {min} to {max}")))
    }

    /// A time such as `90s`, `5m` or `1h30m`, from `min` to a week.
    pub(crate) fn time(&self, min: Duration) -> Result<Duration, ScenarioError> {
        let Content::Scalar(Json_::String(text)) = &self.content else {
            let what = "a time with its unit, such as 90s, 5m or 1h30m";
            return Err(self.takes(what));
        };
        let time = parse_time(text)
            .ok_or_else(|| self.error("takes a time with its unit, such as 90s, 5m or 1h30m"))?;
        if time < min || time > MAX_TIME {
            return Err(self.error(format!("takes {}s to 168h", min.as_secs())));
        }
        Ok(time)
    }

    /// A value without parts.
    pub(crate) fn scalar(&self) -> Result<Json_, ScenarioError> {
        match &self.content {
            Content::Scalar(value) => Ok(value.clone()),
            _ => Err(self.takes("one value")),
        }
    }
}

impl Fields {
    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Takes a field that may be missing.
    pub(crate) fn take(&mut self, name: &str) -> Option<Field> {
        let index = self.fields.iter().position(|(field, _)| field == name)?;
        let (_, node) = self.fields.remove(index);
        Some(Field::new(self.path_of(name), node))
    }

    /// Takes a field that must be there. `what` says what it is.
    pub(crate) fn require(&mut self, name: &str, what: &str) -> Result<Field, ScenarioError> {
        let missing = ScenarioError::new(
            self.line,
            self.path_of(name),
            format!("is required: {what}"),
        );
        self.take(name).ok_or(missing)
    }

    /// All fields that are left, with their names.
    pub(crate) fn rest(self) -> impl Iterator<Item = (String, Field)> {
        let path = self.path;
        let fields = self.fields.into_iter();
        fields.map(move |(name, node)| {
            let field = Field::new(format!("{path}.{}", shorten(&name)), node);
            (name, field)
        })
    }
}

/// Whole numbers with units, each unit smaller than the one before.
pub(crate) fn parse_time(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let (mut seconds, mut last_unit) = (0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at_checked(digits)?;
        let unit_seconds = match unit.chars().next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        if unit_seconds >= last_unit {
            return None;
        }
        last_unit = unit_seconds;
        let part = number.parse::<u64>().ok()?.checked_mul(unit_seconds)?;
        seconds = seconds.checked_add(part)?;
        rest = unit.get(1..)?;
    }
    (last_unit != u64::MAX).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_in_their_order() {
        for (text, seconds) in [
            ("0s", 0),
            ("90s", 90),
            ("5m", 300),
            ("1h", 3600),
            ("1h30m", 5400),
            ("1h30m5s", 5405),
            (" 2m ", 120),
        ] {
            assert_eq!(
                parse_time(text),
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "m",
            "5 m",
            "-5m",
            "1.5m",
            "5m5m",
            "5s1m",
            "5d",
            "5ms",
            "99999999999999999h",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
