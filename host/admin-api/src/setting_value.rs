//! Values of settings from JSON.

use plugin_host::settings::Value;
use serde_json::Value as Json_;

/// A JSON value as a setting's value; none for a list or an object.
pub(crate) fn setting_value(value: Json_) -> Option<Value> {
    Some(match value {
        Json_::Null => Value::Unset,
        Json_::Bool(v) => Value::Boolean(v),
        Json_::Number(v) => match v.as_i64() {
            Some(v) => Value::Integer(v),
            None => Value::Number(v.as_f64()?),
        },
        Json_::String(v) => Value::Text(v),
        Json_::Array(_) | Json_::Object(_) => return None,
    })
}
