//! The status of one leak: its state, sizes, settings and last failure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value as Json_;
use utoipa::ToSchema;

use crate::attribution::AttributionBody;
use crate::catalogue::{LeakGroup, is_idle, left_out};
use crate::state::ApiState;
use crate::units::{difference, mib, signed_mib};
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::published_state::Failure;
use plugin_host::error::Frame;
use plugin_host::settings::{Settings, Value};

/// The settings in force, as a JSON object with one field per setting.
#[derive(Debug)]
pub(crate) struct SettingsBody(Arc<Settings>);

impl SettingsBody {
    pub(crate) fn of(settings: &Arc<Settings>) -> Self {
        Self(settings.clone())
    }

    /// The settings that differ from their defaults.
    fn changed(&self) -> BTreeMap<String, Json_> {
        let members = self.0.iter();
        let changed = members.filter(|(spec, value)| **value != spec.default);
        changed
            .map(|(spec, value)| (spec.name.clone(), to_json(value)))
            .collect()
    }
}

// Serialized without a map in between: with a thousand plugins, building the maps would take longer
// than the rest of the status.
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

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeakStatus {
    /// Whether the leak is enabled.
    enabled: bool,
    /// Whether requests reach the leak: it is enabled, and its schedule has it on.
    active: bool,
    /// Seconds until the schedule makes the leak active or inactive; null if that does not happen.
    next_change_in_seconds: Option<f64>,
    /// `running`, `exhausted` or `faulted`.
    state: &'static str,
    /// Why the plugin is not running; null while it runs.
    reason: Option<String>,
    /// The guest's call stack at the failure, innermost frame first: `function at file:line`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backtrace: Vec<String>,
    /// The last failure of any instance. A reset keeps it.
    last_failure: Option<FailureInfo>,
    /// `leaky` or `fixed`.
    variant: String,
    /// Objects that the pattern retains.
    count: u64,
    /// The same number as `count`.
    entries: u64,
    /// The unit of `count`: `entries`, `callbacks`, …
    unit: String,
    /// MiB that the pattern retains, measured by the plugin.
    estimated_size_mb: f64,
    /// The same in bytes.
    estimated_size_bytes: u64,
    /// MiB of linear memory. It never shrinks within one instance.
    linear_memory_mb: f64,
    /// The same in bytes.
    linear_memory_bytes: u64,
    /// The largest linear memory of any instance, in MiB.
    peak_linear_memory_mb: f64,
    /// The same in bytes.
    peak_linear_memory_bytes: u64,
    /// The limit of the plugin's linear memory, in MiB.
    memory_limit_mb: f64,
    /// The same in bytes.
    memory_limit_bytes: u64,
    /// MiB that the guest's allocator has allocated and not freed; null without attribution.
    heap_live_mb: Option<f64>,
    /// The same in bytes.
    heap_live_bytes: Option<u64>,
    /// Growth of the linear memory since the instance started, in MiB.
    growth_since_baseline_mb: f64,
    /// The same in bytes.
    growth_since_baseline_bytes: i64,
    /// Retained bytes per request since the last clear.
    bytes_per_request: f64,
    #[serde(flatten)]
    attribution: AttributionBody,
    /// The number of the instance, from 1.
    generation: u64,
    /// Requests that reached this instance while the leak was on.
    requests: u64,
    /// The settings in force.
    #[schema(value_type = Object)]
    settings: SettingsBody,
    /// When the leak switches itself off, RFC 3339.
    expires_at: Option<String>,
}

/// A failure of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailureInfo {
    /// The time of the failure, RFC 3339.
    when: String,
    /// One sentence.
    reason: String,
    /// The guest's call stack, innermost frame first. Functions are known at once; source lines
    /// follow when the symbols have been read.
    backtrace: Vec<FrameInfo>,
}

/// One frame of a guest's call stack.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FrameInfo {
    /// The function's demangled name.
    function: String,
    /// `file:line`; null without a line table.
    location: Option<String>,
}

/// The status of loaded leaks, by name. Each is read while it is serialized: with a thousand
/// plugins, building all of them first would double the time.
#[derive(Debug)]
pub(crate) struct Leaks {
    plugins: Arc<Vec<Arc<Plugin>>>,
    listing: Listing,
}

/// The leaks of a listing, and their fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    /// Every leak with all fields.
    All,
    /// The leaks of the exercises and those that are in use, with the most important fields.
    Exercises,
    /// The leaks that are in use, with the most important fields.
    InUse,
}

impl Listing {
    /// Whether the listing shows this plugin.
    pub(crate) fn shows(self, plugin: &Plugin) -> bool {
        match self {
            Listing::All => true,
            Listing::Exercises => LeakGroup::of(plugin) == LeakGroup::Exercise || !is_idle(plugin),
            Listing::InUse => !is_idle(plugin),
        }
    }
}

impl Leaks {
    pub(crate) fn of(state: &ApiState, listing: Listing) -> Self {
        Self::new(state.registry.plugins(), listing)
    }

    /// The leaks of these plugins.
    pub(crate) fn new(plugins: Arc<Vec<Arc<Plugin>>>, listing: Listing) -> Self {
        Self { plugins, listing }
    }

    /// Where the leaks are that are left out.
    pub(crate) fn left_out(&self) -> Option<String> {
        left_out(&self.plugins, |plugin| self.listing.shows(plugin))
    }
}

impl Serialize for Leaks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = self.plugins.iter().filter(|p| self.listing.shows(p));
        let complete = self.listing == Listing::All;
        serializer.collect_map(shown.map(|p| (p.id(), ListedLeak::of(p, complete))))
    }
}

/// A leak in a listing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ListedLeak {
    Complete(Box<LeakStatus>),
    Short(Box<ShortLeak>),
}

/// A leak with the fields that matter in a listing. `all=true` and `GET /admin/leaks/{name}` have
/// all of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShortLeak {
    enabled: bool,
    /// Whether requests reach the leak. Left out without a schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<bool>,
    /// Left out if its schedule changes nothing any more, or if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_change_in_seconds: Option<f64>,
    state: &'static str,
    /// Why the plugin is not running. Left out while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The last failure of any instance. Left out if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<FailureInfo>,
    variant: String,
    count: u64,
    entries: u64,
    estimated_size_mb: f64,
    estimated_size_bytes: u64,
    linear_memory_mb: f64,
    linear_memory_bytes: u64,
    peak_linear_memory_mb: f64,
    peak_linear_memory_bytes: u64,
    heap_live_mb: Option<f64>,
    heap_live_bytes: Option<u64>,
    growth_since_baseline_mb: f64,
    growth_since_baseline_bytes: i64,
    bytes_per_request: f64,
    /// Left out while it is `exact`.
    #[serde(flatten)]
    #[schema(ignore)]
    attribution: Option<AttributionBody>,
    generation: u64,
    requests: u64,
    /// The settings that differ from their defaults.
    #[schema(value_type = Object)]
    settings: BTreeMap<String, Json_>,
    /// Left out without `ttl_seconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl ListedLeak {
    fn of(plugin: &Plugin, complete: bool) -> Self {
        let status = leak_status(plugin);
        if complete {
            return ListedLeak::Complete(Box::new(status));
        }
        let has_schedule =
            status.next_change_in_seconds.is_some() || status.active != status.enabled;
        ListedLeak::Short(Box::new(ShortLeak {
            enabled: status.enabled,
            active: has_schedule.then_some(status.active),
            next_change_in_seconds: status.next_change_in_seconds,
            state: status.state,
            reason: status.reason,
            last_failure: status.last_failure,
            variant: status.variant,
            count: status.count,
            entries: status.entries,
            estimated_size_mb: status.estimated_size_mb,
            estimated_size_bytes: status.estimated_size_bytes,
            linear_memory_mb: status.linear_memory_mb,
            linear_memory_bytes: status.linear_memory_bytes,
            peak_linear_memory_mb: status.peak_linear_memory_mb,
            peak_linear_memory_bytes: status.peak_linear_memory_bytes,
            heap_live_mb: status.heap_live_mb,
            heap_live_bytes: status.heap_live_bytes,
            growth_since_baseline_mb: status.growth_since_baseline_mb,
            growth_since_baseline_bytes: status.growth_since_baseline_bytes,
            bytes_per_request: status.bytes_per_request,
            attribution: status.attribution.unless_exact(),
            generation: status.generation,
            requests: status.requests,
            settings: status.settings.changed(),
            expires_at: status.expires_at,
        }))
    }
}

pub(crate) fn leak_status(plugin: &Plugin) -> LeakStatus {
    let (reading, details) = (plugin.reading(), plugin.details());
    let fault = details.state.fault();
    let growth = difference(reading.linear.bytes, reading.linear_start);
    LeakStatus {
        enabled: plugin.enabled(),
        active: plugin.active(),
        next_change_in_seconds: details.next_change_in().map(|time| time.as_secs_f64()),
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
        estimated_size_mb: mib(reading.retained.bytes),
        estimated_size_bytes: reading.retained.bytes,
        linear_memory_mb: mib(reading.linear.bytes),
        linear_memory_bytes: reading.linear.bytes,
        peak_linear_memory_mb: mib(reading.linear_peak),
        peak_linear_memory_bytes: reading.linear_peak,
        memory_limit_mb: mib(details.settings.policy().memory_limit),
        memory_limit_bytes: details.settings.policy().memory_limit,
        heap_live_mb: reading.heap_live.map(mib),
        heap_live_bytes: reading.heap_live,
        growth_since_baseline_mb: signed_mib(growth),
        growth_since_baseline_bytes: growth,
        bytes_per_request: reading.bytes_per_request(),
        attribution: AttributionBody::of(&details, &reading),
        generation: reading.generation,
        requests: reading.requests,
        settings: SettingsBody::of(&details.settings),
        expires_at: details.expires_at.map(|t| t.to_string()),
    }
}

pub(crate) fn failure(failure: &Failure) -> FailureInfo {
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

/// A setting's value as JSON.
pub(crate) fn to_json(value: &Value) -> Json_ {
    // Only a NaN or an infinity is not JSON; it becomes null.
    serde_json::to_value(ValueBody(value)).unwrap_or_default()
}
