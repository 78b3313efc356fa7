//! `/admin/leaks/…`, `/admin/reset` and `/admin/gc`: switching, clearing and resetting leaks.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value as Json_, json};
use utoipa::ToSchema;

use super::Lab;
use super::body::JsonObject;
use super::error::{ApiError, ErrorBody};
use super::leak_status::{LeakStatus, Leaks, SettingsBody, leak_status};
use super::name::Name;
use super::size::{difference, mb, signed_mb};
use plugin_host::driver::handle::Plugin;
use plugin_host::settings::Value;
use process_memory::allocator;

/// The memory of the process, in short.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MemorySummary {
    /// Resident MiB.
    rss_mb: f64,
    /// The same in bytes.
    rss_bytes: u64,
    /// MiB of address space: wasm reserves it and mostly never touches it.
    vms_mb: f64,
    /// The same in bytes.
    vms_bytes: u64,
    /// Address space that is reserved and not resident.
    reserved_mb: f64,
    /// The same in bytes.
    reserved_bytes: u64,
    /// Resident MiB gained since the start.
    growth_since_start_mb: f64,
    /// The same in bytes.
    growth_since_start_bytes: i64,
    /// The limit that applies to the process.
    limit_mb: Option<f64>,
    /// The same in bytes.
    limit_bytes: Option<u64>,
    /// Resident bytes in percent of the limit.
    used_percent_of_limit: Option<f64>,
}

/// All leaks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LeaksStatus {
    /// One member per loaded plugin.
    #[schema(value_type = BTreeMap<String, LeakStatus>)]
    leaks: Leaks,
    /// The process.
    memory: MemorySummary,
}

/// What a switch answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Switched {
    /// The leak's name.
    leak: String,
    /// Whether it is on now.
    enabled: bool,
    /// What the plugin does.
    description: String,
    /// Whether a fresh instance was started, as another `heap_profile` needs: what it retained is gone.
    restarted: bool,
    /// All settings in force.
    #[schema(value_type = Object)]
    settings: SettingsBody,
    /// When it disables itself, RFC 3339.
    expires_at: Option<String>,
}

/// What a reset answers. `memory_*` is the resident memory of the process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ResetDone {
    /// The leak's name.
    leak: String,
    /// The number of the fresh instance.
    generation: u64,
    memory_before_mb: f64,
    memory_before_bytes: u64,
    memory_after_mb: f64,
    memory_after_bytes: u64,
    freed_mb: f64,
    freed_bytes: i64,
    linear_memory_before_mb: f64,
    linear_memory_before_bytes: u64,
    linear_memory_after_mb: f64,
    linear_memory_after_bytes: u64,
}

/// What the reset of everything answers. `memory_*` is the resident memory of the process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AllReset {
    /// `all`.
    reset: &'static str,
    /// The generation of each plugin.
    generations: BTreeMap<String, u64>,
    memory_before_mb: f64,
    memory_before_bytes: u64,
    memory_after_mb: f64,
    memory_after_bytes: u64,
    freed_mb: f64,
    freed_bytes: i64,
}

/// What a collection did to one plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GcResult {
    /// The plugin's name.
    plugin: String,
    /// Whether it has a fresh instance now.
    recycled: bool,
    linear_memory_before_mb: f64,
    linear_memory_before_bytes: u64,
    linear_memory_after_mb: f64,
    linear_memory_after_bytes: u64,
    /// Why, or why not.
    reason: String,
}

/// What a collection answers. `memory_*` is the resident memory of the process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Collected {
    /// One member per plugin.
    gc_results: Vec<GcResult>,
    memory_before_mb: f64,
    memory_before_bytes: u64,
    memory_after_mb: f64,
    memory_after_bytes: u64,
    freed_mb: f64,
    freed_bytes: i64,
    /// What this can and cannot do.
    note: &'static str,
}

/// Every leak, and the memory of the process.
#[utoipa::path(get, path = "/admin/leaks/status", tag = "leaks", responses((status = 200, body = LeaksStatus)))]
pub(super) async fn status(State(lab): State<Arc<Lab>>) -> Result<Json<LeaksStatus>, ApiError> {
    Ok(Json(LeaksStatus {
        leaks: Leaks::of(&lab),
        memory: summary(&lab)?,
    }))
}

/// One leak.
#[utoipa::path(get, path = "/admin/leaks/{name}", tag = "leaks", params(("name" = String, Path, description = "The leak")),
    responses((status = 200, body = LeakStatus), (status = 404, body = ErrorBody)))]
pub(super) async fn show(
    State(lab): State<Arc<Lab>>,
    Name(name): Name,
) -> Result<Json<LeakStatus>, ApiError> {
    Ok(Json(leak_status(&*find(&lab, &name)?)))
}

/// Switches a leak on or off and changes its settings: `{"enabled": true, "payload_bytes": 1024}`. `enabled` is
/// needed unless a setting is given.
#[utoipa::path(post, path = "/admin/leaks/{name}", tag = "leaks", params(("name" = String, Path, description = "The leak")),
    request_body(content = Object, description = "`enabled` and any of the leak's settings"),
    responses((status = 200, body = Switched), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(super) async fn switch(
    State(lab): State<Arc<Lab>>,
    Name(name): Name,
    mut body: JsonObject,
) -> Result<Json<Switched>, ApiError> {
    let plugin = find(&lab, &name)?;
    let enabled = match body.take("enabled") {
        None => None,
        Some(Json_::Bool(enabled)) => Some(enabled),
        Some(_) => return Err(ApiError::invalid_value("enabled", "takes true or false")),
    };
    let mut changes = Vec::with_capacity(body.0.len());
    for (setting, value) in body.0 {
        let Some(value) = from_json(value) else {
            return Err(ApiError::invalid_value(
                &setting,
                "takes one value, not a list or an object",
            ));
        };
        changes.push((setting, value));
    }
    if enabled.is_none() && changes.is_empty() {
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "missing_field",
            "enabled: needed unless a setting is given",
            "send {\"enabled\": true} or {\"enabled\": false}",
        ));
    }
    let generation = plugin.reading().generation;
    lab.registry.update(&plugin, enabled, changes).await?;
    let restarted = plugin.reading().generation != generation;
    let details = plugin.details();
    Ok(Json(Switched {
        leak: name,
        enabled: plugin.enabled(),
        description: details.manifest.description.clone(),
        restarted,
        settings: SettingsBody::of(&details.settings),
        expires_at: details.expires_at.map(|t| t.to_string()),
    }))
}

/// Drops what the pattern retains, inside the guest: `{"leak_type": "cache"}`, or all without a body. It does not
/// switch the leak off, and linear memory does not shrink by it.
#[utoipa::path(post, path = "/admin/leaks/clear", tag = "leaks",
    request_body(content = Object, description = "`leak_type`: a leak's name, or `all`"),
    responses((status = 200, body = Object), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(super) async fn clear(
    State(lab): State<Arc<Lab>>,
    mut body: JsonObject,
) -> Result<Json<Json_>, ApiError> {
    let which = match body.take("leak_type") {
        None => "all".to_owned(),
        Some(Json_::String(which)) => which,
        Some(_) => {
            return Err(ApiError::invalid_value(
                "leak_type",
                "takes a leak's name, or \"all\"",
            ));
        }
    };
    body.finish(&["leak_type"])?;
    if which != "all" {
        let plugin = find(&lab, &which)?;
        let removed = plugin.clear().await?.removed;
        let unit = format!("{}_removed", plugin.details().manifest.unit);
        return Ok(Json(json!({
            "cleared": which,
            unit: removed.objects,
            "freed_mb": mb(removed.bytes),
            "freed_bytes": removed.bytes,
        })));
    }
    let (mut removed, mut skipped) = (Map::new(), Map::new());
    let (mut total, mut bytes) = (0, 0);
    for plugin in lab.registry.plugins().iter() {
        match plugin.clear().await {
            Ok(clearing) => {
                removed.insert(plugin.id().to_owned(), clearing.removed.objects.into());
                total += clearing.removed.objects;
                bytes += clearing.removed.bytes;
            }
            // One plugin that is dead does not keep the others from being cleared.
            Err(error) => {
                skipped.insert(plugin.id().to_owned(), error.to_string().into());
            }
        }
    }
    let mut answer = json!({
        "cleared": "all",
        "removed": removed,
        "total_removed": total,
        "freed_mb": mb(bytes),
        "freed_bytes": bytes,
    });
    if let (false, Some(answer)) = (skipped.is_empty(), answer.as_object_mut()) {
        answer.insert("not_cleared".into(), skipped.into());
    }
    Ok(Json(answer))
}

/// Drops the instance and starts a fresh one with the same settings.
#[utoipa::path(post, path = "/admin/leaks/{name}/reset", tag = "leaks", params(("name" = String, Path, description = "The leak")),
    responses((status = 200, body = ResetDone), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(super) async fn reset(
    State(lab): State<Arc<Lab>>,
    Name(name): Name,
    body: JsonObject,
) -> Result<Json<ResetDone>, ApiError> {
    body.finish(&[])?;
    let plugin = find(&lab, &name)?;
    let before = resident(&lab)?;
    let done = plugin.reset(false).await?;
    allocator::release_free_pages();
    let after = resident(&lab)?;
    Ok(Json(ResetDone {
        leak: name,
        generation: done.generation,
        memory_before_mb: mb(before),
        memory_before_bytes: before,
        memory_after_mb: mb(after),
        memory_after_bytes: after,
        freed_mb: signed_mb(difference(before, after)),
        freed_bytes: difference(before, after),
        linear_memory_before_mb: mb(done.linear_before),
        linear_memory_before_bytes: done.linear_before,
        linear_memory_after_mb: mb(done.linear_after),
        linear_memory_after_bytes: done.linear_after,
    }))
}

/// Everything as at the start: leaks off, settings at their defaults, instances fresh, baselines gone.
#[utoipa::path(post, path = "/admin/reset", tag = "leaks",
    responses((status = 200, body = AllReset), (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn reset_all(
    State(lab): State<Arc<Lab>>,
    body: JsonObject,
) -> Result<Json<AllReset>, ApiError> {
    body.finish(&[])?;
    let before = resident(&lab)?;
    let mut generations = BTreeMap::new();
    let mut failed = None;
    for plugin in lab.registry.plugins().iter() {
        match plugin.reset(true).await {
            Ok(done) => drop(generations.insert(plugin.id().to_owned(), done.generation)),
            Err(error) => failed = Some(error),
        }
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    lab.baselines.clear();
    allocator::release_free_pages();
    let after = resident(&lab)?;
    Ok(Json(AllReset {
        reset: "all",
        generations,
        memory_before_mb: mb(before),
        memory_before_bytes: before,
        memory_after_mb: mb(after),
        memory_after_bytes: after,
        freed_mb: signed_mb(difference(before, after)),
        freed_bytes: difference(before, after),
    }))
}

/// Gives back what can be given back: a plugin that retains nothing gets a fresh instance, since its linear
/// memory can only shrink that way; then the host's allocator returns its free pages. What is retained stays.
#[utoipa::path(post, path = "/admin/gc", tag = "leaks",
    responses((status = 200, body = Collected), (status = 503, body = ErrorBody)))]
pub(super) async fn collect(
    State(lab): State<Arc<Lab>>,
    body: JsonObject,
) -> Result<Json<Collected>, ApiError> {
    body.finish(&[])?;
    let before = resident(&lab)?;
    let mut gc_results = Vec::new();
    for plugin in lab.registry.plugins().iter() {
        let done = plugin.recycle().await?;
        gc_results.push(GcResult {
            plugin: plugin.id().to_owned(),
            recycled: done.recycled,
            linear_memory_before_mb: mb(done.linear_before),
            linear_memory_before_bytes: done.linear_before,
            linear_memory_after_mb: mb(done.linear_after),
            linear_memory_after_bytes: done.linear_after,
            reason: done.reason,
        });
    }
    allocator::release_free_pages();
    let after = resident(&lab)?;
    Ok(Json(Collected {
        gc_results,
        memory_before_mb: mb(before),
        memory_before_bytes: before,
        memory_after_mb: mb(after),
        memory_after_bytes: after,
        freed_mb: signed_mb(difference(before, after)),
        freed_bytes: difference(before, after),
        note: "WebAssembly has no garbage collector to trigger: a plugin that retains nothing gets a fresh \
               instance, and the host's allocator returns its free pages. What is retained is never dropped; \
               POST /admin/leaks/clear does that.",
    }))
}

fn summary(lab: &Lab) -> Result<MemorySummary, ApiError> {
    let process = lab.monitor.process().map_err(|e| ApiError::internal(&e))?;
    let budget = lab.monitor.budget();
    let rss = process.resident_bytes;
    let growth = difference(rss, lab.monitor.history().start_resident_bytes());
    let limit = budget.limit.map(|l| l.bytes);
    Ok(MemorySummary {
        rss_mb: mb(rss),
        rss_bytes: rss,
        vms_mb: mb(process.virtual_bytes),
        vms_bytes: process.virtual_bytes,
        reserved_mb: mb(process.virtual_bytes.saturating_sub(rss)),
        reserved_bytes: process.virtual_bytes.saturating_sub(rss),
        growth_since_start_mb: signed_mb(growth),
        growth_since_start_bytes: growth,
        limit_mb: limit.map(mb),
        limit_bytes: limit,
        used_percent_of_limit: budget.percent_of_limit(rss),
    })
}

fn resident(lab: &Lab) -> Result<u64, ApiError> {
    lab.monitor
        .resident_bytes()
        .map_err(|e| ApiError::internal(&e))
}

fn find(lab: &Lab, name: &str) -> Result<Arc<Plugin>, ApiError> {
    lab.registry.get(name).ok_or_else(|| {
        let plugins = lab.registry.plugins();
        ApiError::unknown_leak(name, &plugins.iter().map(|p| p.id()).collect::<Vec<_>>())
    })
}

fn from_json(value: Json_) -> Option<Value> {
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
