//! The settings of a plugin: the ones that the plugin declares, then the ones that the host adds to
//! every plugin.
//!
//! A change is checked completely before any part of it applies, so a refused call changes nothing.

mod host;
pub(crate) mod names;
mod policy;
pub(crate) mod schedule;
mod spec;
pub(crate) mod wit;

use crate::error::PluginError;
use crate::settings::host::HostSetting;

pub use self::host::{Defaults, HeapProfile};
pub(crate) use self::host::{WASM32_MEMORY_MAX, is_reserved};
pub use self::policy::{Policy, Target};
pub use self::spec::{AppliedBy, SettingSpec, SettingType, Value};

/// The settings of one plugin with their current values.
#[derive(Debug, Clone)]
pub struct Settings {
    plugin: String,
    specs: Vec<SettingSpec>,
    /// One for each spec, in the same order.
    values: Vec<Value>,
    policy: Policy,
}

/// A setting that went back to its default because the new component does not accept its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingReset {
    /// The setting's name.
    pub name: String,
    /// Why, in words for a person.
    pub reason: String,
}

impl Settings {
    /// The declared settings and the host's, all at their defaults.
    pub fn new(plugin: &str, declared: Vec<SettingSpec>, defaults: &Defaults) -> Self {
        let mut specs = declared;
        specs.extend(HostSetting::ALL.map(|setting| setting.spec(defaults)));
        let values: Vec<Value> = specs.iter().map(|spec| spec.default.clone()).collect();
        let mut settings = Settings {
            plugin: plugin.to_owned(),
            specs,
            values,
            policy: Policy::decode(|_| None),
        };
        settings.decode_policy();
        settings
    }

    /// Each setting with its current value.
    pub fn iter(&self) -> impl Iterator<Item = (&SettingSpec, &Value)> {
        self.specs.iter().zip(&self.values)
    }

    /// The current value of a setting.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter()
            .find(|(spec, _)| spec.name == name)
            .map(|(_, value)| value)
    }

    /// The host's settings.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// `leaky` or `fixed`.
    pub fn variant(&self) -> &str {
        match self.get(names::VARIANT) {
            Some(Value::Text(word)) => word,
            _ => names::LEAKY,
        }
    }

    /// The setting `payload_bytes` and its value.
    pub fn payload(&self) -> Option<(&SettingSpec, u64)> {
        self.iter().find_map(|(spec, value)| match value {
            Value::Integer(bytes) if spec.name == names::PAYLOAD_BYTES => {
                Some((spec, u64::try_from(*bytes).unwrap_or(0)))
            }
            _ => None,
        })
    }

    /// A copy with some values changed.
    ///
    /// # Errors
    ///
    /// [`PluginError::UnknownSetting`] and [`PluginError::InvalidValue`].
    pub fn with(&self, changes: Vec<(String, Value)>) -> Result<Settings, PluginError> {
        let mut next = self.clone();
        for (name, value) in changes {
            let slot = next
                .specs
                .iter()
                .zip(&mut next.values)
                .find(|(spec, _)| spec.name == name);
            let Some((spec, slot)) = slot else {
                return Err(PluginError::UnknownSetting {
                    plugin: self.plugin.clone(),
                    name,
                    known: self.specs.iter().map(|s| s.name.clone()).collect(),
                });
            };
            *slot = spec.check(value)?;
        }
        Policy::check(|name| next.get(name))?;
        next.decode_policy();
        Ok(next)
    }

    /// A copy with every value of `old` that is not a default and that these settings still accept,
    /// and the settings that do not accept theirs any more.
    pub(crate) fn keeping(&self, old: &Settings) -> (Settings, Vec<SettingReset>) {
        let mut next = self.clone();
        let mut reset = Vec::new();
        for (was, value) in old.iter().filter(|(was, value)| **value != was.default) {
            let mut slots = next.specs.iter().zip(&mut next.values);
            let kept = match slots.find(|(spec, _)| spec.name == was.name) {
                None => Err("the new version has no such setting".to_owned()),
                Some((spec, slot)) => match spec.check(value.clone()) {
                    Ok(value) => {
                        *slot = value;
                        Ok(())
                    }
                    Err(error) => Err(error.to_string()),
                },
            };
            if let Err(reason) = kept {
                reset.push(SettingReset {
                    name: was.name.clone(),
                    reason,
                });
            }
        }
        next.decode_policy();
        (next, reset)
    }

    /// Resets one setting to its default. Returns whether its value was another one.
    pub(crate) fn reset(&mut self, name: &str) -> bool {
        let mut slots = self.specs.iter().zip(&mut self.values);
        let slot = slots.find(|(spec, value)| spec.name == name && **value != spec.default);
        let Some((spec, value)) = slot else {
            return false;
        };
        *value = spec.default.clone();
        self.decode_policy();
        true
    }

    /// A copy with all values at their defaults.
    pub(crate) fn at_defaults(&self) -> Settings {
        let mut next = self.clone();
        next.values = next.specs.iter().map(|s| s.default.clone()).collect();
        next.decode_policy();
        next
    }

    /// The plugin's own settings whose values differ from `old`: the ones to pass to the guest.
    pub(crate) fn plugin_changes<'a>(
        &'a self,
        old: &'a Settings,
    ) -> impl Iterator<Item = (&'a SettingSpec, &'a Value)> {
        self.iter()
            .zip(&old.values)
            .filter(|((spec, value), old)| spec.applied_by == AppliedBy::Plugin && value != old)
            .map(|(pair, _)| pair)
    }

    fn decode_policy(&mut self) {
        self.policy = Policy::decode(|name| self.get(name));
    }
}

#[cfg(test)]
mod tests;
