//! Parses JSON bodies.
//!
//! RFC 8259 leaves open what an object with two members of one name means, and parsers differ. Such
//! a body is refused: the host does not guess which value the client wants. A byte order mark
//! before the text is ignored, as the RFC allows.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{ApiError, ErrorCode, shorten};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The object in a body. An empty body counts as `{}`.
pub(super) fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let malformed = |message: String| {
        ApiError::new(
            ErrorCode::MalformedJson,
            message,
            "send a JSON object with the fields of this call, or none; nothing was changed",
        )
    };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = UniqueNames.deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    match value {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(malformed("the body is JSON, but not an object".into())),
        Err(error) if error.is_data() => Err(malformed(error.to_string())),
        Err(error) => Err(malformed(format!("the body is not JSON: {error}"))),
    }
}

/// Deserializes a value in which no object has two members of one name.
#[derive(Clone, Copy)]
struct UniqueNames;

impl<'de> DeserializeSeed<'de> for UniqueNames {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueNames {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                let name = shorten(&name);
                return Err(A::Error::custom(format!(
                    "the field {name:?} is given twice"
                )));
            }
            let value = members.next_value_seed(self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_body_is_an_object_or_empty() {
        for (body, accepted) in [
            ("", true),
            (" \n", true),
            ("{}", true),
            ("\u{feff}{}", true),
            ("\u{feff}", true),
            ("\u{feff} {\"a\": 1}\r\n", true),
            ("\u{feff}\u{feff}{}", false),
            ("{\u{feff}}", false),
            ("[]", false),
            ("1", false),
            ("{", false),
            ("{}{}", false),
            ("{} x", false),
        ] {
            assert_eq!(parse_object(body.as_bytes()).is_ok(), accepted, "{body:?}");
        }
    }

    #[test]
    fn a_name_that_is_given_twice_is_named() {
        for (body, name) in [
            (r#"{"enabled": true, "enabled": false}"#, "enabled"),
            (r#"{"enabled": true, "enabled": true}"#, "enabled"),
            (r#"{"a": {"b": [{"c": 1, "c": 2}]}}"#, "c"),
            (r#"{"a": 1, "b": 2, "\u0061": 3}"#, "a"),
        ] {
            let error = parse_object(body.as_bytes()).unwrap_err().to_string();
            let says = format!("the field {name:?} is given twice");
            assert!(error.contains(&says), "{body}: {error}");
        }
        for unique in [
            r#"{"a": {"a": {"a": 1}}}"#,
            r#"{"a": [{"b": 1}, {"b": 2}]}"#,
        ] {
            assert!(parse_object(unique.as_bytes()).is_ok(), "{unique}");
        }
    }

    #[test]
    fn a_body_keeps_its_values() {
        let text = r#"{"a": [1, -2, 0.5, 1e3, true, null, "\u00e9", {}], "z": {"b": ""}}"#;
        let expected: Map<String, Value> = serde_json::from_str(text).unwrap();
        assert_eq!(parse_object(text.as_bytes()).unwrap(), expected);
    }
}
