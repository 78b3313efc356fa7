//! The description of one plugin in an answer.

use serde::Serialize;
use serde_json::Value as Json_;
use utoipa::ToSchema;

use crate::leak_status::{FailureInfo, failure, to_json};
use plugin_host::driver::handle::Plugin;
use plugin_host::settings::{AppliedBy, SettingSpec, SettingType, Value};

/// A loaded plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginInfo {
    /// The plugin's name in URLs, metrics and panels.
    id: String,
    /// The plugin's version.
    version: String,
    /// The plugin's name for people.
    title: String,
    /// One sentence.
    description: String,
    /// The unit of the objects that it retains: `entries`, `callbacks`, …
    unit: String,
    /// SHA-256 of the component, in hex.
    digest: String,
    /// Size of the component in bytes.
    size_bytes: u64,
    /// The component's file. For a plugin that is only in memory, the name that it was sent under.
    file: String,
    /// Whether the component is in a file. Otherwise a restart loses the plugin.
    persisted: bool,
    /// The time to compile the component, or to load it from the cache.
    compile_time_ms: f64,
    /// Whether the compiled code came from the cache.
    cached: bool,
    /// Size of the machine code in bytes.
    code_bytes: u64,
    /// The interfaces that the component imports.
    imports: Vec<String>,
    settings: Vec<SettingInfo>,
    /// `running`, `exhausted` or `faulted`.
    state: &'static str,
    /// Why the plugin is not running; null while it runs.
    reason: Option<String>,
    /// The last failure of any instance. A reset keeps it.
    last_failure: Option<FailureInfo>,
    /// Whether the leak is on.
    enabled: bool,
    /// The number of the instance, from 1.
    generation: u64,
    /// When the plugin was loaded, RFC 3339.
    loaded_at: String,
}

/// A setting with its type and range.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SettingInfo {
    name: String,
    /// One sentence.
    description: String,
    /// `boolean`, `integer`, `number` or `choice`.
    r#type: &'static str,
    /// The smallest accepted value; numbers only.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<Json_>,
    /// The largest accepted value; numbers only.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Json_>,
    /// The accepted words; choices only.
    #[serde(skip_serializing_if = "Option::is_none")]
    choices: Option<Vec<String>>,
    /// Whether the setting accepts null.
    nullable: bool,
    /// The value at the start.
    #[schema(value_type = serde_json::Value)]
    default: Json_,
    /// The value in force.
    #[schema(value_type = serde_json::Value)]
    value: Json_,
    /// Who applies the setting: `host` or `plugin`.
    owner: &'static str,
}

impl PluginInfo {
    pub(super) fn of(plugin: &Plugin) -> Self {
        let details = plugin.details();
        let (manifest, source) = (&details.manifest, &details.source);
        PluginInfo {
            id: manifest.id.clone(),
            version: manifest.version.clone(),
            title: manifest.title.clone(),
            description: manifest.description.clone(),
            unit: manifest.unit.clone(),
            digest: source.digest.clone(),
            size_bytes: source.size,
            file: source.path.display().to_string(),
            persisted: source.in_memory.is_none(),
            compile_time_ms: source.compile_time.as_secs_f64() * 1e3,
            cached: source.cached,
            code_bytes: source.code_bytes,
            imports: source.imports.clone(),
            settings: details
                .settings
                .iter()
                .map(|(spec, value)| SettingInfo::of(spec, value))
                .collect(),
            state: details.state.name(),
            reason: details.state.fault().map(|f| f.reason.clone()),
            last_failure: details.last_failure.as_deref().map(failure),
            enabled: plugin.enabled(),
            generation: plugin.reading().generation,
            loaded_at: details.loaded_at.to_string(),
        }
    }
}

impl SettingInfo {
    fn of(spec: &SettingSpec, value: &Value) -> Self {
        let (kind, min, max, choices) = match &spec.kind {
            SettingType::Boolean => ("boolean", None, None, None),
            SettingType::Integer { min, max } => {
                ("integer", Some((*min).into()), Some((*max).into()), None)
            }
            SettingType::Number { min, max } => {
                ("number", Some((*min).into()), Some((*max).into()), None)
            }
            SettingType::Choice(words) => ("choice", None, None, Some(words.clone())),
        };
        SettingInfo {
            name: spec.name.clone(),
            description: spec.description.clone(),
            r#type: kind,
            min,
            max,
            choices,
            nullable: spec.optional,
            default: to_json(&spec.default),
            value: to_json(value),
            owner: match spec.applied_by {
                AppliedBy::Host => "host",
                AppliedBy::Plugin => "plugin",
            },
        }
    }
}
