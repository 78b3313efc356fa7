//! Converts between the types of setting fields and the types of the contract.

use std::ops::RangeInclusive;

use crate::{Choice, IntegerRange, NumberRange, SettingError, SettingSpec, SettingType, Value};

/// A type that a setting can have: `bool`, an integer, `f64` or a [`Choice`].
pub trait Field: Sized {
    /// The valid values: an inclusive range, or `()` for types that have none.
    type Range;

    /// The type of the setting for the manifest.
    fn setting_type(range: &Self::Range) -> SettingType;

    /// Converts this value to the contract's type.
    fn to_value(&self) -> Value;

    /// Converts a value of the contract to this type.
    ///
    /// # Errors
    /// Says which values are valid, if the type is wrong or the value is out of range.
    fn from_value(value: &Value, range: &Self::Range) -> Result<Self, String>;
}

/// The manifest's entry for one setting.
pub fn spec<F: Field>(name: &str, description: &str, default: &F, range: &F::Range) -> SettingSpec {
    SettingSpec {
        name: name.to_owned(),
        description: description.trim().to_owned(),
        type_: F::setting_type(range),
        default: default.to_value(),
    }
}

/// Sets a field to a new value if the value is valid.
///
/// # Errors
/// Names the setting and its valid values. The field does not change.
pub fn apply<F: Field>(
    field: &mut F,
    name: &str,
    value: &Value,
    range: &F::Range,
) -> Result<(), SettingError> {
    *field = F::from_value(value, range).map_err(|expected| SettingError {
        name: name.to_owned(),
        message: format!("must be {expected}"),
    })?;
    Ok(())
}

impl Field for bool {
    type Range = ();

    fn setting_type((): &()) -> SettingType {
        SettingType::Boolean
    }

    fn to_value(&self) -> Value {
        Value::Boolean(*self)
    }

    fn from_value(value: &Value, (): &()) -> Result<Self, String> {
        match value {
            Value::Boolean(boolean) => Ok(*boolean),
            other => Err(format!("true or false, not {}", display(other))),
        }
    }
}

impl Field for f64 {
    type Range = RangeInclusive<f64>;

    fn setting_type(range: &Self::Range) -> SettingType {
        SettingType::Number(NumberRange {
            min: *range.start(),
            max: *range.end(),
        })
    }

    fn to_value(&self) -> Value {
        Value::Number(*self)
    }

    fn from_value(value: &Value, range: &Self::Range) -> Result<Self, String> {
        let number = match value {
            Value::Number(number) => Some(*number),
            Value::Integer(integer) => Some(*integer as f64),
            Value::Boolean(_) | Value::Text(_) => None,
        };
        // No range contains NaN, so this rejects it too.
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                format!(
                    "a number from {} to {}, not {}",
                    range.start(),
                    range.end(),
                    display(value)
                )
            })
    }
}

macro_rules! integer_field {
    ($($type:ty),+) => {
        $(impl Field for $type {
            type Range = RangeInclusive<$type>;

            fn setting_type(range: &Self::Range) -> SettingType {
                SettingType::Integer(IntegerRange { min: saturating_i64(*range.start()), max: saturating_i64(*range.end()) })
            }

            fn to_value(&self) -> Value {
                Value::Integer(saturating_i64(*self))
            }

            fn from_value(value: &Value, range: &Self::Range) -> Result<Self, String> {
                let integer = match value {
                    Value::Integer(integer) => <$type>::try_from(*integer).ok(),
                    Value::Boolean(_) | Value::Number(_) | Value::Text(_) => None,
                };
                integer.filter(|integer| range.contains(integer)).ok_or_else(|| {
                    format!("an integer from {} to {}, not {}", range.start(), range.end(), display(value))
                })
            }
        })+
    };
}

integer_field!(u8, u16, u32, u64, usize, i32, i64);

/// Converts to the contract's only integer type. Values above `i64::MAX` saturate: no client could
/// set them.
fn saturating_i64(integer: impl TryInto<i64>) -> i64 {
    integer.try_into().unwrap_or(i64::MAX)
}

impl<C: Choice> Field for C {
    type Range = ();

    fn setting_type((): &()) -> SettingType {
        SettingType::Choice(
            C::WORDS
                .iter()
                .map(|(_, word)| (*word).to_owned())
                .collect(),
        )
    }

    fn to_value(&self) -> Value {
        Value::Text(self.word().to_owned())
    }

    fn from_value(value: &Value, (): &()) -> Result<Self, String> {
        let choice = match value {
            Value::Text(text) => C::from_word(text),
            Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => None,
        };
        choice.ok_or_else(|| {
            let words: Vec<_> = C::WORDS.iter().map(|(_, word)| *word).collect();
            format!("one of {}, not {}", words.join(", "), display(value))
        })
    }
}

/// Formats a value for an error message. Texts are cut after 60 characters.
fn display(value: &Value) -> String {
    match value {
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Integer(integer) => integer.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, Variant};

    crate::settings! {
        /// One field of each type.
        struct Sample {
            /// A number
            /// of things.
            count: u32 = 5, in 1..=10;
            /// A share.
            share: f64 = 0.5, in 0.0..=1.0;
            /// A switch.
            on: bool = false;
            /// A word.
            word: Variant = Variant::Leaky;
        }
    }

    #[test]
    fn specs_have_name_description_type_and_default() {
        let specs = Sample::specs();
        let described: Vec<_> = specs
            .iter()
            .map(|spec| (spec.name.as_str(), spec.description.as_str()))
            .collect();
        assert_eq!(
            described,
            [
                ("count", "A number of things."),
                ("share", "A share."),
                ("on", "A switch."),
                ("word", "A word.")
            ]
        );
        let [count, share, on, word] = specs.as_slice() else {
            panic!("four settings")
        };
        assert!(matches!(
            count.type_,
            SettingType::Integer(IntegerRange { min: 1, max: 10 })
        ));
        assert!(matches!(count.default, Value::Integer(5)));
        assert!(matches!(
            share.type_,
            SettingType::Number(NumberRange { min: 0.0, max: 1.0 })
        ));
        assert!(matches!(share.default, Value::Number(0.5)));
        assert!(matches!(on.type_, SettingType::Boolean));
        assert!(matches!(on.default, Value::Boolean(false)));
        assert!(matches!(&word.type_, SettingType::Choice(words) if words == &["leaky", "fixed"]));
        assert!(matches!(&word.default, Value::Text(text) if text == "leaky"));
    }

    #[test]
    fn accepts_values_within_the_range() {
        let mut sample = Sample::default();
        for (name, value) in [
            ("count", Value::Integer(10)),
            ("share", Value::Integer(1)),
            ("on", Value::Boolean(true)),
            ("word", Value::Text("fixed".to_owned())),
        ] {
            assert!(sample.set(name, &value).unwrap().is_ok(), "{name}");
        }
        assert_eq!(
            sample,
            Sample {
                count: 10,
                share: 1.0,
                on: true,
                word: Variant::Fixed
            }
        );
    }

    #[test]
    fn rejects_other_values_and_names_the_valid_ones() {
        #[track_caller]
        fn check(name: &str, value: Value, message: &str) {
            let mut sample = Sample::default();
            let error = sample.set(name, &value).unwrap().unwrap_err();
            assert_eq!(
                (error.name.as_str(), error.message.as_str()),
                (name, message)
            );
            assert_eq!(sample, Sample::default());
        }
        check(
            "count",
            Value::Integer(0),
            "must be an integer from 1 to 10, not 0",
        );
        check(
            "count",
            Value::Integer(i64::MAX),
            "must be an integer from 1 to 10, not 9223372036854775807",
        );
        check(
            "count",
            Value::Integer(-1),
            "must be an integer from 1 to 10, not -1",
        );
        check(
            "count",
            Value::Number(5.0),
            "must be an integer from 1 to 10, not 5",
        );
        check(
            "count",
            Value::Text("5".to_owned()),
            "must be an integer from 1 to 10, not \"5\"",
        );
        check(
            "share",
            Value::Number(1.01),
            "must be a number from 0 to 1, not 1.01",
        );
        check(
            "share",
            Value::Number(f64::NAN),
            "must be a number from 0 to 1, not NaN",
        );
        check("on", Value::Integer(1), "must be true or false, not 1");
        check(
            "word",
            Value::Text("broken".to_owned()),
            "must be one of leaky, fixed, not \"broken\"",
        );
        assert!(
            Sample::default()
                .set("nothing", &Value::Boolean(true))
                .is_none()
        );
    }
}
