//! What a plugin says about itself, checked before the host relies on it.

use crate::bindings::exports::leak_lab::plugin::leak as wit;
use crate::error::PluginError;
use crate::settings::names::{FIXED, LEAKY, PAYLOAD_BYTES, VARIANT};
use crate::settings::wit::from_wit;
use crate::settings::{AppliedBy, SettingSpec, SettingType, is_reserved};

/// Words of the admin API's paths and bodies in the position of an id.
const RESERVED_IDS: [&str; 4] = ["all", "check", "clear", "status"];

/// A plugin's checked manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Kebab-case, unique among the loaded plugins.
    pub id: String,
    /// The plugin's own version.
    pub version: String,
    /// A name for a person.
    pub title: String,
    /// One sentence.
    pub description: String,
    /// The unit of retained objects: "entries".
    pub unit: String,
    /// The settings that it declares.
    pub settings: Vec<SettingSpec>,
    /// Whether the texts above are not the plugin's own, so that nobody knows which plugin it is.
    pub is_masked: bool,
}

impl Manifest {
    /// Checks the guest's answer.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] with what is wrong and what is valid.
    pub(crate) fn check(m: wit::Manifest) -> Result<Self, PluginError> {
        check_id(&m.id)?;
        check_word("unit", &m.unit, 24, |c| c.is_ascii_lowercase() || c == '_')?;
        check_text("version", &m.version, 64)?;
        check_text("title", &m.title, 100)?;
        check_text("description", &m.description, 1000)?;
        if m.settings.len() > 64 {
            return refuse(format!(
                "the manifest declares {} settings; the limit is 64",
                m.settings.len()
            ));
        }
        let mut settings: Vec<SettingSpec> = Vec::with_capacity(m.settings.len());
        for declared in m.settings {
            let spec = check_spec(declared)?;
            if settings.iter().any(|s| s.name == spec.name) {
                return refuse(format!("the setting {:?} is declared twice", spec.name));
            }
            if is_reserved(&spec.name) {
                return refuse(format!(
                    "the setting {:?} is reserved for the host",
                    spec.name
                ));
            }
            settings.push(spec);
        }
        require(
            &settings,
            VARIANT,
            "a choice of \"leaky\" and \"fixed\"",
            |kind| match kind {
                SettingType::Choice(words) => {
                    [LEAKY, FIXED].iter().all(|v| words.iter().any(|w| w == v))
                }
                _ => false,
            },
        )?;
        require(&settings, PAYLOAD_BYTES, "an integer", |kind| {
            matches!(kind, SettingType::Integer { .. })
        })?;
        Ok(Manifest {
            id: m.id,
            version: m.version,
            title: m.title,
            description: m.description,
            unit: m.unit,
            settings,
            is_masked: false,
        })
    }

    /// The manifest under another id, without any text of the plugin's own.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] for an id that is not valid.
    pub(crate) fn masked(&self, alias: &str) -> Result<Self, PluginError> {
        check_id(alias)?;
        Ok(Manifest {
            id: alias.to_owned(),
            version: "0.0.0".to_owned(),
            title: alias.to_owned(),
            description: "A plugin whose name is hidden".to_owned(),
            unit: "objects".to_owned(),
            settings: self.settings.clone(),
            is_masked: true,
        })
    }
}

fn refuse<T>(message: String) -> Result<T, PluginError> {
    Err(PluginError::Refused(message))
}

/// Checks that `id` can name a plugin: kebab-case, 1 to 40 characters, not reserved by the admin
/// API.
///
/// # Errors
///
/// [`PluginError::Refused`] with the rule that it breaks.
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
            shorten(id)
        ));
    }
    if RESERVED_IDS.contains(&id) {
        return refuse(format!(
            "the id {id:?} is reserved by the admin API; choose another"
        ));
    }
    Ok(())
}

fn check_text(field: &str, text: &str, max_chars: usize) -> Result<(), PluginError> {
    if text.is_empty() || text.chars().count() > max_chars || text.chars().any(char::is_control) {
        return refuse(format!(
            "the manifest's {field} must have 1 to {max_chars} characters on one line"
        ));
    }
    Ok(())
}

fn check_word(
    field: &str,
    text: &str,
    max_bytes: usize,
    allowed: fn(char) -> bool,
) -> Result<(), PluginError> {
    if text.is_empty() || text.len() > max_bytes || !text.chars().all(allowed) {
        return refuse(format!(
            "the manifest's {field} {:?} must be 1 to {max_bytes} \
             lower-case letters or underscores",
            shorten(text)
        ));
    }
    Ok(())
}

fn check_spec(declared: wit::SettingSpec) -> Result<SettingSpec, PluginError> {
    check_word("setting name", &declared.name, 40, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
    })?;
    check_text("setting description", &declared.description, 300)?;
    let kind = match declared.type_ {
        wit::SettingType::Boolean => SettingType::Boolean,
        wit::SettingType::Integer(r) if r.min <= r.max => SettingType::Integer {
            min: r.min,
            max: r.max,
        },
        wit::SettingType::Number(r) if r.min <= r.max && r.min.is_finite() && r.max.is_finite() => {
            SettingType::Number {
                min: r.min,
                max: r.max,
            }
        }
        wit::SettingType::Choice(words) if !words.is_empty() && words.len() <= 32 => {
            for word in &words {
                check_text("choice", word, 40)?;
            }
            SettingType::Choice(words)
        }
        _ => {
            return refuse(format!(
                "the range of the setting {:?} is empty or infinite",
                declared.name
            ));
        }
    };
    let default = from_wit(declared.default);
    let spec = SettingSpec {
        name: declared.name,
        description: declared.description,
        kind,
        optional: false,
        default: default.clone(),
        applied_by: AppliedBy::Plugin,
    };
    let default = spec.check(default).map_err(|e| {
        PluginError::Refused(format!(
            "the default of a setting is outside its own range: {e}"
        ))
    })?;
    Ok(SettingSpec { default, ..spec })
}

fn require(
    settings: &[SettingSpec],
    name: &str,
    what: &str,
    fits: fn(&SettingType) -> bool,
) -> Result<(), PluginError> {
    match settings.iter().find(|s| s.name == name) {
        Some(spec) if fits(&spec.kind) => Ok(()),
        _ => refuse(format!(
            "the manifest must declare the setting {name:?} as {what}"
        )),
    }
}

/// The start of a text from the guest, short enough for an error message.
fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
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
    fn a_complete_manifest_is_accepted() {
        let checked = Manifest::check(manifest()).unwrap();
        assert_eq!(checked.id, "cache");
        assert_eq!(checked.settings.len(), 2);
    }

    #[test]
    fn each_mistake_is_refused_by_name() {
        type Mistake = fn(&mut wit::Manifest);
        let cases: [(Mistake, &str); 9] = [
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
            (|m| m.settings[1].name = "variant".into(), "declared twice"),
            (
                |m| m.settings[1].name = "probability".into(),
                "reserved for the host",
            ),
        ];
        for (make, word) in cases {
            let mut m = manifest();
            make(&mut m);
            let message = Manifest::check(m).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
    }
}
