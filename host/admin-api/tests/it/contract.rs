//! Every promised field is there with the promised type, and each `*_mb` agrees with its `*_bytes`.

use serde_json::Value;

use test_support::TestHost;
use test_support::components::LAB;

mod leaks;
mod memory;
mod service;

/// The type of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Type {
    Boolean,
    /// A whole number, not negative.
    Count,
    Number,
    /// A number, or null.
    NumberOrNull,
    /// Not empty.
    Text,
    List,
    /// RFC 3339 in UTC.
    Time,
    TimeOrNull,
    Null,
    Uuid,
    /// 32 lower-case hexadecimal digits.
    TraceId,
    OneOf(&'static [&'static str]),
}

impl Type {
    fn fits(self, value: &Value) -> bool {
        let text = value.as_str().unwrap_or_default();
        match self {
            Type::Boolean => value.is_boolean(),
            Type::Count => value.is_u64(),
            Type::Number => value.is_number(),
            Type::NumberOrNull => value.is_number() || value.is_null(),
            Type::Text => !text.is_empty(),
            Type::List => value.is_array(),
            Type::Time => is_utc_time(text),
            Type::TimeOrNull => value.is_null() || is_utc_time(text),
            Type::Null => value.is_null(),
            Type::Uuid => {
                let groups: Vec<_> = text.split('-').map(str::len).collect();
                groups == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || is_hex(c))
            }
            Type::TraceId => text.len() == 32 && text.chars().all(is_hex),
            Type::OneOf(words) => words.contains(&text),
        }
    }
}

fn is_hex(c: char) -> bool {
    c.is_ascii_digit() || ('a'..='f').contains(&c)
}

fn is_utc_time(text: &str) -> bool {
    // 2026-01-31T23:59:59[.123]Z
    let digits = |range: std::ops::Range<usize>| {
        text.get(range)
            .is_some_and(|part| part.chars().all(|c| c.is_ascii_digit()))
    };
    digits(0..4)
        && digits(5..7)
        && digits(8..10)
        && text.get(10..11) == Some("T")
        && digits(11..13)
        && (text.ends_with('Z') || text.ends_with("+00:00"))
}

/// Checks each field by its JSON pointer below `root`, and all sizes below `root`.
#[track_caller]
pub(crate) fn check(what: &str, answer: &Value, root: &str, fields: &[(&str, Type)]) {
    let mut wrong = Vec::new();
    for (field, expected) in fields {
        match answer.pointer(&format!("{root}/{field}")) {
            None => wrong.push(format!("{root}/{field} is missing")),
            Some(value) if !expected.fits(value) => {
                wrong.push(format!("{root}/{field} is {value}, not {expected:?}"));
            }
            Some(_) => {}
        }
    }
    wrong.extend(size_mismatches(answer, root));
    assert!(
        wrong.is_empty(),
        "{what}:\n{}\nin {answer:#}",
        wrong.join("\n")
    );
}

/// Every `*_mb` that is not its `*_bytes` divided by 1,048,576.
fn size_mismatches(value: &Value, path: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = format!("{path}/{name}");
                // Settings have only the unit that the user types.
                if name == "settings" {
                    continue;
                }
                wrong.extend(size_mismatches(field, &path));
                let Some(stem) = name.strip_suffix("_mb") else {
                    continue;
                };
                match (field.as_f64(), fields.get(&format!("{stem}_bytes"))) {
                    (_, None) => wrong.push(format!("{path} has no {stem}_bytes")),
                    (None, Some(bytes)) if bytes.is_null() && field.is_null() => {}
                    (Some(mb), Some(bytes)) if bytes.is_i64() || bytes.is_u64() => {
                        let expected = bytes.as_f64().unwrap() / 1_048_576.0;
                        if (mb - expected).abs() > expected.abs() * 1e-9 {
                            wrong.push(format!("{path} is {mb}, its bytes are {expected} MB"));
                        }
                    }
                    (_, Some(bytes)) => {
                        wrong.push(format!("{path} is {field}, its bytes are {bytes}"))
                    }
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                wrong.extend(size_mismatches(item, &format!("{path}/{index}")));
            }
        }
        _ => {}
    }
    wrong
}

const LEAK: &[(&str, Type)] = &[
    ("enabled", Type::Boolean),
    ("active", Type::Boolean),
    ("next_change_in_seconds", Type::NumberOrNull),
    ("state", Type::OneOf(&["running", "exhausted", "faulted"])),
    ("variant", Type::OneOf(&["leaky", "fixed"])),
    ("count", Type::Count),
    ("entries", Type::Count),
    ("estimated_size_mb", Type::Number),
    ("linear_memory_mb", Type::Number),
    ("peak_linear_memory_mb", Type::Number),
    ("heap_live_mb", Type::NumberOrNull),
    ("growth_since_baseline_mb", Type::Number),
    ("bytes_per_request", Type::NumberOrNull),
    ("generation", Type::Count),
    ("requests", Type::Count),
    ("settings/variant", Type::OneOf(&["leaky", "fixed"])),
    ("settings/payload_bytes", Type::Count),
    ("settings/probability", Type::Number),
    ("settings/max_mb", Type::NumberOrNull),
    ("settings/ttl_seconds", Type::NumberOrNull),
    ("settings/start_after_seconds", Type::NumberOrNull),
    ("settings/duration_seconds", Type::NumberOrNull),
    ("settings/repeat_seconds", Type::NumberOrNull),
    ("expires_at", Type::TimeOrNull),
];

async fn busy_host() -> TestHost {
    let host = TestHost::with(&LAB).start().await;
    for leak in LAB {
        host.enable(leak).await;
    }
    host.traffic(50).await;
    host
}
