//! The settings of a plugin: those that the host adds to every plugin, and those that the plugin declares.
//!
//! A change is checked whole before any of it is applied, so a refused call changes nothing.

use std::time::Duration;

use crate::driver::target::Target;
use crate::error::PluginError;

/// Bytes in the `*_mb` of the API: 2^20.
const MEBIBYTE: f64 = 1_048_576.0;

/// What one linear memory can hold at most: 4 GiB, the range of a 32-bit address.
pub(crate) const WASM32_MEMORY_MAX: u64 = 1 << 32;

/// The value of a setting.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Number(f64),
    /// A word.
    Text(String),
    /// Not set; only for settings that are optional.
    Unset,
}

/// Which values a setting takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number in an inclusive range.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A finite number in an inclusive range.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// One of these words.
    Choice(Vec<String>),
}

/// Who acts on a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The host: the plugin never hears of it.
    Host,
    /// The plugin: it gets each new value through `configure`.
    Plugin,
}

/// One setting with its type, range and default.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// In snake_case.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// Which values it takes.
    pub kind: Kind,
    /// Whether it may be [`Value::Unset`].
    pub optional: bool,
    /// The value at the start.
    pub default: Value,
    /// Who acts on it.
    pub owner: Owner,
}

impl Kind {
    /// `a whole number from 0 to 10`.
    pub fn describe(&self) -> String {
        match self {
            Kind::Boolean => "true or false".into(),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Number { min, max } => format!("a number from {min} to {max}"),
            Kind::Choice(words) => {
                format!(
                    "one of {}",
                    words
                        .iter()
                        .map(|w| format!("{w:?}"))
                        .collect::<Vec<_>>()
                        .join(", ")
                )
            }
        }
    }

    fn accepts(&self, value: &Value) -> bool {
        match (self, value) {
            (Kind::Boolean, Value::Boolean(_)) => true,
            (Kind::Integer { min, max }, Value::Integer(v)) => (min..=max).contains(&v),
            (Kind::Number { min, max }, Value::Number(v)) => (min..=max).contains(&v),
            (Kind::Choice(words), Value::Text(v)) => words.contains(v),
            _ => false,
        }
    }
}

impl Spec {
    /// The value of this setting that is nearest to a number of bytes.
    pub fn nearest(&self, bytes: u64) -> Value {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        Value::Integer(match self.kind {
            // Not `clamp`, which panics where a range is empty.
            Kind::Integer { min, max } => bytes.max(min).min(max),
            _ => bytes,
        })
    }

    /// The value as this setting keeps it, or why not: `payload_bytes: 4.5 is not a whole number from …`.
    pub fn check(&self, value: Value) -> Result<Value, PluginError> {
        // JSON has one kind of number: 3 is fine where 3.0 is wanted.
        let value = match (&self.kind, value) {
            (Kind::Number { .. }, Value::Integer(v)) => Value::Number(v as f64),
            (Kind::Integer { .. }, Value::Number(v)) if v.fract() == 0.0 && v.abs() < 9e15 => {
                Value::Integer(v as i64)
            }
            (_, v) => v,
        };
        if (self.optional && value == Value::Unset) || self.kind.accepts(&value) {
            return Ok(value);
        }
        let or_null = if self.optional {
            ", or null for none"
        } else {
            ""
        };
        Err(PluginError::InvalidValue {
            name: self.name.clone(),
            message: format!("takes {}{or_null}", self.kind.describe()),
        })
    }
}

/// The settings of one plugin with the values in force.
#[derive(Debug, Clone)]
pub struct Settings {
    plugin: String,
    specs: Vec<Spec>,
    values: Vec<Value>,
    policy: Policy,
}

/// A setting that went back to its default because a new version of the plugin does not take its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingReset {
    /// The setting's name.
    pub name: String,
    /// Why, for people.
    pub reason: String,
}

/// The host's settings, ready for the hot path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Share of requests for which the pattern runs, 0 to 1.
    pub probability: f64,
    /// Retained bytes at which the pattern stops running.
    pub(crate) retained_max: Option<u64>,
    /// What is to be retained by when.
    pub target: Option<Target>,
    /// Time after which an enabled leak disables itself.
    pub(crate) time_to_live: Option<Duration>,
    /// Time that one call may take.
    pub deadline: Duration,
    /// Linear memory that the plugin may have, in bytes.
    pub memory_limit: u64,
    /// Whether live bytes are kept by source line.
    pub heap_profile: bool,
}

/// How long a request waits for a plugin beyond the deadline of one call, for what is queued before it.
const QUEUE_GRACE: Duration = Duration::from_millis(50);

impl Policy {
    /// How long a request waits for the plugin.
    pub fn patience(&self) -> Duration {
        self.deadline + QUEUE_GRACE
    }
}

/// What the command line says about every plugin's defaults.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// Time that one call may take.
    pub deadline: Duration,
    /// Linear memory that a plugin may have, in bytes; none: what wasm allows.
    pub memory_limit: Option<u64>,
    /// Whether live bytes are kept by source line.
    pub heap_profile: bool,
}

impl Settings {
    /// Those of the host, then those that the plugin declares, all at their defaults.
    pub fn new(plugin: &str, declared: Vec<Spec>, defaults: Defaults) -> Self {
        let mut specs = declared;
        specs.extend(host_specs(defaults));
        let values: Vec<Value> = specs.iter().map(|s| s.default.clone()).collect();
        let mut settings = Settings {
            plugin: plugin.to_owned(),
            specs,
            values,
            policy: Policy::of(|_| None),
        };
        settings.refresh();
        settings
    }

    /// Each setting with the value in force.
    pub fn iter(&self) -> impl Iterator<Item = (&Spec, &Value)> {
        self.specs.iter().zip(&self.values)
    }

    /// The value in force.
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
        match self.get("variant") {
            Some(Value::Text(word)) => word,
            _ => "leaky",
        }
    }

    /// What one request is to retain, in bytes, and its setting.
    pub fn payload(&self) -> Option<(&Spec, u64)> {
        self.iter().find_map(|(spec, value)| match value {
            Value::Integer(bytes) if spec.name == "payload_bytes" => {
                Some((spec, u64::try_from(*bytes).unwrap_or(0)))
            }
            _ => None,
        })
    }

    /// These settings with some values changed; everything is checked first.
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
        next.refresh();
        Ok(next)
    }

    /// The same declared settings with each value that was changed in `old` and still fits: what a replaced
    /// plugin keeps; and those that do not fit any more.
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
        next.refresh();
        (next, reset)
    }

    /// Puts one setting back to its default; says whether that changed anything.
    pub(crate) fn put_back(&mut self, name: &str) -> bool {
        let mut slots = self.specs.iter().zip(&mut self.values);
        let slot = slots.find(|(spec, value)| spec.name == name && **value != spec.default);
        let Some((spec, value)) = slot else {
            return false;
        };
        *value = spec.default.clone();
        self.refresh();
        true
    }

    /// All at their defaults.
    pub(crate) fn at_defaults(&self) -> Settings {
        let mut next = self.clone();
        next.values = next.specs.iter().map(|s| s.default.clone()).collect();
        next.refresh();
        next
    }

    /// The plugin's own settings whose values differ from those in `from`: what has to be told to the guest.
    pub(crate) fn plugin_changes<'a>(
        &'a self,
        from: &'a Settings,
    ) -> impl Iterator<Item = (&'a Spec, &'a Value)> {
        self.iter()
            .zip(&from.values)
            .filter(|((spec, value), old)| spec.owner == Owner::Plugin && value != old)
            .map(|(pair, _)| pair)
    }

    fn refresh(&mut self) {
        self.policy = Policy::of(|name| self.get(name));
    }
}

impl Policy {
    fn of<'a>(get: impl Fn(&str) -> Option<&'a Value>) -> Self {
        let number = |name: &str| match get(name) {
            Some(Value::Number(v)) => Some(*v),
            Some(Value::Integer(v)) => Some(*v as f64),
            _ => None,
        };
        Policy {
            probability: number("probability").unwrap_or(1.0),
            retained_max: number("max_mb").map(|mb| (mb * MEBIBYTE) as u64),
            target: number("target_mb").map(|mb| Target {
                bytes: (mb * MEBIBYTE) as u64,
                within: Duration::from_secs_f64(number("target_minutes").unwrap_or(10.0) * 60.0),
            }),
            time_to_live: number("ttl_seconds")
                .filter(|s| *s > 0.0)
                .map(Duration::from_secs_f64),
            deadline: Duration::from_secs_f64(number("deadline_ms").unwrap_or(250.0) / 1e3),
            memory_limit: number("memory_limit_mb")
                .map_or(WASM32_MEMORY_MAX, |mb| (mb * MEBIBYTE) as u64),
            heap_profile: get("heap_profile") == Some(&Value::Text("exact".into())),
        }
    }
}

/// The settings that need nothing of the plugin.
fn host_specs(defaults: Defaults) -> Vec<Spec> {
    let number = |name: &str, description: &str, min: f64, max: f64, default: Value| Spec {
        name: name.into(),
        description: description.into(),
        kind: Kind::Number { min, max },
        optional: default == Value::Unset,
        default,
        owner: Owner::Host,
    };
    vec![
        number(
            "probability",
            "Share of requests for which the pattern runs",
            0.0,
            1.0,
            Value::Number(1.0),
        ),
        number(
            "max_mb",
            "Retained MiB at which the pattern stops running",
            0.0,
            4096.0,
            Value::Unset,
        ),
        number(
            "target_mb",
            "Retained MiB to reach in target_minutes, whatever the rate of requests; null: as payload_bytes says",
            1.0,
            4096.0,
            Value::Unset,
        ),
        number(
            "target_minutes",
            "Minutes from the first request to target_mb",
            0.1,
            1440.0,
            Value::Number(10.0),
        ),
        number(
            "ttl_seconds",
            "Seconds after which the leak disables itself",
            0.0,
            604_800.0,
            Value::Unset,
        ),
        Spec {
            name: "deadline_ms".into(),
            description: "Milliseconds that one call may take before the plugin is stopped".into(),
            kind: Kind::Integer {
                min: 10,
                max: 60_000,
            },
            optional: false,
            default: Value::Integer(i64::try_from(defaults.deadline.as_millis()).unwrap_or(250)),
            owner: Owner::Host,
        },
        Spec {
            optional: true,
            ..number(
                "memory_limit_mb",
                "MiB of linear memory that the plugin may have; null: what wasm allows",
                1.0,
                4096.0,
                defaults
                    .memory_limit
                    .map_or(Value::Unset, |b| Value::Number(b as f64 / MEBIBYTE)),
            )
        },
        Spec {
            name: "heap_profile".into(),
            description:
                "Whether live bytes are kept by source line; a change starts a fresh instance"
                    .into(),
            kind: Kind::Choice(vec!["exact".into(), "off".into()]),
            optional: false,
            default: Value::Text(
                if defaults.heap_profile {
                    "exact"
                } else {
                    "off"
                }
                .into(),
            ),
            owner: Owner::Host,
        },
    ]
}

#[cfg(test)]
mod tests;
