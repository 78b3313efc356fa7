//! The part of JSON Schema that the schema of scenarios uses. A validator as a dependency would
//! change the features of the engine's dependencies.

use serde_json::{Map, Value};

/// Whether a document conforms to a schema.
///
/// # Panics
///
/// On a keyword or a pattern that this module does not know.
pub(super) fn is_valid(schema: &Value, document: &Value) -> bool {
    conforms(schema, schema, document)
}

fn conforms(root: &Value, schema: &Value, value: &Value) -> bool {
    let keywords = schema.as_object().unwrap();
    keywords
        .iter()
        .all(|(keyword, rule)| match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                conforms(root, root.pointer(pointer).unwrap(), value)
            }
            "allOf" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|part| conforms(root, part, value)),
            "not" => !conforms(root, rule, value),
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => match rule {
                Value::Array(types) => types.iter().any(|name| is_a(name, value)),
                name => is_a(name, value),
            },
            "minLength" | "maxLength" => value
                .as_str()
                .is_none_or(|text| within(keyword, rule, text.chars().count() as f64)),
            "minItems" | "maxItems" => value
                .as_array()
                .is_none_or(|list| within(keyword, rule, list.len() as f64)),
            "minimum" | "maximum" => value.as_f64().is_none_or(|n| within(keyword, rule, n)),
            "pattern" => value.as_str().is_none_or(|text| matches(rule, text)),
            "items" => value
                .as_array()
                .is_none_or(|list| list.iter().all(|item| conforms(root, rule, item))),
            _ => value
                .as_object()
                .is_none_or(|fields| object_conforms(root, keywords, keyword, rule, fields)),
        })
}

/// The keywords for the fields of an object.
fn object_conforms(
    root: &Value,
    keywords: &Map<String, Value>,
    keyword: &str,
    rule: &Value,
    fields: &Map<String, Value>,
) -> bool {
    let has_all = |names: &Value| {
        let mut names = names.as_array().unwrap().iter();
        names.all(|name| fields.contains_key(name.as_str().unwrap()))
    };
    let none = Map::new();
    let properties = keywords.get("properties").and_then(Value::as_object);
    let properties = properties.unwrap_or(&none);
    match keyword {
        "properties" => fields.iter().all(|(name, field)| {
            let rule = properties.get(name);
            rule.is_none_or(|rule| conforms(root, rule, field))
        }),
        "required" => has_all(rule),
        "dependentRequired" => rule
            .as_object()
            .unwrap()
            .iter()
            .all(|(name, needed)| !fields.contains_key(name) || has_all(needed)),
        "propertyNames" => fields
            .keys()
            .all(|name| conforms(root, rule, &Value::from(name.as_str()))),
        "additionalProperties" => {
            let mut others = fields
                .iter()
                .filter(|(name, _)| !properties.contains_key(*name));
            match rule {
                Value::Bool(allowed) => *allowed || others.next().is_none(),
                rule => others.all(|(_, field)| conforms(root, rule, field)),
            }
        }
        other => panic!("the test does not know the keyword {other}"),
    }
}

fn is_a(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the test does not know the type {other}"),
    }
}

fn within(keyword: &str, rule: &Value, number: f64) -> bool {
    let bound = rule.as_f64().unwrap();
    if keyword.starts_with("min") {
        number >= bound
    } else {
        number <= bound
    }
}

fn matches(pattern: &Value, text: &str) -> bool {
    match pattern.as_str().unwrap() {
        "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$" => ['h', 'm', 's']
            .into_iter()
            .try_fold(text, |rest, unit| match rest.split_once(unit) {
                Some((number, rest)) if number.chars().all(|c| c.is_ascii_digit()) => {
                    (!number.is_empty()).then_some(rest)
                }
                _ => Some(rest),
            })
            .is_some_and(str::is_empty),
        "[1-9]" => text.contains(|c| ('1'..='9').contains(&c)),
        other => panic!("the test does not know the pattern {other}"),
    }
}
