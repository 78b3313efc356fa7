//! `/admin/plugins`: what is loaded.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value as Json_;
use utoipa::ToSchema;

use super::Lab;
use super::error::{ApiError, ErrorBody};
use super::leak_status::{FailureInfo, failure, to_json};
use super::name::Name;
use plugin_host::driver::handle::Plugin;
use plugin_host::load::folder::LoadProblem;
use plugin_host::settings::{Kind, Owner, Spec, Value};

/// A loaded plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PluginInfo {
    /// Its name in URLs, metrics and panels.
    id: String,
    /// Its own version.
    version: String,
    /// For people.
    title: String,
    /// One sentence.
    description: String,
    /// What it counts.
    unit: String,
    /// SHA-256 of the component, in hex.
    digest: String,
    /// Size of the component.
    size_bytes: u64,
    /// The file it was loaded from; for one that is in memory only, the name it was sent under.
    file: String,
    /// Whether it is in a file, and so is there again after a restart.
    persisted: bool,
    /// Time that compiling took, or taking it from the cache.
    compile_time_ms: f64,
    /// Whether it came from the cache.
    cached: bool,
    /// Size of its machine code.
    code_bytes: u64,
    /// The interfaces that it imports.
    imports: Vec<String>,
    /// Its settings.
    settings: Vec<SettingInfo>,
    /// `running`, `exhausted` or `faulted`.
    state: &'static str,
    /// What it died of, if it is not running.
    reason: Option<String>,
    /// Its last failure, which a reset does not forget.
    last_failure: Option<FailureInfo>,
    /// Whether its leak is on.
    enabled: bool,
    /// Which instance this is, from 1.
    generation: u64,
    /// When it was loaded, RFC 3339.
    loaded_at: String,
}

/// A setting with its type and range.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SettingInfo {
    /// Its name.
    name: String,
    /// One sentence.
    description: String,
    /// `boolean`, `integer`, `number` or `choice`.
    r#type: &'static str,
    /// The smallest value.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<Json_>,
    /// The largest value.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Json_>,
    /// The words it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    choices: Option<Vec<String>>,
    /// Whether null is a value.
    nullable: bool,
    /// The value at the start.
    #[schema(value_type = serde_json::Value)]
    default: Json_,
    /// The value in force.
    #[schema(value_type = serde_json::Value)]
    value: Json_,
    /// Who acts on it: `host` or `plugin`.
    owner: &'static str,
}

/// All plugins.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PluginList {
    plugins: Vec<PluginInfo>,
    /// Files in the plugins folder that could not be loaded. What was loaded before goes on.
    problems: Vec<ProblemInfo>,
}

/// A file that could not be loaded.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProblemInfo {
    /// Which file, or the folder itself.
    file: String,
    /// What is wrong with it.
    error: String,
    /// Since when, RFC 3339.
    since: String,
}

/// What is loaded.
#[utoipa::path(get, path = "/admin/plugins", tag = "plugins", responses((status = 200, body = PluginList)))]
pub(super) async fn list(State(lab): State<Arc<Lab>>) -> Json<PluginList> {
    let problems = lab.registry.folder().map(|f| f.problems());
    let problem = |p: LoadProblem| ProblemInfo {
        file: p.file.display().to_string(),
        error: p.error,
        since: p.since.to_string(),
    };
    Json(PluginList {
        plugins: lab.registry.plugins().iter().map(|p| info(p)).collect(),
        problems: problems.into_iter().flatten().map(problem).collect(),
    })
}

/// One loaded plugin.
#[utoipa::path(get, path = "/admin/plugins/{name}", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's id")),
    responses((status = 200, body = PluginInfo), (status = 404, body = ErrorBody)))]
pub(super) async fn show(
    State(lab): State<Arc<Lab>>,
    Name(name): Name,
) -> Result<Json<PluginInfo>, ApiError> {
    Ok(Json(info(&*find(&lab, &name)?)))
}

/// The plugin of this id.
pub(super) fn find(lab: &Lab, name: &str) -> Result<Arc<Plugin>, ApiError> {
    lab.registry.get(name).ok_or_else(|| {
        let plugins = lab.registry.plugins();
        ApiError::unknown_plugin(name, &plugins.iter().map(|p| p.id()).collect::<Vec<_>>())
    })
}

/// A plugin for people and programs.
pub(super) fn info(plugin: &Plugin) -> PluginInfo {
    let details = plugin.details();
    let (manifest, origin) = (&details.manifest, &details.origin);
    PluginInfo {
        id: manifest.id.clone(),
        version: manifest.version.clone(),
        title: manifest.title.clone(),
        description: manifest.description.clone(),
        unit: manifest.unit.clone(),
        digest: origin.digest.clone(),
        size_bytes: origin.size,
        file: origin.path.display().to_string(),
        persisted: origin.in_memory.is_none(),
        compile_time_ms: origin.compile_time.as_secs_f64() * 1e3,
        cached: origin.cached,
        code_bytes: origin.code_bytes,
        imports: origin.imports.clone(),
        settings: details
            .settings
            .iter()
            .map(|(spec, value)| setting(spec, value))
            .collect(),
        state: details.state.name(),
        reason: details.state.fault().map(|f| f.reason.clone()),
        last_failure: details.last_failure.as_deref().map(failure),
        enabled: plugin.enabled(),
        generation: plugin.reading().generation,
        loaded_at: details.loaded_at.to_string(),
    }
}

fn setting(spec: &Spec, value: &Value) -> SettingInfo {
    let (kind, min, max, choices) = match &spec.kind {
        Kind::Boolean => ("boolean", None, None, None),
        Kind::Integer { min, max } => ("integer", Some((*min).into()), Some((*max).into()), None),
        Kind::Number { min, max } => ("number", Some((*min).into()), Some((*max).into()), None),
        Kind::Choice(words) => ("choice", None, None, Some(words.clone())),
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
        owner: match spec.owner {
            Owner::Host => "host",
            Owner::Plugin => "plugin",
        },
    }
}
