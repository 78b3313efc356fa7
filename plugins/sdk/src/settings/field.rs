//! How the type of a field meets the types of the contract.

use std::ops::RangeInclusive;

use crate::{Choice, IntegerRange, NumberRange, SettingError, SettingSpec, SettingType, Value};

/// A type that a setting can have.
pub trait Field: Sized {
    /// What says which values are taken.
    type Range;

    /// The type of the setting as the manifest has it.
    fn setting_type(range: &Self::Range) -> SettingType;

    /// This value as the contract has it.
    fn to_value(&self) -> Value;

    /// The value meant by one of the contract's.
    ///
    /// # Errors
    /// Says what would have been taken.
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

/// Puts a new value into a field, if it is one that the field takes.
///
/// # Errors
/// The field is as it was, and the error says what would have been taken.
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
            other => Err(format!("true or false, not {}", shown(other))),
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
        // Not a number lies in no range, so this refuses it too.
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                format!(
                    "a number from {} to {}, not {}",
                    range.start(),
                    range.end(),
                    shown(value)
                )
            })
    }
}

macro_rules! integer_field {
    ($($type:ty),+) => {
        $(impl Field for $type {
            type Range = RangeInclusive<$type>;

            fn setting_type(range: &Self::Range) -> SettingType {
                SettingType::Integer(IntegerRange { min: in_contract(*range.start()), max: in_contract(*range.end()) })
            }

            fn to_value(&self) -> Value {
                Value::Integer(in_contract(*self))
            }

            fn from_value(value: &Value, range: &Self::Range) -> Result<Self, String> {
                let integer = match value {
                    Value::Integer(integer) => <$type>::try_from(*integer).ok(),
                    Value::Boolean(_) | Value::Number(_) | Value::Text(_) => None,
                };
                integer.filter(|integer| range.contains(integer)).ok_or_else(|| {
                    format!("an integer from {} to {}, not {}", range.start(), range.end(), shown(value))
                })
            }
        })+
    };
}

integer_field!(u8, u16, u32, u64, usize, i32, i64);

/// The contract has signed integers of 64 bits only; what is larger could not be set anyway.
fn in_contract(integer: impl TryInto<i64>) -> i64 {
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
            format!("one of {}, not {}", words.join(", "), shown(value))
        })
    }
}

/// A value as an error message shows it, cut after 60 characters.
fn shown(value: &Value) -> String {
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
            /// Counts
            /// things.
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
    fn the_manifest_says_name_description_type_and_default() {
        let specs = Sample::specs();
        let seen: Vec<_> = specs
            .iter()
            .map(|spec| (spec.name.as_str(), spec.description.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("count", "Counts things."),
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
    fn takes_what_lies_in_the_range() {
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
    fn refuses_everything_else_and_says_what_it_takes() {
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
