//! What a plugin says it is, checked before anybody relies on it.

use crate::bindings::exports::leak_lab::plugin::leak as wit;
use crate::error::PluginError;
use crate::settings::{Kind, Owner, Spec, Value};

/// Words that stand where an id would in the admin API's paths and bodies.
const RESERVED: [&str; 4] = ["all", "check", "clear", "status"];

/// A plugin's checked manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Kebab-case, unique in the lab.
    pub id: String,
    /// The plugin's own version.
    pub version: String,
    /// For people.
    pub title: String,
    /// One sentence.
    pub description: String,
    /// What it counts: "entries".
    pub unit: String,
    /// The settings it declares.
    pub settings: Vec<Spec>,
}

impl Manifest {
    /// Checks what the guest answered.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] with what is wrong and what would be right.
    pub(crate) fn check(m: wit::Manifest) -> Result<Self, PluginError> {
        check_id(&m.id)?;
        check_word("unit", &m.unit, 24, |c| c.is_ascii_lowercase() || c == '_')?;
        check_text("version", &m.version, 64)?;
        check_text("title", &m.title, 100)?;
        check_text("description", &m.description, 1000)?;
        if m.settings.len() > 64 {
            return refuse(format!(
                "the manifest declares {} settings; 64 is the most",
                m.settings.len()
            ));
        }
        let mut settings: Vec<Spec> = Vec::with_capacity(m.settings.len());
        for declared in m.settings {
            let spec = check_spec(declared)?;
            if settings.iter().any(|s| s.name == spec.name)
                || HOST_SETTINGS.contains(&spec.name.as_str())
            {
                return refuse(format!(
                    "the setting {:?} is declared twice, or is the host's own",
                    spec.name
                ));
            }
            settings.push(spec);
        }
        require(
            &settings,
            "variant",
            "a choice of \"leaky\" and \"fixed\"",
            |kind| matches!(kind, Kind::Choice(w) if ["leaky", "fixed"].iter().all(|v| w.iter().any(|x| x == v))),
        )?;
        require(&settings, "payload_bytes", "an integer", |kind| {
            matches!(kind, Kind::Integer { .. })
        })?;
        Ok(Manifest {
            id: m.id,
            version: m.version,
            title: m.title,
            description: m.description,
            unit: m.unit,
            settings,
        })
    }
}

/// Names that the host's own settings take, and the one word of the switch itself.
const HOST_SETTINGS: [&str; 9] = [
    "enabled",
    "probability",
    "max_mb",
    "target_mb",
    "target_minutes",
    "ttl_seconds",
    "deadline_ms",
    "memory_limit_mb",
    "heap_profile",
];

fn refuse<T>(message: String) -> Result<T, PluginError> {
    Err(PluginError::Refused(message))
}

/// Whether `id` can name a plugin: kebab-case, 1 to 40 characters, not a word of the API's own.
pub fn check_id(id: &str) -> Result<(), PluginError> {
    let kebab = !id.is_empty()
        && id.len() <= 40
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.split('-').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
    if !kebab {
        return refuse(format!(
            "the id {:?} is not kebab-case of 1 to 40 characters, like \"session-store\"",
            cut(id)
        ));
    }
    if RESERVED.contains(&id) {
        return refuse(format!(
            "the id {id:?} is a word of the admin API; choose another"
        ));
    }
    Ok(())
}

fn check_text(field: &str, text: &str, most: usize) -> Result<(), PluginError> {
    if text.is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
        return refuse(format!(
            "the manifest's {field} must have 1 to {most} characters on one line"
        ));
    }
    Ok(())
}

fn check_word(
    field: &str,
    text: &str,
    most: usize,
    allowed: fn(char) -> bool,
) -> Result<(), PluginError> {
    if text.is_empty() || text.len() > most || !text.chars().all(allowed) {
        return refuse(format!(
            "the manifest's {field} {:?} must be 1 to {most} lower-case letters or underscores",
            cut(text)
        ));
    }
    Ok(())
}

fn check_spec(declared: wit::SettingSpec) -> Result<Spec, PluginError> {
    check_word("setting name", &declared.name, 40, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
    })?;
    check_text("setting description", &declared.description, 300)?;
    let kind = match declared.type_ {
        wit::SettingType::Boolean => Kind::Boolean,
        wit::SettingType::Integer(r) if r.min <= r.max => Kind::Integer {
            min: r.min,
            max: r.max,
        },
        wit::SettingType::Number(r) if r.min <= r.max && r.min.is_finite() && r.max.is_finite() => {
            Kind::Number {
                min: r.min,
                max: r.max,
            }
        }
        wit::SettingType::Choice(words) if !words.is_empty() && words.len() <= 32 => {
            for word in &words {
                check_text("choice", word, 40)?;
            }
            Kind::Choice(words)
        }
        _ => {
            return refuse(format!(
                "the range of the setting {:?} is empty or has no end",
                declared.name
            ));
        }
    };
    let default = value_from_wit(declared.default);
    let spec = Spec {
        name: declared.name,
        description: declared.description,
        kind,
        optional: false,
        default: default.clone(),
        owner: Owner::Plugin,
    };
    let default = spec.check(default).map_err(|e| {
        PluginError::Refused(format!(
            "the default of a setting is out of its own range: {e}"
        ))
    })?;
    Ok(Spec { default, ..spec })
}

fn require(
    settings: &[Spec],
    name: &str,
    what: &str,
    fits: fn(&Kind) -> bool,
) -> Result<(), PluginError> {
    match settings.iter().find(|s| s.name == name) {
        Some(spec) if fits(&spec.kind) => Ok(()),
        _ => refuse(format!(
            "the manifest must declare the setting {name:?} as {what}"
        )),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

fn value_from_wit(value: wit::Value) -> Value {
    match value {
        wit::Value::Boolean(v) => Value::Boolean(v),
        wit::Value::Integer(v) => Value::Integer(v),
        wit::Value::Number(v) => Value::Number(v),
        wit::Value::Text(v) => Value::Text(v),
    }
}

/// The value as the guest takes it; `None` for a setting that is not set, which a plugin's own never is.
pub(crate) fn value_to_wit(value: &Value) -> Option<wit::Value> {
    match value {
        Value::Boolean(v) => Some(wit::Value::Boolean(*v)),
        Value::Integer(v) => Some(wit::Value::Integer(*v)),
        Value::Number(v) => Some(wit::Value::Number(*v)),
        Value::Text(v) => Some(wit::Value::Text(v.clone())),
        Value::Unset => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> wit::Manifest {
        let spec = |name: &str, type_, default| wit::SettingSpec {
            name: name.into(),
            description: "what it does".into(),
            type_,
            default,
        };
        wit::Manifest {
            id: "cache".into(),
            version: "1.0.0".into(),
            title: "Cache".into(),
            description: "Keeps everything".into(),
            unit: "entries".into(),
            settings: vec![
                spec(
                    "variant",
                    wit::SettingType::Choice(vec!["leaky".into(), "fixed".into()]),
                    wit::Value::Text("leaky".into()),
                ),
                spec(
                    "payload_bytes",
                    wit::SettingType::Integer(wit::IntegerRange { min: 0, max: 10 }),
                    wit::Value::Integer(5),
                ),
            ],
        }
    }

    #[test]
    fn a_whole_manifest_is_taken() {
        let checked = Manifest::check(manifest()).unwrap();
        assert_eq!(checked.id, "cache");
        assert_eq!(checked.settings.len(), 2);
    }

    #[test]
    fn each_fault_is_refused_by_name() {
        type Break = fn(&mut wit::Manifest);
        let cases: [(Break, &str); 8] = [
            (|m| m.id = "Cache".into(), "kebab-case"),
            (|m| m.id = "a--b".into(), "kebab-case"),
            (|m| m.id = "clear".into(), "admin API"),
            (|m| m.unit = "Big Things".into(), "unit"),
            (|m| m.title = String::new(), "title"),
            (|m| m.settings.truncate(1), "payload_bytes"),
            (
                |m| m.settings[1].default = wit::Value::Integer(11),
                "default",
            ),
            (|m| m.settings[1].name = "probability".into(), "host's own"),
        ];
        for (break_it, word) in cases {
            let mut m = manifest();
            break_it(&mut m);
            let message = Manifest::check(m).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
    }
}
