//! The declaration of one setting: its type, range and default, and the check of a new value.

use crate::error::PluginError;

/// The value of a setting.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Number(f64),
    /// One of the words of a [`SettingType::Choice`].
    Text(String),
    /// No value; only for optional settings.
    Unset,
}

/// The values that a setting accepts.
#[derive(Debug, Clone, PartialEq)]
pub enum SettingType {
    /// `true` or `false`.
    Boolean,
    /// A whole number in an inclusive range.
    Integer {
        /// The smallest value.
        min: i64,
        /// The largest value.
        max: i64,
    },
    /// A finite number in an inclusive range.
    Number {
        /// The smallest value.
        min: f64,
        /// The largest value.
        max: f64,
    },
    /// One of these words.
    Choice(Vec<String>),
}

/// The side that acts on a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppliedBy {
    /// The host; it never passes the value to the plugin.
    Host,
    /// The plugin; the host passes each new value through `configure`.
    Plugin,
}

/// One setting with its type, range and default.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingSpec {
    /// In snake_case.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// The values it accepts.
    pub kind: SettingType,
    /// Whether it accepts [`Value::Unset`].
    pub optional: bool,
    /// The value of a plugin that was just loaded.
    pub default: Value,
    /// The side that acts on it.
    pub applied_by: AppliedBy,
}

impl SettingType {
    /// The accepted values in words: `a whole number from 0 to 10`.
    pub fn describe(&self) -> String {
        match self {
            SettingType::Boolean => "true or false".into(),
            SettingType::Integer { min, max } => format!("a whole number from {min} to {max}"),
            SettingType::Number { min, max } => format!("a number from {min} to {max}"),
            SettingType::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                format!("one of {}", quoted.join(", "))
            }
        }
    }

    fn accepts(&self, value: &Value) -> bool {
        match (self, value) {
            (SettingType::Boolean, Value::Boolean(_)) => true,
            (SettingType::Integer { min, max }, Value::Integer(v)) => (min..=max).contains(&v),
            (SettingType::Number { min, max }, Value::Number(v)) => (min..=max).contains(&v),
            (SettingType::Choice(words), Value::Text(v)) => words.contains(v),
            _ => false,
        }
    }
}

impl SettingSpec {
    /// The accepted value that is nearest to a number of bytes.
    pub(crate) fn nearest(&self, bytes: u64) -> Value {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        Value::Integer(match self.kind {
            // `clamp` panics on an empty range.
            SettingType::Integer { min, max } => bytes.max(min).min(max),
            _ => bytes,
        })
    }

    /// Converts a value to the type of this setting.
    ///
    /// # Errors
    ///
    /// [`PluginError::InvalidValue`] with the values that the setting accepts.
    pub(crate) fn check(&self, value: Value) -> Result<Value, PluginError> {
        // JSON has one type of number: 3 is valid where 3.0 is expected.
        let value = match (&self.kind, value) {
            (SettingType::Number { .. }, Value::Integer(v)) => Value::Number(v as f64),
            (SettingType::Integer { .. }, Value::Number(v))
                if v.fract() == 0.0 && v.abs() < 9e15 =>
            {
                Value::Integer(v as i64)
            }
            (_, v) => v,
        };
        if (self.optional && value == Value::Unset) || self.kind.accepts(&value) {
            return Ok(value);
        }
        let or_null = if self.optional {
            ", or null for none"
        } else {
            ""
        };
        Err(PluginError::InvalidValue {
            name: self.name.clone(),
            message: format!("takes {}{or_null}", self.kind.describe()),
        })
    }
}
