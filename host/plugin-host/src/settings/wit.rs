//! Setting values in the types of `wit/leak-plugin.wit`.

use crate::bindings::exports::leak_lab::plugin::leak as wit;
use crate::settings::spec::Value;

pub(crate) fn from_wit(value: wit::Value) -> Value {
    match value {
        wit::Value::Boolean(v) => Value::Boolean(v),
        wit::Value::Integer(v) => Value::Integer(v),
        wit::Value::Number(v) => Value::Number(v),
        wit::Value::Text(v) => Value::Text(v),
    }
}

/// `None` for [`Value::Unset`], which only settings of the host can have.
pub(crate) fn to_wit(value: &Value) -> Option<wit::Value> {
    match value {
        Value::Boolean(v) => Some(wit::Value::Boolean(*v)),
        Value::Integer(v) => Some(wit::Value::Integer(*v)),
        Value::Number(v) => Some(wit::Value::Number(*v)),
        Value::Text(v) => Some(wit::Value::Text(v.clone())),
        Value::Unset => None,
    }
}
