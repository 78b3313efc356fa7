//! What the API tells of one leak: its state, its numbers, its settings and how it failed.

use std::sync::Arc;

use guest_heap::Attribution;
use serde::{Serialize, Serializer};
use serde_json::Value as Json_;
use utoipa::ToSchema;

use super::Lab;
use super::size::{difference, mb, signed_mb};
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::published_state::Failure;
use plugin_host::error::Frame;
use plugin_host::settings::{Settings, Value};

/// A JSON object with one member per setting.
#[derive(Debug)]
pub(super) struct SettingsBody(Arc<Settings>);

impl SettingsBody {
    /// The settings in force.
    pub(super) fn of(settings: &Arc<Settings>) -> Self {
        Self(settings.clone())
    }
}

// Written as it is read: with a thousand plugins the maps would take longer than the rest of the status.
impl Serialize for SettingsBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = self.0.iter();
        serializer.collect_map(members.map(|(spec, value)| (spec.name.as_str(), ValueBody(value))))
    }
}

struct ValueBody<'a>(&'a Value);

impl Serialize for ValueBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Boolean(v) => serializer.serialize_bool(*v),
            Value::Integer(v) => serializer.serialize_i64(*v),
            Value::Number(v) => serializer.serialize_f64(*v),
            Value::Text(v) => serializer.serialize_str(v),
            Value::Unset => serializer.serialize_none(),
        }
    }
}

/// One leak.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LeakStatus {
    /// Whether it is switched on.
    enabled: bool,
    /// `running`, `exhausted` or `faulted`.
    state: &'static str,
    /// What it died of, if it is not running.
    reason: Option<String>,
    /// The guest's call stack when it died, innermost first: `function at file:line`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backtrace: Vec<String>,
    /// Its last failure, which a reset does not forget.
    last_failure: Option<FailureInfo>,
    /// `leaky` or `fixed`.
    variant: String,
    /// Objects retained.
    count: u64,
    /// The same number.
    entries: u64,
    /// What is counted.
    unit: String,
    /// MiB that the pattern retains, as it has measured.
    estimated_size_mb: f64,
    /// The same in bytes.
    estimated_size_bytes: u64,
    /// MiB of linear memory: a high-water mark.
    linear_memory_mb: f64,
    /// The same in bytes.
    linear_memory_bytes: u64,
    /// The most linear memory that any instance has had.
    peak_linear_memory_mb: f64,
    /// The same in bytes.
    peak_linear_memory_bytes: u64,
    /// MiB of linear memory that the plugin may have.
    memory_limit_mb: f64,
    /// The same in bytes.
    memory_limit_bytes: u64,
    /// MiB that the guest's allocator has handed out and not got back; null without attribution.
    heap_live_mb: Option<f64>,
    /// The same in bytes.
    heap_live_bytes: Option<u64>,
    /// Linear memory gained since the instance had started.
    growth_since_baseline_mb: f64,
    /// The same in bytes.
    growth_since_baseline_bytes: i64,
    /// Retained bytes per request since the last clear.
    bytes_per_request: f64,
    /// How far its heap can be told by source line: `exact`, `partial` or `off`.
    attribution: &'static str,
    /// Why it is not `exact`.
    attribution_why: Option<String>,
    /// Which instance this is, from 1.
    generation: u64,
    /// Requests that this instance was offered while the leak was on.
    requests: u64,
    /// The settings in force.
    #[schema(value_type = Object)]
    settings: SettingsBody,
    /// When it disables itself, RFC 3339.
    expires_at: Option<String>,
}

/// How a plugin failed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FailureInfo {
    /// When, RFC 3339.
    when: String,
    /// One sentence.
    reason: String,
    /// The guest's call stack, innermost first. Source lines come a moment after the functions.
    backtrace: Vec<FrameInfo>,
}

/// One function on a guest's call stack.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FrameInfo {
    /// Its demangled name.
    function: String,
    /// `file:line`; null where there are no line tables.
    location: Option<String>,
}

/// Every leak by name. Each is looked at when it is written: with a thousand plugins, making them all first would take
/// as long again.
#[derive(Debug)]
pub(super) struct Leaks(Arc<Vec<Arc<Plugin>>>);

impl Leaks {
    /// Those that are loaded.
    pub(super) fn of(lab: &Lab) -> Self {
        Self(lab.registry.plugins())
    }
}

impl Serialize for Leaks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|p| (p.id(), leak_status(p))))
    }
}

/// The status of one leak.
pub(super) fn leak_status(plugin: &Plugin) -> LeakStatus {
    let (reading, details) = (plugin.reading(), plugin.details());
    let fault = details.state.fault();
    let growth = difference(reading.linear.bytes, reading.linear_start);
    LeakStatus {
        enabled: plugin.enabled(),
        state: details.state.name(),
        reason: fault.map(|f| f.reason.clone()),
        backtrace: fault
            .map(|f| f.backtrace.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        last_failure: details.last_failure.as_deref().map(failure),
        variant: details.settings.variant().to_owned(),
        count: reading.retained.objects,
        entries: reading.retained.objects,
        unit: details.manifest.unit.clone(),
        estimated_size_mb: mb(reading.retained.bytes),
        estimated_size_bytes: reading.retained.bytes,
        linear_memory_mb: mb(reading.linear.bytes),
        linear_memory_bytes: reading.linear.bytes,
        peak_linear_memory_mb: mb(reading.linear_peak),
        peak_linear_memory_bytes: reading.linear_peak,
        memory_limit_mb: mb(details.settings.policy().memory_limit),
        memory_limit_bytes: details.settings.policy().memory_limit,
        heap_live_mb: reading.heap_live.map(mb),
        heap_live_bytes: reading.heap_live,
        growth_since_baseline_mb: signed_mb(growth),
        growth_since_baseline_bytes: growth,
        bytes_per_request: reading.bytes_per_request(),
        attribution: attribution_name(&details.attribution),
        attribution_why: attribution_why(&details.attribution),
        generation: reading.generation,
        requests: reading.requests,
        settings: SettingsBody::of(&details.settings),
        expires_at: details.expires_at.map(|t| t.to_string()),
    }
}

/// A failure for people and programs.
pub(super) fn failure(failure: &Failure) -> FailureInfo {
    let frame = |frame: &Frame| FrameInfo {
        function: frame.function.clone(),
        location: frame.location.clone(),
    };
    FailureInfo {
        when: failure.at.to_string(),
        reason: failure.fault.reason.clone(),
        backtrace: failure.fault.backtrace.iter().map(frame).collect(),
    }
}

/// `exact`, `partial` or `off`.
pub(super) fn attribution_name(attribution: &Attribution) -> &'static str {
    match attribution {
        Attribution::Exact => "exact",
        Attribution::Partial { .. } => "partial",
        Attribution::Off { .. } => "off",
    }
}

/// Why it is not exact.
pub(super) fn attribution_why(attribution: &Attribution) -> Option<String> {
    match attribution {
        Attribution::Exact => None,
        Attribution::Partial { why } | Attribution::Off { why } => Some(why.clone()),
    }
}

/// A setting's value as JSON.
pub(super) fn to_json(value: &Value) -> Json_ {
    // What cannot be written as JSON is no number.
    serde_json::to_value(ValueBody(value)).unwrap_or_default()
}
